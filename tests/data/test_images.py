"""images.py against independent truth: drawn pixels, hand-made files, torchvision."""

import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from captioning.data import images, photo_sources
from captioning.data.images import (
    ImageConfig,
    ImageError,
    describe,
    load_image,
    read_photo,
    read_with_remark,
    to_array,
)
from tests.data.photo_files import chunk, encode, gradient, png, tiff

SMALL = ImageConfig(size=32)
ORIENTATION = 0x0112
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def pixels(source, **options):
    return np.asarray(read_photo(source, **options))  # (H, W, 3)


# The configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 224.0},
        {"size": True},
        {"mean": (0.5, 0.5)},
        {"mean": (0.5, 0.5, float("nan"))},
        {"std": (0.2, 0.2, 0.0)},
        {"std": (0.2, float("inf"), 0.2)},
        {"max_megapixels": 0},
        {"max_megapixels": 1000},
        {"max_megapixels": float("nan")},
    ],
)
def test_config_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImageConfig(**wrong)


def test_config_of_lists_equals_that_of_tuples():
    assert ImageConfig(mean=[0.5, 0.5, 0.5]) == ImageConfig(mean=(0.5, 0.5, 0.5))


# Numbers ----------------------------------------------------------------------------------------


def test_array_is_what_torchvision_makes():
    functional = pytest.importorskip("torchvision.transforms.functional")
    config = ImageConfig()
    photo = Image.fromarray(gradient(224, 224))
    want = functional.normalize(functional.to_tensor(photo), config.mean, config.std)
    got = load_image(photo)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=1e-6)


def test_photograph_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    config = ImageConfig(mean=(0, 0, 0), std=(1, 1, 1))
    got = load_image(encode(Image.fromarray(noise), "PNG"), config)  # (3, H, W)
    assert np.array_equal(np.rint(got * 255), noise.transpose(2, 0, 1))


def test_shrinking_antialiases():
    """A checkerboard of single pixels becomes even grey, where picking pixels would alias."""
    board = (np.indices((448, 448)).sum(0) % 2 * 255).astype(np.uint8)
    config = ImageConfig(mean=(0, 0, 0), std=(1, 1, 1))
    got = load_image(Image.fromarray(board), config)
    np.testing.assert_allclose(got, 0.5, atol=0.01)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_shrinking_keeps_colours_in_their_places(kind):
    big = gradient(800, 600)
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    config = ImageConfig(size=40, mean=(0, 0, 0), std=(1, 1, 1))
    got = load_image(encode(Image.fromarray(big), kind, **options), config)  # (3, 40, 40)
    means = big.reshape(40, 15, 40, 20, 3).mean((1, 3))  # (40, 40, 3): of each block
    np.testing.assert_allclose(got * 255, means.transpose(2, 0, 1), atol=4)


def test_to_array_takes_rgb_only():
    with pytest.raises(ValueError, match="RGB"):
        to_array(Image.new("L", (4, 4)))


# JPEG decoded small -----------------------------------------------------------------------------


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_near_never_falls_below_twice_the_size(width, height, near):
    photo = read_photo(encode(Image.new("RGB", (width, height)), "JPEG"), near=near)
    assert photo.width >= min(width, 2 * near)
    assert photo.height >= min(height, 2 * near)


def test_near_makes_a_large_jpeg_cheap():
    data = encode(Image.new("RGB", (4000, 3000)), "JPEG")
    assert read_photo(data, near=224).size == (1000, 750)
    assert read_photo(data).size == (4000, 3000)


def test_near_must_be_positive():
    with pytest.raises(ValueError, match="near"):
        read_photo(encode(Image.new("RGB", (8, 8)), "JPEG"), near=0)


# Upright ----------------------------------------------------------------------------------------

# What a camera stores for each orientation, from the definition of the EXIF tag: where row 0 and
# column 0 of the stored array lie in the scene. Written with numpy, not with Pillow's turns.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],  # row 0 is the right side, column 0 the top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],  # row 0 is the left side, column 0 the bottom
}


def stored(scene, orientation, kind, **options):
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene)))
    return encode(image, kind, exif=exif(orientation), **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_eight_turns_give_the_same_photograph(kind, options, orientation):
    scene = gradient()
    assert np.array_equal(pixels(stored(scene, orientation, kind, **options)), scene)


@pytest.mark.parametrize("orientation", STORED)
def test_eight_turns_of_a_jpeg_decoded_small(orientation):
    scene = gradient(800, 600)
    data = stored(scene, orientation, "JPEG", quality=95, subsampling=0)
    photo = read_photo(data, near=50)
    assert photo.size == (200, 150)  # an eighth would be less than 2 * 50 high
    plain = load_image(stored(scene, 1, "JPEG", quality=95, subsampling=0), SMALL)
    np.testing.assert_allclose(load_image(data, SMALL), plain, atol=0.08)


def test_turn_of_a_pil_image():
    image = Image.open(io.BytesIO(stored(gradient(), 6, "PNG")))
    assert np.array_equal(pixels(image), gradient())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_what_was_read_is_not_turned_again(kind):
    photo = read_photo(stored(gradient(), 6, kind))
    assert photo.size == (64, 48)
    assert np.array_equal(pixels(photo), np.asarray(photo))


def test_turn_after_the_pixels_of_a_png():
    data = encode(Image.fromarray(np.ascontiguousarray(STORED[8](gradient()))), "PNG")
    late = chunk(b"eXIf", exif(8).tobytes().removeprefix(b"Exif\0\0"))
    assert np.array_equal(pixels(data[:-12] + late + data[-12:]), gradient())


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_unknown_turn_is_ignored(value):
    data = encode(Image.fromarray(gradient()), "PNG", exif=exif(value))
    assert np.array_equal(pixels(data), gradient())


def test_damaged_exif_does_not_spoil_the_photograph():
    plain = encode(Image.fromarray(gradient()), "JPEG")
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03\xff\xff\xff\xff\0\0"
    segment = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    data = plain[:2] + segment + plain[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(pixels(data), pixels(plain))


# Modes ------------------------------------------------------------------------------------------

DEEP = np.array([[0, 1000, 32896, 65535]], dtype=np.uint16)  # (1, 4)
DEEP_IN_8_BITS = [0, 4, 128, 255]  # to the nearest; Pillow keeps the high byte: 3 for 1000


def grey_row(source):
    row = pixels(source)[0]  # (W, 3)
    assert (row == row[:, :1]).all()
    return row[:, 0].tolist()


@pytest.mark.parametrize(
    "source",
    [
        png(DEEP, 0),
        tiff(DEEP.tobytes(), 4, 1, 16, photometric=1),
        tiff((65535 - DEEP).tobytes(), 4, 1, 16, photometric=0),
        Image.fromarray(DEEP),
        Image.fromarray(DEEP.astype(np.int32)),
        Image.fromarray(DEEP.astype(np.float32)),
        encode(Image.fromarray(DEEP.astype(np.int32)), "TIFF"),
    ],
    ids=["png", "tiff", "tiff white is 0", "I;16", "I", "F", "tiff I"],
)
def test_16_bit_grey_is_scaled(source):
    assert grey_row(source) == DEEP_IN_8_BITS


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_of_either_byte_order(order):
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (4, 1), DEEP.astype(f"{order}u2").tobytes())
    assert grey_row(image) == DEEP_IN_8_BITS
    assert grey_row(encode(image, "TIFF")) == DEEP_IN_8_BITS


def test_12_bit_grey_is_scaled():
    packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x00])  # 0, 2048, 4095, 0
    assert grey_row(tiff(packed, 4, 1, 12, photometric=1)) == [0, 128, 255, 0]


def test_16_bit_colours_are_scaled():
    samples = np.dstack([DEEP, DEEP[:, ::-1], np.full_like(DEEP, 0x8000)])  # (1, 4, 3)
    want = np.rint(samples / 257)
    np.testing.assert_allclose(pixels(png(samples, 2)), want, atol=1)
    data = tiff(samples.tobytes(), 4, 1, 16, photometric=2, channels=3)
    np.testing.assert_allclose(pixels(data), want, atol=1)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 64, 255], [0, 64, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([0, 5e5, 1e6], [0, 128, 255]),
        ([-3, -3, -3], [0, 0, 0]),
        ([float("nan"), float("inf"), 255], [0, 0, 255]),
        ([-3e38, 0, 3e38], [0, 128, 255]),
    ],
)
def test_floats_are_scaled(values, want):
    data = encode(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    np.testing.assert_allclose(grey_row(data), want, atol=1)


def test_transparency_is_composed_over_white():
    quarter = Image.new("RGBA", (4, 4), (255, 0, 0, 64))
    for source in (quarter, encode(quarter, "PNG"), encode(quarter, "WEBP", lossless=True)):
        np.testing.assert_allclose(pixels(source)[0, 0], (255, 191, 191), atol=1)
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (pixels(encode(clear, "TIFF")) == 255).all()


@pytest.mark.parametrize("mode", ALPHA_MODES)
def test_every_mode_with_alpha(mode):
    grey = Image.new("LA", (2, 2), (100, 128))
    if mode == "PA":
        image = Image.new("PA", (2, 2), (1, 128))
        image.putpalette([0, 0, 0, 100, 100, 100])
    else:
        image = grey.convert("RGBA").convert(mode) if mode.startswith("RGB") else grey.convert(mode)
    assert image.mode == mode
    np.testing.assert_allclose(pixels(image), 255 - 155 * 128 / 255, atol=1)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_entry_of_a_palette(kind):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putpixel((1, 0), 1)
    data = encode(image, kind, transparency=0)
    assert pixels(data)[0].tolist() == [[255, 255, 255], [10, 200, 30]]


def test_translucent_entries_of_a_palette():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putpixel((1, 0), 1)
    data = encode(image, "PNG", transparency=bytes([128, 255]))
    assert pixels(data)[0].tolist() == [[127, 127, 127], [10, 200, 30]]


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_grey_of_a_png(bits):
    samples = np.array([[0, 100, 200]])
    data = png(samples, 0, bits, extra=chunk(b"tRNS", struct.pack(">H", 100)))
    assert grey_row(data)[1] == 255
    assert grey_row(data)[0] == 0


def test_transparent_colour_of_a_png():
    samples = np.array([[[9, 8, 7], [1, 2, 3]]])
    data = png(samples, 2, 8, extra=chunk(b"tRNS", struct.pack(">3H", 9, 8, 7)))
    assert pixels(data)[0].tolist() == [[255, 255, 255], [1, 2, 3]]


def test_one_bit():
    image = Image.fromarray(np.array([[True, False, True]]))
    assert image.mode == "1"
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        assert grey_row(encode(image, kind)) == [255, 0, 255]


def test_cmyk_jpeg():
    for ink, colour in [
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 0), (255, 255, 255)),
    ]:
        data = encode(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95)
        assert b"Adobe" in data  # hence inverted in the file
        np.testing.assert_allclose(pixels(data)[8, 8], colour, atol=6)


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})]:
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert pixels(data)[4, 4].tolist() == [255, 0, 0], kind


def test_multi_picture_jpeg_of_a_phone():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert (pixels(data, near=2) == 255).all()


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16")
FORMATS = {
    "JPEG": ("1", "L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": MODES,
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    None: MODES,  # a PIL image
}
sides = st.one_of(st.integers(1, 70), st.sampled_from([1, 2, 31, 32, 33, 700]))


@given(
    st.sampled_from([(kind, mode) for kind in FORMATS for mode in FORMATS[kind]]),
    sides,
    sides,
    st.integers(1, 40),
)
@settings(max_examples=120, deadline=None)
def test_any_size_mode_and_format_gives_a_valid_array(kind_and_mode, width, height, size):
    kind, mode = kind_and_mode
    if mode == "I;16":
        image = Image.new(mode, (width, height), 999)
    else:
        image = Image.fromarray(gradient(width, height)).convert(mode)
    source = image if kind is None else encode(image, kind)
    config = ImageConfig(size=size)
    got = load_image(source, config)
    assert got.shape == (3, size, size)
    assert got.dtype == np.float32
    darkest, brightest = (
        np.array([[[v]], [[v]], [[v]]]) - np.reshape(config.mean, (3, 1, 1)) for v in (0, 1)
    )
    std = np.reshape(config.std, (3, 1, 1))
    assert (got >= darkest / std - 1e-5).all()  # False for NaN too
    assert (got <= brightest / std + 1e-5).all()


# The input is not modified ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*MODES, *ALPHA_MODES])
def test_pil_image_is_not_modified(mode):
    image = Image.new(mode, (5, 3))
    image.info.update(dpi=(72, 72), exif=exif(6).tobytes())
    before = (image.mode, image.size, dict(image.info), image.tobytes())
    photo = read_photo(image, near=1)
    photo.paste("black", (0, 0, *photo.size))
    assert (image.mode, image.size, dict(image.info), image.tobytes()) == before


def test_pil_image_of_a_jpeg_is_not_drafted():
    image = Image.open(io.BytesIO(encode(Image.fromarray(gradient(640, 480)), "JPEG")))
    load_image(image, SMALL)
    assert image.size == (640, 480)


def test_globals_of_pillow_are_not_changed():
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    load_image(encode(Image.new("RGB", (9, 9)), "JPEG"), SMALL)
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


def test_path_bytes_and_image_agree(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encode(Image.fromarray(gradient()), "PNG"))
    want = load_image(Image.fromarray(gradient()), SMALL)
    for source in (path, str(path), path.read_bytes()):
        assert np.array_equal(load_image(source, SMALL), want)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_closed(tmp_path):
    data = encode(Image.fromarray(gradient()), "TIFF")
    good, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    good.write_bytes(data)
    bad.write_bytes(data[: len(data) // 2])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_photo(good)
        with pytest.raises(ImageError):
            read_photo(bad)
    assert len(os.listdir("/proc/self/fd")) == before


# One sentence -----------------------------------------------------------------------------------


def refusal(source, config=SMALL):
    """The message with which ``source`` is refused: one sentence on one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            load_image(source, config)
    message = str(caught.value)
    check_sentence(message, describe(source))
    return message


def check_sentence(message, name):
    assert message.startswith(f"{name} ")
    assert message.endswith(".")
    assert message.isprintable()
    assert ". " not in message.removeprefix(name)
    assert "object at 0x" not in message


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "nothing.jpg")
    assert "does not exist" in refusal("")


def test_folder(tmp_path):
    assert "is a folder" in refusal(str(tmp_path))


def test_empty_file(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "is empty" in refusal(tmp_path / "empty.jpg")
    assert "is empty" in refusal(b"")


def test_refusal_of_a_text_file_names_the_formats(tmp_path):
    (tmp_path / "text.jpg").write_text("not a photograph\n" * 50)
    message = refusal(tmp_path / "text.jpg")
    for kind in ("JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP"):
        assert kind in message


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "EPS", "PDF"])
def test_other_formats_are_not_decoded(kind):
    data = encode(Image.fromarray(gradient()), kind)
    assert "is not an image of a kind that can be read" in refusal(data)


def test_named_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not an ordinary file" in refusal(tmp_path / "pipe.jpg")


def test_permission(tmp_path, monkeypatch):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encode(Image.new("RGB", (4, 4)), "JPEG"))

    def refuse(*_, **__):  # the superuser, as whom tests may run, may read every file
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(photo_sources, "open", refuse, raising=False)
    assert "may not be read" in refusal(path)


def test_permission_of_a_real_file(unreadable):
    assert "may not be read" in refusal(unreadable)


def test_odd_paths(tmp_path):
    assert "cannot be opened" in refusal("a\0b.jpg")
    assert "cannot be opened" in refusal("a" * 5000)
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    assert "cannot be opened" in refusal(loop)
    for name in ("two\nlines.jpg", "caf\udce9.jpg", "\x1b[31mred.jpg"):
        refusal(tmp_path / name)


def test_describe():
    assert describe("a/café.jpg") == "a/café.jpg"
    assert describe(Path("a") / "b.jpg") == os.path.join("a", "b.jpg")
    assert describe("two\nlines") == "two\\nlines"
    assert describe(b"\xff\xd8") == describe(Image.new("L", (1, 1))) == "the image"


def test_other_types_of_source_are_a_type_error():
    for wrong in (42, None, [1]):
        with pytest.raises(TypeError):
            load_image(wrong)


def test_image_without_pixels():
    assert "has no pixels" in refusal(Image.new("RGB", (0, 5)))


def test_closed_image():
    image = Image.open(io.BytesIO(encode(Image.new("RGB", (4, 4)), "PNG")))
    image.close()
    refusal(image)


@pytest.mark.parametrize("side", [14_200, 20_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header(side):
    data = png(np.zeros((1, 1)), 0, 8)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = data.replace(data[8:33], chunk(b"IHDR", header))  # pixels that are not there
    message = refusal(data)
    assert f"would take more than 1 GB of memory ({side} x {side} pixels)" in message


def test_the_limit_that_old_checkpoints_store_changes_nothing():
    load_image(Image.new("RGB", (1000, 501)), ImageConfig(size=8, max_megapixels=0.5))


def test_99_megapixels_are_read_without_a_warning():
    data = encode(Image.new("1", (9900, 10_000), 1), "PNG", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = load_image(data, ImageConfig(mean=(0, 0, 0), std=(1, 1, 1)))
    assert (got == 1).all()


def test_a_failing_decoder_is_one_sentence(monkeypatch):
    data = encode(Image.new("RGB", (4, 4)), "PNG")
    for error in (struct.error("x\ny"), SyntaxError(), zlib.error(), EOFError(), MemoryError()):

        def fail(_, error=error):
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        assert "damaged or incomplete" in refusal(data)


# Damage -----------------------------------------------------------------------------------------


def in_planes(image):
    """A TIFF of three planes of 16 bits, not compressed; all are the image."""
    with tifffile.TiffWriter(stream := io.BytesIO()) as writer:
        writer.write(np.stack([np.asarray(image)] * 3), photometric="rgb", planarconfig="separate")
    return stream.getvalue()


def heic(image):
    pillow_heif.from_pillow(image).save(stream := io.BytesIO())
    return stream.getvalue()


@cache
def samples():
    """Small files of every format and of many modes, by name."""
    photo = Image.fromarray(gradient(40, 30))
    palette = photo.quantize(16)
    deep = Image.fromarray(gradient(40, 30)[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [photo.transpose(Image.Transpose.ROTATE_180)]}
    return {
        "jpeg": encode(photo, "JPEG", exif=exif(6)),
        "progressive": encode(photo, "JPEG", progressive=True),
        "cmyk": encode(photo.convert("CMYK"), "JPEG"),
        "png": encode(photo, "PNG", exif=exif(3)),
        "png palette": encode(palette, "PNG", transparency=bytes(range(16))),
        "png 16": encode(deep, "PNG"),
        "apng": encode(photo, "PNG", **frames),
        "webp": encode(photo, "WEBP", exif=exif(8)),
        "webp lossless": encode(photo.convert("RGBA"), "WEBP", lossless=True),
        "gif": encode(palette, "GIF", transparency=3),
        "gif frames": encode(photo, "GIF", **frames),
        "tiff": encode(photo, "TIFF", exif=exif(5)),
        "tiff lzw": encode(photo, "TIFF", compression="tiff_lzw"),
        "tiff float": encode(photo.convert("F"), "TIFF"),
        "tiff 16": encode(deep, "TIFF"),
        "tiff planes": in_planes(deep),
        "avif": encode(photo, "AVIF"),
        "jpeg 2000": encode(photo, "JPEG2000"),
        "heic": heic(photo),
        "bmp": encode(photo, "BMP"),
        "bmp palette": encode(palette, "BMP"),
    }


def array_or_sentence(data):
    """Whatever the bytes: a valid array, or None after one sentence; no other error or warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            got = load_image(data, SMALL)
        except ImageError as error:
            check_sentence(str(error), "the image")
            return None
    assert got.shape == (3, 32, 32)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    return got


@pytest.mark.parametrize("name", samples())
def test_half_a_file_is_refused(name):
    half = {"apng": 4, "gif frames": 4}.get(name, 2)  # half of one frame
    data = samples()[name]
    assert array_or_sentence(data) is not None
    assert array_or_sentence(data[: len(data) // half]) is None


@given(st.sampled_from(sorted(samples())), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_truncated_file_is_refused_or_whole(name, part):
    """Trailing marks or later frames may be missing, but no pixels of the photograph.

    Of a JPEG a part may be missing, if that is said.
    """
    data = samples()[name]
    cut = data[: int(part * len(data))]
    got = array_or_sentence(cut)
    if got is not None and read_with_remark(cut).remark is None:
        assert np.array_equal(got, load_image(data, SMALL))


@given(
    st.sampled_from(sorted(samples())),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_corrupt_bytes_are_an_array_or_a_sentence(name, damage, in_header):
    data = bytearray(samples()[name])
    reach = min(len(data), 200) if in_header else len(data)
    for position, value in damage:
        data[min(int(position * reach), reach - 1)] = value
    array_or_sentence(bytes(data))


@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"]),
    st.binary(max_size=200),
)
@settings(max_examples=100, deadline=None)
def test_noise_is_an_array_or_a_sentence(start, rest):
    array_or_sentence(start + rest)


# Threads ----------------------------------------------------------------------------------------


def test_threads_agree():
    names = sorted(samples()) * 4
    want = {name: load_image(samples()[name], SMALL) for name in samples()}
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda name: load_image(samples()[name], SMALL), names))
    assert all(np.array_equal(array, want[name]) for name, array in zip(names, got, strict=True))


def test_only_the_reading_thread_is_silent():
    """Other threads keep their warnings, and so does this one afterwards."""
    inside, done = threading.Event(), threading.Event()

    def read():
        with images._without_warnings():
            inside.set()
            done.wait(5)
            warnings.warn("of Pillow", stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader = threading.Thread(target=read)
        reader.start()
        inside.wait(5)
        warnings.warn("of somebody else", stacklevel=1)
        done.set()
        reader.join()
        load_image(Image.new("RGB", (4, 4)), SMALL)
        warnings.warn("afterwards", stacklevel=1)
    assert [str(w.message) for w in caught] == ["of somebody else", "afterwards"]


def test_filters_do_not_pile_up():
    with warnings.catch_warnings():
        for _ in range(5):
            warnings.simplefilter("error")
            load_image(Image.new("RGB", (4, 4)), SMALL)
        assert sum(entry == images._FILTER for entry in warnings.filters) == 1
