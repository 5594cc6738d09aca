"""GIF past what is before its first picture, against Pillow reading the plain file."""

import numpy as np
import pytest
from PIL import Image

from captioning.data.images import read_photo
from tests.data.photo_files import encode, gradient

PALETTE = Image.fromarray(gradient(40, 30)).quantize(16)
COMMENT = b"!\xfe\x03abc\x02de\0"
XMP = b"!\xff\x0bXMP DataXMP" + b"\xff" + b"x" * 255 + b"\0"


def before_the_picture(data, extra):
    """The file with extensions before its first control or picture."""
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + extra + data[at:]


@pytest.mark.parametrize("options", [{}, {"interlace": 0}, {"transparency": 3}])
@pytest.mark.parametrize("extra", [COMMENT, XMP, COMMENT * 50_000])
def test_extensions_change_no_pixel(options, extra):
    data = encode(PALETTE, "GIF", **options)
    want = np.asarray(read_photo(data))
    assert np.array_equal(np.asarray(read_photo(before_the_picture(data, extra))), want)


def test_the_control_of_the_picture_counts_though_a_comment_follows_it():
    data = encode(PALETTE, "GIF", transparency=3)
    start = data.index(b"!\xf9")
    late = data[: start + 8] + COMMENT + data[start + 8 :]
    assert np.array_equal(np.asarray(read_photo(late)), np.asarray(read_photo(data)))


def test_a_picture_of_incompressible_pixels_is_whole():
    noise = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
    got = np.asarray(read_photo(encode(Image.fromarray(noise), "GIF")))
    assert np.array_equal(got[..., 0], noise)
