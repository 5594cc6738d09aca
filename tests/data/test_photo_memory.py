"""One photograph takes at most 1 GB: measured in processes of their own, near the limit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.data.images import MEMORY_LIMIT, ImageError, read_photo
from tests.data.photo_files import encode, flat_jpeg, flat_png, tiff

# Reads a photograph and prints its size and the bytes that this took at most.
PROGRAM = """
import json, sys
from captioning.data.images import ImageError, read_photo

def memory(what):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

path, near = sys.argv[1], json.loads(sys.argv[2])
before = memory("VmRSS")
try:
    size = read_photo(path, near=near).size
except ImageError as error:
    size = str(error)
print(json.dumps([size, memory("VmHWM") - before]))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
SLACK = 30_000_000  # libraries that are loaded, buffers


def measured(path, near=None):
    """The size of the photograph, or the sentence, and the most memory that reading it took."""
    run = [sys.executable, "-c", PROGRAM, str(path), json.dumps(near)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)
    size, memory = json.loads(done.stdout)
    return (tuple(size) if isinstance(size, list) else size), memory


@pytest.mark.parametrize("size", [(12_000, 9_000), (16_320, 12_240)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_phone_s_108_and_200_megapixels_take_little(tmp_path, size, channels):
    path = tmp_path / "phone.jpg"
    path.write_bytes(flat_jpeg(*size, channels))
    got, memory = measured(path, near=224)
    assert got == (size[0] // 8, size[1] // 8)
    assert memory < 80_000_000


def test_without_near_the_largest_that_fits_is_read(tmp_path):
    path = tmp_path / "phone.jpg"
    path.write_bytes(flat_jpeg(16_320, 12_240, 3))
    got, memory = measured(path)
    assert got == (8160, 6120)
    assert memory < MEMORY_LIMIT


def sparse_tiff(path, width, height, bits, channels):
    """A TIFF of zeros that takes no room on the disk."""
    length = width * height * bits // 8 * channels
    start = 8 + length + 8
    head = tiff(b"", width, height, bits, 2, channels, t258=8 + length, t279=length)
    with path.open("wb") as file:
        file.write(head[:4] + start.to_bytes(4, "little"))
        file.seek(8 + length)
        file.write(head[8:16])
        file.write(head[16:])


def grey_png(path):
    path.write_bytes(flat_png(14_000, 13_500, 0, 8))  # 189 megapixels


def colour_png(path):
    path.write_bytes(flat_png(12_000, 10_000, 2, 8))


def png_of_16_bits(path):
    path.write_bytes(flat_png(13_000, 12_000, 0, 16))


def progressive(path):
    path.write_bytes(flat_jpeg(13_000, 12_000, 3, progressive=True))


def webp(path):
    Image.new("RGB", (11_000, 5_000), "red").save(path, "WEBP", method=0, lossless=True)


def avif(path):
    Image.new("RGB", (9_000, 5_300), "red").save(path, "AVIF", speed=10)


def deep_tiff(path):
    sparse_tiff(path, 10_000, 8_500, 16, 3)


NEAR_THE_LIMIT = {
    "grey.png": grey_png,
    "colour.png": colour_png,
    "deep.png": png_of_16_bits,
    "progressive.jpg": progressive,
    "x.webp": webp,
    "x.avif": avif,
    "deep.tif": deep_tiff,
}


@pytest.mark.parametrize("name", NEAR_THE_LIMIT)
def test_every_kind_keeps_to_the_limit(tmp_path, name):
    path = tmp_path / name
    NEAR_THE_LIMIT[name](path)
    got, memory = measured(path, near=224)
    assert isinstance(got, tuple), got
    assert memory < MEMORY_LIMIT + SLACK


@pytest.mark.parametrize(
    "data",
    [
        flat_png(15_000, 14_000, 0, 8),
        flat_png(12_000, 11_000, 2, 8),
        flat_jpeg(16_320, 12_240, 3, progressive=True),
        encode(Image.new("RGB", (12_000, 5_000)), "WEBP", lossless=True, method=0),
        tiff(bytes(64), 20_000, 8_000, 16, 2, 3),
    ],
    ids=["grey png", "colour png", "progressive jpeg", "webp", "deep tiff"],
)
def test_more_is_refused_before_it_is_decoded(tmp_path, data):
    path = tmp_path / "large"
    path.write_bytes(data)
    sentence, memory = measured(path, near=224)
    assert "would take more than 1 GB of memory (" in sentence
    assert memory < 60_000_000 + 2 * len(data)


def test_the_sentence_has_the_size_of_the_file_and_not_of_what_is_decoded():
    with pytest.raises(ImageError, match=r"\(16320 x 12240 pixels\)"):
        read_photo(flat_jpeg(16_320, 12_240, 3, progressive=True), near=224)


def test_the_limit_of_pillow_is_neither_asked_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for data in (flat_jpeg(800, 600), flat_png(800, 600, 2, 8)):
        assert read_photo(data).size == (800, 600)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_pil_image_that_is_too_large_is_refused():
    class Huge(Image.Image):
        size = width, height = (20_000, 20_000)
        mode = "RGB"

    with pytest.raises(ImageError, match="more than 1 GB"):
        read_photo(Huge())


def test_flat_files_are_what_they_say():
    """The files of these tests, read by Pillow."""
    import io

    for data in (flat_jpeg(100, 60), flat_jpeg(100, 60, 3), flat_jpeg(100, 60, 3, True)):
        image = Image.open(io.BytesIO(data))
        assert image.size == (100, 60)
        assert (np.asarray(image) == 128).all()
    assert not np.asarray(Image.open(io.BytesIO(flat_png(100, 60, 2, 8)))).any()
