"""Kinds of picture: recognised by content, decoded as their own libraries do, or refused."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, features

from captioning.data.images import (
    IMAGE_SUFFIXES,
    OTHER_PICTURE_SUFFIXES,
    ImageError,
    read_photo,
)
from captioning.data.photo_kinds import SUFFIXES, kind_of
from tests.data.photo_files import encode, gradient, tiff

pillow_heif = pytest.importorskip("pillow_heif")
needs_avif = pytest.mark.skipif(not AvifImagePlugin.SUPPORTED, reason="Pillow has no AVIF here")
needs_jpeg_2000 = pytest.mark.skipif(
    not features.check("jpg_2000"), reason="Pillow has no JPEG 2000 here"
)

SCENE = gradient(128, 96)


def pixels(data, **options):
    return np.asarray(read_photo(data, **options)).astype(float)  # (H, W, 3)


def heic(image, **options):
    """An image as HEIC, which pillow-heif writes."""
    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=95, **options)
    return stream.getvalue()


def box(name, content):
    return (len(content) + 8).to_bytes(4, "big") + name + content


# Recognised ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photo.jpg", "photo.xyz", "photo"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIC", "MPO"])
def test_content_counts_and_not_the_name(tmp_path, kind, name):
    image = Image.fromarray(SCENE)
    (tmp_path / name).write_bytes(heic(image) if kind == "HEIC" else encode(image, kind))
    assert read_photo(tmp_path / name).size == image.size


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"avif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"avis\0\0\0\0avifavis", "AVIF"),
        (b"mif1\0\0\0\0avifmif1", "AVIF"),
        (b"heic\0\0\0\0mif1heic", "HEIF"),
        (b"mif1\0\0\0\0mif1heic", "HEIF"),
        (b"msf1\0\0\0\0hevcmsf1", "HEIF"),
        (b"heix\0\0\0\0mif1heix", "HEIF"),
        (b"crx \0\0\0\1crx isom", "RAW"),
        (b"isom\0\0\0\0isommp42", None),  # a film
        (b"qt  \0\0\0\0qt  ", None),
    ],
)
def test_brands(brands, kind):
    assert kind_of(box(b"ftyp", brands) + bytes(100)) == kind


def test_suffixes_are_those_of_what_is_read():
    known = Image.registered_extensions()
    for kind, suffixes in SUFFIXES.items():
        for suffix in suffixes:
            theirs = {"MPO": "JPEG"}.get(known.get(suffix), known.get(suffix))
            assert theirs in (kind, None), suffix
    for suffix in (".jpg", ".jfif", ".jpe", ".mpo", ".heic", ".avif", ".jp2", ".apng", ".tif"):
        assert suffix in IMAGE_SUFFIXES
    for suffix in (".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".svg", ".psd"):
        assert suffix in OTHER_PICTURE_SUFFIXES
    assert not IMAGE_SUFFIXES & OTHER_PICTURE_SUFFIXES
    assert all(s == s.lower() and s[0] == "." for s in IMAGE_SUFFIXES | OTHER_PICTURE_SUFFIXES)


def test_every_picture_that_pillow_knows_by_its_suffix_is_read_or_known():
    """Apart from what is no picture of one file on its own: films, PDF, fonts, data."""
    raster = {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "MPO", "PSD", "ICO"}
    raster |= {"PPM", "TGA", "PCX", "DDS", "ICNS", "QOI", "EPS", "WMF", "FITS", "CUR"}
    for suffix, kind in Image.registered_extensions().items():
        if kind in raster and suffix not in (".vda", ".icb", ".vst", ".ps", ".fit", ".pfm"):
            assert suffix in IMAGE_SUFFIXES | OTHER_PICTURE_SUFFIXES, suffix


# AVIF and JPEG 2000 --------------------------------------------------------------------------


@needs_avif
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_avif(subsampling):
    data = encode(Image.fromarray(SCENE), "AVIF", quality=95, subsampling=subsampling)
    np.testing.assert_allclose(pixels(data), SCENE, atol=12)


@needs_avif
def test_avif_animation_and_alpha():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    film = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(pixels(film)[8, 8], (255, 0, 0), atol=6)
    quarter = encode(Image.new("RGBA", (16, 16), (255, 0, 0, 64)), "AVIF", quality=95)
    np.testing.assert_allclose(pixels(quarter)[8, 8], (255, 191, 191), atol=6)


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(SCENE)
    want = pixels(encode(image, "PNG", exif=exif))
    np.testing.assert_allclose(pixels(encode(image, "AVIF", quality=95, exif=exif)), want, atol=12)


@needs_jpeg_2000
@pytest.mark.parametrize("no_jp2", [False, True])
def test_jpeg_2000(no_jp2):
    for image in (Image.fromarray(SCENE), Image.fromarray(SCENE[..., 0])):
        data = encode(image, "JPEG2000", no_jp2=no_jp2)  # without loss
        want = np.asarray(image.convert("RGB"))
        assert np.array_equal(pixels(data), want)


@needs_jpeg_2000
def test_jpeg_2000_is_decoded_small():
    data = encode(Image.fromarray(gradient(1600, 1200)), "JPEG2000")
    assert read_photo(data, near=100).size == (400, 300)
    assert read_photo(data, near=1000).size == (1600, 1200)
    flat = encode(Image.fromarray(gradient(1600, 1200)), "JPEG2000", num_resolutions=2)
    assert read_photo(flat, near=100).size == (800, 600)  # there is no smaller one in it
    means = gradient(1600, 1200).reshape(300, 4, 400, 4, 3).mean((1, 3))
    np.testing.assert_allclose(pixels(data, near=100), means, atol=3)


@needs_jpeg_2000
def test_jpeg_2000_of_16_bits():
    deep = Image.fromarray(SCENE[..., 0].astype(np.uint16) * 257)
    np.testing.assert_allclose(pixels(encode(deep, "JPEG2000"))[..., 0], SCENE[..., 0], atol=1)


# HEIC ----------------------------------------------------------------------------------------


def test_heic():
    np.testing.assert_allclose(pixels(heic(Image.fromarray(SCENE), chroma=444)), SCENE, atol=8)
    grey = heic(Image.fromarray(SCENE[..., 0]))
    np.testing.assert_allclose(pixels(grey)[..., 0], SCENE[..., 0], atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(orientation):
    """The writer turns EXIF into the marks of HEIF, and leaves EXIF as it was, as phones do."""
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(SCENE)
    want = pixels(encode(image, "PNG", exif=exif))
    data = heic(image, chroma=444, exif=exif.tobytes())
    assert exif.tobytes().removeprefix(b"Exif\0\0") in data
    np.testing.assert_allclose(pixels(data), want, atol=8)


def test_heic_of_10_bits():
    deep = SCENE.astype(np.uint16) * 257
    file = pillow_heif.from_bytes("RGB;16", (128, 96), deep.tobytes())
    stream = io.BytesIO()
    file.save(stream, quality=95, chroma=444)
    assert pillow_heif.open_heif(io.BytesIO(stream.getvalue())).info["bit_depth"] == 10
    np.testing.assert_allclose(pixels(stream.getvalue()), SCENE, atol=8)


def test_heic_with_alpha():
    quarter = heic(Image.new("RGBA", (32, 32), (255, 0, 0, 64)))
    np.testing.assert_allclose(pixels(quarter)[16, 16], (255, 191, 191), atol=8)


def test_the_main_picture_of_several_is_read():
    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (64, 64), "blue"))
    stream = io.BytesIO()
    file.save(stream, primary_index=1)
    np.testing.assert_allclose(pixels(stream.getvalue())[32, 32], (0, 0, 255), atol=8)


def test_pillow_itself_does_not_learn_heic():
    program = (
        "import sys\n"
        "from PIL import Image\n"
        "from captioning.data.images import read_photo\n"
        "assert 'pillow_heif' not in sys.modules\n"
        "before = {*Image.registered_extensions(), *Image.OPEN}\n"
        "read_photo(sys.stdin.buffer)\n"
        "assert 'pillow_heif' in sys.modules\n"
        "assert {*Image.registered_extensions(), *Image.OPEN} == before\n"
    )
    data = heic(Image.fromarray(SCENE))
    subprocess.run([sys.executable, "-c", program], input=data, check=True, timeout=100)


def test_without_the_library_heic_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"run pip install pillow-heif, or export .* as JPEG\.$"):
        read_photo(heic(Image.fromarray(SCENE)))


# Known, and not read ---------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"\xff\x0a" + bytes(50), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50)])
def test_jpeg_xl_is_refused_by_its_name(data):
    with pytest.raises(ImageError, match=r"is a JPEG XL picture, .*: export it as JPEG\.$"):
        read_photo(data)


@pytest.mark.parametrize(
    "start",
    [
        b"II*\0\x10\0\0\0CR\x02\0",
        box(b"ftyp", b"crx \0\0\0\1crx isom"),
        b"FUJIFILMCCD-RAW 0201",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
        b"FOVb\0\0\2\0",
        b"\0MRM\0\0\0\0",
        tiff(bytes(16), 4, 4, 8, 32803),
    ],
)
def test_raw_files_are_refused(start):
    with pytest.raises(ImageError, match=r"camera's raw file.*: export it as JPEG\.$"):
        read_photo(start + bytes(100))
