"""TIFF of every depth and layout against tifffile, which writes them, and the specification."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.data.images import ImageError, read_photo
from tests.data.photo_files import encode, gradient, tiff

tifffile = pytest.importorskip("tifffile")

# Colours 0..1 (H, W, 3), whose brightest values are white; more than a tile or a strip.
SCENE = gradient(50, 40) / 255
ALPHA = 0.5
KINDS = ("u1", "u2", "u4", "i1", "i2", "f2", "f4", "f8")


def stored(values, kind):
    """Values 0..1 in a type, 1 as its white."""
    if kind[0] == "f":
        return values.astype(kind)
    return np.rint(values.astype(np.float64) * np.iinfo(kind).max).astype(kind)


def written(samples, photometric, **options):
    """A TIFF of samples (H, W) or (H, W, channels), which tifffile writes."""
    stream = io.BytesIO()
    if options.get("planarconfig") == "separate":
        samples = np.moveaxis(samples, -1, 0).copy()
    tifffile.imwrite(stream, samples, photometric=photometric, **options)
    return stream.getvalue()


def read(data):
    return np.asarray(read_photo(data)).astype(float)  # (H, W, 3)


COLOURS = {
    "grey": (SCENE[..., 0], "minisblack", None),
    "inverse": (1 - SCENE[..., 0], "miniswhite", None),
    "grey alpha": (np.dstack([SCENE[..., 0], 0 * SCENE[..., 0] + ALPHA]), "minisblack", 2),
    "rgb": (SCENE, "rgb", None),
    "rgb alpha": (np.dstack([SCENE, 0 * SCENE[..., 0] + ALPHA]), "rgb", 2),
    "rgb premultiplied": (np.dstack([SCENE * ALPHA, 0 * SCENE[..., 0] + ALPHA]), "rgb", 1),
    "rgb and more": (np.dstack([SCENE, SCENE[..., 0]]), "rgb", 0),
    "inks": (np.dstack([1 - SCENE, 0 * SCENE[..., 0]]), "separated", None),
}


@given(
    name=st.sampled_from(sorted(COLOURS)),
    kind=st.sampled_from(KINDS),
    is_planar=st.booleans(),
    compression=st.sampled_from([None, "zlib", "lzma"]),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
    pieces=st.sampled_from([{}, {"rowsperstrip": 7}, {"tile": (16, 32)}]),
    is_big=st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_every_layout_shows_the_same_scene(
    name, kind, is_planar, compression, predictor, order, pieces, is_big
):
    values, photometric, extra = COLOURS[name]
    if values.ndim == 3 and is_planar:
        pieces = pieces | {"planarconfig": "separate"}
    if extra is not None:
        pieces = pieces | {"extrasamples": [extra]}
    data = written(
        stored(values, kind),
        photometric,
        compression=compression,
        # Differences of floats of 16 and 64 bits need a library that tifffile does not require.
        predictor=predictor and compression is not None and kind[0] != "f",
        byteorder=order,
        bigtiff=is_big,
        **pieces,
    )
    want = 255 * (SCENE if "rgb" in name or name == "inks" else SCENE[..., :1].repeat(3, axis=2))
    if "alpha" in name or "premultiplied" in name:
        want = want * ALPHA + 255 * (1 - ALPHA)
    if name == "rgb premultiplied" and kind[0] == "i":
        return  # half of a type's white is no whole number, and the difference is no error
    got = read(data)
    np.testing.assert_allclose(got, want, atol=2.1 if kind == "i1" else 1.1)


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_packed_bits_are_read_highest_first(bits, channels):
    values = np.rint(SCENE[..., :channels] * (2**bits - 1)).astype(np.uint32)  # (H, W, channels)
    rows = [
        "".join(f"{value:0{bits}b}" for value in row).ljust(-(-row.size * bits // 8) * 8, "0")
        for row in values.reshape(len(values), -1)
    ]
    data = b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    photometric = 1 if channels == 1 else 2
    got = read(tiff(data, 50, 40, bits, photometric, channels))
    np.testing.assert_allclose(got, 255 * SCENE[..., :channels] + 0 * got, atol=1.1)


def test_differences_of_floats():
    """Predictor 3 by its definition in Adobe's Technical Note 3, of 32 bits."""
    import zlib

    values = SCENE.astype(">f4")  # (H, W, 3)
    lines = values.view(np.uint8).reshape(40, 150, 4).swapaxes(1, 2).reshape(40, 600)
    steps = lines.copy()
    steps[:, 3:] -= lines[:, :-3]  # three samples a pixel
    data = zlib.compress(steps.tobytes())
    tags = {"t259": 8, "t317": 3, "t339": 3}
    np.testing.assert_allclose(read(tiff(data, 50, 40, 32, 2, 3, **tags)), 255 * SCENE, atol=1.1)


def test_lzw_of_16_bits_as_pillow_writes_it():
    deep = Image.fromarray(stored(SCENE[..., 0], "u2"))
    plain = read(encode(deep, "TIFF"))
    assert np.array_equal(read(encode(deep, "TIFF", compression="tiff_lzw")), plain)
    np.testing.assert_allclose(plain, 255 * SCENE[..., :1] + 0 * plain, atol=1.1)


def test_bits_in_reversed_order():
    values = stored(SCENE[..., 0], "u2").astype("<u2")
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    data = tiff(values.tobytes().translate(reverse), 50, 40, 16, 1, t266=2)
    assert np.array_equal(read(data), read(tiff(values.tobytes(), 50, 40, 16, 1)))


def test_a_large_strip_is_read_in_parts():
    wide = np.tile(stored(SCENE, "u2"), (30, 30, 1))  # 11 MB in one strip
    data = written(wide, "rgb", rowsperstrip=len(wide))
    np.testing.assert_allclose(read(data)[-40:, -50:], 255 * SCENE, atol=1.1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_samples_are_turned(orientation):
    tag = (274, "H", 1, orientation, False)
    data = written(stored(SCENE, "f4"), "rgb", extratags=[tag])
    plain = Image.fromarray(read(written(stored(SCENE, "f4"), "rgb")).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(read(data), read(encode(plain, "PNG", exif=exif)))


# Which value is white ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_few_bits_in_16_are_not_black(bits):
    """Values that a camera of 8, 10 or 12 bits stores in 16."""
    values = np.rint(SCENE * (2**bits - 1)).astype(np.uint16)
    for data in (written(values, "rgb"), encode(Image.fromarray(values[..., 0]), "PNG")):
        want = SCENE if data[:2] == b"II" else SCENE[..., :1].repeat(3, axis=2)
        np.testing.assert_allclose(read(data), 255 * want, atol=1.1)


def test_a_dark_photograph_of_16_bits_stays_dark():
    """Its brightest value needs 13 bits: 32 of 255, which people can see."""
    values = np.rint(SCENE * 8191).astype(np.uint16)
    np.testing.assert_allclose(read(written(values, "rgb")), 255 * SCENE / 8, atol=1.1)


def test_a_black_photograph_stays_black():
    assert not read(written(np.zeros((4, 5, 3), np.uint16), "rgb")).any()


def test_the_greatest_value_of_a_tag_is_white_where_it_is_all_ones():
    values = np.rint(SCENE[..., 0] * 16383).astype(np.uint16)
    tagged = written(values, "minisblack", extratags=[(281, "H", 1, 16383, False)])
    np.testing.assert_allclose(read(tagged)[..., 0], 255 * SCENE[..., 0], atol=1.1)
    other = written(values, "minisblack", extratags=[(281, "H", 1, 16000, False)])
    np.testing.assert_allclose(read(other)[..., 0], 255 * SCENE[..., 0] / 4, atol=1.1)


def test_highlights_of_floats_do_not_darken_the_rest():
    values = SCENE.astype(np.float32)
    values[0, :3] = 40.0  # 3 pixels of 2000
    want = 255 * SCENE
    want[0, :3] = 255
    np.testing.assert_allclose(read(written(values, "rgb")), want, atol=1.1)


@pytest.mark.parametrize("values", [[np.nan, np.inf, 255], [-np.inf, np.nan, 1]])
def test_what_is_no_number_is_black(values):
    row = np.array([values] * 2, dtype=np.float32)
    assert read(written(row, "minisblack"))[0, :, 0].tolist() == [0, 0, 255]


# Which picture ----------------------------------------------------------------------------------


def pages(*pictures, **options):
    """A TIFF of several pictures, each with its kind (the tag NewSubfileType)."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for picture, kind in pictures:
            writer.write(picture, photometric="rgb", subfiletype=kind, metadata=None)
    return stream.getvalue()


SMALL, LARGE = gradient(8, 6), gradient(64, 48)[:, ::-1].copy()


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_thumbnail_is_not_taken_for_the_photograph(kind, options):
    large = LARGE if kind == "u1" else LARGE.astype(np.uint16) * 257
    assert np.array_equal(read(pages((SMALL, 1), (large, 0), **options)), LARGE)


def test_the_first_of_several_pages_is_read():
    assert np.array_equal(read(pages((SMALL, 0), (LARGE, 0))), SMALL)
    assert np.array_equal(read(pages((SMALL, 1))), SMALL)


def dng(version=True, photometric=32803):
    """A small preview, and within it what a sensor saw."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        tags = [(50706, "B", 4, (1, 4, 0, 0), False)] if version else []
        writer.write(
            SMALL, photometric="rgb", subfiletype=1, subifds=1, extratags=tags, metadata=None
        )
        sensor = LARGE.astype(np.uint16)
        sensor = sensor if photometric == 34892 else sensor[..., 0]
        writer.write(sensor, photometric=photometric, subfiletype=0, metadata=None)
    return stream.getvalue()


@pytest.mark.parametrize("data", [dng(), dng(version=False), dng(False, 34892)])
def test_a_raw_file_is_refused_and_its_preview_not_shown(data):
    with pytest.raises(ImageError, match=r"camera's raw file.*: export it as JPEG\.$"):
        read_photo(data)


# Refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        tiff(bytes(12), 2, 2, 24, 1),
        tiff(bytes(24), 2, 2, 16, 8, 3),  # L*a*b*
        tiff(bytes(24), 2, 2, 16, 2, 3, t259=34887),  # LERC
    ],
)
def test_what_is_not_read_is_refused_in_one_sentence(data):
    with pytest.raises(ImageError, match=r"unusual way .*: save it again .* or as PNG\.$"):
        read_photo(data)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_damage_is_a_picture_or_a_sentence(damage):
    data = bytearray(written(stored(SCENE[:6, :5], "f4"), "rgb", compression="zlib"))
    for position, value in damage:
        data[position % len(data)] = value
    try:
        photo = read_photo(bytes(data))
    except ImageError:
        return
    assert photo.mode == "RGB"


def test_a_size_that_the_file_cannot_have_takes_no_time():
    huge = tiff(bytes(64), 2**32 - 1, 2**32 - 1, 16, 1)
    with pytest.raises(ImageError, match="more than 1 GB"):
        read_photo(huge)
    with pytest.raises(ImageError, match="damaged"):
        read_photo(tiff(bytes(64), 4000, 4000, 16, 1))


def test_directories_that_go_round_end():
    data = bytearray(written(stored(SCENE, "f4"), "rgb"))
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    data[start + 2 + 12 * count :][:4] = struct.pack("<I", start)
    assert read_photo(bytes(data)).size == (50, 40)
