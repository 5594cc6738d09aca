"""The tags that matter of a TIFF, and the file as decoders see it, against brute force."""

import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.data.images import read_photo
from captioning.data.tiff_directories import (
    OneDirectory,
    directories,
    orientation,
    read_header,
)
from tests.data.photo_files import encode, gradient

PHOTO = Image.fromarray(gradient(40, 30))


def with_tags(tags, **options):
    """A TIFF of tifffile's, with tags of its own: (tag, type, count, value)."""
    tifffile.imwrite(
        stream := io.BytesIO(), np.asarray(PHOTO), photometric="rgb", extratags=tags, **options
    )
    return stream.getvalue()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@given(reads=st.lists(st.tuples(st.integers(0, 5000), st.integers(-1, 5000)), max_size=9))
def test_decoders_see_the_file_with_another_directory(big, order, reads):
    data = with_tags([(65000, 7, 100, bytes(100))], bigtiff=big, byteorder=order)
    header = read_header(io.BytesIO(data))
    (directory,) = directories(io.BytesIO(data), header)
    stream = OneDirectory(io.BytesIO(data), header, directory)
    whole = stream.read()
    assert len(whole) == len(data)
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        assert np.array_equal(file.asarray(), np.asarray(PHOTO))
        assert 65000 not in file.pages[0].tags
    plain = io.BytesIO(whole)
    for place, size in reads:
        assert stream.seek(place) == plain.seek(place)
        assert stream.read(size) == plain.read(size)
        assert stream.tell() == plain.tell()


def test_large_tags_of_others_do_no_harm():
    data = with_tags([(37724, 7, 3_000_000, bytes(3_000_000)), (50839, 4, 300_000, [1] * 300_000)])
    assert np.array_equal(np.asarray(read_photo(data)), np.asarray(PHOTO))


def test_a_tall_picture_of_one_row_a_strip():
    tall = Image.fromarray(gradient(2, 65_000))
    for compression in (None, "zlib"):
        tifffile.imwrite(
            stream := io.BytesIO(),
            np.asarray(tall),
            photometric="rgb",
            rowsperstrip=1,
            compression=compression,
        )
        assert np.array_equal(np.asarray(read_photo(stream.getvalue())), np.asarray(tall))


def test_a_damaged_directory_behind_the_first_is_left_out():
    data = bytearray(encode(PHOTO, "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, len(data) - 3)
    assert np.array_equal(np.asarray(read_photo(bytes(data))), np.asarray(PHOTO))


@given(st.integers(0, 65_535), st.booleans())
def test_orientation_is_what_pillow_reads(value, other):
    exif = Image.Exif()
    exif[274] = value
    if other:
        exif[271] = "a maker of cameras"
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    assert orientation(data) == value
