"""PNG with texts and profiles of any size, and with few bits in 16."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from captioning.data.images import ImageError, read_photo
from captioning.data.stream_parts import Parts
from tests.data.photo_files import chunk, encode, gradient, png

SCENE = gradient(50, 40)
LONG = b"a" * 3_000_000
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
KEY = b"XML:com.adobe.xmp\0"


def with_chunk(one, data=None):
    """A PNG with a chunk before its pixels."""
    data = data or encode(Image.fromarray(SCENE), "PNG")
    return data[:33] + one + data[33:]


def pixels(data):
    return np.asarray(read_photo(data))  # (H, W, 3)


LARGE = {
    "text": chunk(b"tEXt", b"Comment\0" + LONG),
    "small text that grows": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "utf-8": chunk(b"iTXt", b"Comment\0\0\0\0\0" + LONG),
    "xmp": chunk(b"iTXt", KEY + b"\0\0\0\0" + LONG),
    "xmp that grows": chunk(b"iTXt", KEY + b"\1\0\0\0" + zlib.compress(LONG)),
    "profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(LONG)),
    "70 texts": chunk(b"tEXt", b"Comment\0" + b"a" * 1_000_000) * 70,  # Pillow takes 64 MB
    "private": chunk(b"prVt", LONG),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_chunks_do_not_matter(name):
    limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    plain = encode(Image.fromarray(SCENE), "PNG")
    assert np.array_equal(pixels(with_chunk(LARGE[name])), SCENE)
    assert np.array_equal(pixels(plain[:-12] + LARGE[name] + plain[-12:]), SCENE)
    assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


TURNING = {
    "xmp": chunk(b"iTXt", KEY + b"\0\0\0\0" + XMP),
    "compressed": chunk(b"iTXt", KEY + b"\1\0\0\0" + zlib.compress(XMP)),
    "large": chunk(b"iTXt", KEY + b"\0\0\0\0" + XMP + b" " * 3_000_000),
}


@pytest.mark.parametrize("name", TURNING)
@pytest.mark.parametrize("is_late", [False, True])
def test_xmp_still_says_which_way_up(name, is_late):
    plain = encode(Image.fromarray(SCENE), "PNG")
    data = plain[:-12] + TURNING[name] + plain[-12:] if is_late else with_chunk(TURNING[name])
    assert np.array_equal(pixels(data), np.rot90(SCENE, -1))  # 6: turn it clockwise


def test_exif_as_text_still_says_which_way_up():
    """As ImageMagick writes it."""
    exif = Image.Exif()
    exif[274] = 6
    content = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text = f"\nexif\n{len(content):8}\n{content.hex()}\n".encode()
    one = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    assert np.array_equal(pixels(with_chunk(one)), np.rot90(SCENE, -1))


def test_damaged_texts_do_not_matter():
    for one in (
        chunk(b"zTXt", b"Raw profile type exif\0\0nothing compressed"),
        chunk(b"iTXt", KEY + b"\1\0\0\0nothing compressed"),
        chunk(b"iTXt", KEY),
        chunk(b"tEXt", b""),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 3\nxyz"),
    ):
        assert np.array_equal(pixels(with_chunk(one)), SCENE)


def test_damaged_pixels_are_still_refused():
    data = bytearray(encode(Image.fromarray(SCENE), "PNG"))
    data[60] ^= 255
    with pytest.raises(ImageError, match="damaged"):
        read_photo(bytes(data))


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 120), st.integers(-1, 40)), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_parts_read_like_the_parts_joined(parts, reads):
    whole = bytes(range(100))
    joined = io.BytesIO(b"".join(whole[start : start + size] for start, size in parts))
    stream = Parts(io.BytesIO(whole), parts)
    for place, size in reads:
        assert stream.seek(place) == joined.seek(place)
        assert stream.read(size) == joined.read(size)
        assert stream.tell() == joined.tell()


# Few bits in 16 -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("colour", [2, 6])
def test_colours_of_few_bits_in_16_are_not_black(bits, colour):
    values = np.rint(SCENE / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.full((40, 50, 1), 65535, np.uint16)
    samples = values if colour == 2 else np.concatenate([values, opaque], axis=2)
    np.testing.assert_allclose(pixels(png(samples, colour)), SCENE, atol=1)


def test_transparent_colours_of_few_bits():
    values = np.rint(SCENE / 255 * 4095).astype(np.uint16)
    half = np.full((40, 50, 1), 32768, np.uint16)
    got = pixels(png(np.concatenate([values, half], axis=2), 6))
    np.testing.assert_allclose(got, SCENE / 2 + 127.5, atol=1.5)


def test_dark_colours_of_16_bits_stay_dark():
    values = np.rint(SCENE / 255 * 8191).astype(np.uint16)
    np.testing.assert_allclose(pixels(png(values, 2)), SCENE / 8, atol=1)
    assert not pixels(png(np.zeros((4, 5, 3)), 2)).any()
