"""AVIF: what its streams say, against what was encoded, what Pillow shows and other encoders."""

import base64
import io
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image

from captioning.data import avif_files
from captioning.data.images import MEMORY_LIMIT, ImageError, load_image, read_photo
from tests.data.photo_files import encode
from tests.data.test_photo_memory import SLACK, measured
from tools.attacks.avif_streams import Coded, avif

if not AvifImagePlugin.SUPPORTED:
    pytest.skip("Pillow has no AVIF here", allow_module_level=True)

RNG = np.random.default_rng(5)
NOISE = Image.fromarray(RNG.integers(0, 256, (90, 121, 4), dtype=np.uint8))
SUBSAMPLED = {"4:0:0": 1, "4:2:0": 1.5, "4:2:2": 2, "4:4:4": 3}


def streams(data):
    """The pictures of each stream: width, height and bytes a pixel."""
    return [[each[:3] for each in stream] for stream in avif_files._Contents(data).streams]


def shown(data):
    """What Pillow alone shows, over white."""
    image = Image.open(io.BytesIO(data))
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


# What is valid --------------------------------------------------------------------------------


@pytest.mark.parametrize("subsampling", SUBSAMPLED)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_subsampling_with_and_without_transparency(subsampling, mode):
    data = encode(NOISE.convert(mode), "AVIF", subsampling=subsampling, speed=10)
    expected = [[(121, 90, SUBSAMPLED[subsampling])]]
    assert streams(data) == expected + [[(121, 90, 1)]] * (mode == "RGBA")
    np.testing.assert_allclose(np.asarray(read_photo(data)), shown(data), atol=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_films_are_read_by_their_first_picture(mode):
    frames = [NOISE.convert(mode).rotate(turn) for turn in (0, 90, 180)]
    data = encode(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)
    assert {each[:2] for stream in streams(data) for each in stream} == {(121, 90)}
    np.testing.assert_allclose(np.asarray(read_photo(data)), shown(data), atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (65, 64), (1000, 3), (4097, 17)])
def test_sizes(size):
    data = encode(NOISE.convert("RGB").resize(size), "AVIF", speed=10)
    assert streams(data)[0][0][:2] == size
    assert read_photo(data).size == size


# Red beside blue, 40 x 30, by libheif 1.15 and libaom 3.6: 12 bits without loss; 8 bits, 4:2:0.
OF_TWELVE_BITS = (
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAAA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAEOAAEAAAAAAAAAJgAAACNpaW5mAAAAAAAB"
    "AAAAFWluZmUCAAAAAAEAAGF2MDEAAAAAamlwcnAAAABLaXBjbwAAABNjb2xybmNseAACAAIABoAAAAAMYXYxQ4FAYg"
    "AAAAAUaXNwZQAAAAAAAAAoAAAAHgAAABBwaXhpAAAAAAMMDAwAAAAXaXBtYQAAAAAAAAABAAEEgYIDhAAAAC5tZGF0"
    "EgAKCVgVJ+saBAQNEDIXRAAA3/jVRUh5KIaeoLN1KVrltER+KrA="
)
OF_EIGHT_BITS = (
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOptZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAAA5waXRtAAAAAAABAAAAImlsb2MAAAAAREAAAQABAAAAAAEOAAEAAAAAAAAAIgAAACNpaW5mAAAAAAAB"
    "AAAAFWluZmUCAAAAAAEAAGF2MDEAAAAAamlwcnAAAABLaXBjbwAAABNjb2xybmNseAACAAIABoAAAAAMYXYxQ4EADA"
    "AAAAAUaXNwZQAAAAAAAAAoAAAAHgAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgYIDhAAAACptZGF0"
    "EgAKBhgVJ+sCEDIWRgACiiihALjT1kAxJhEYVOajWbrHEA=="
)


@pytest.mark.parametrize(
    ("text", "pixel", "near"), [(OF_TWELVE_BITS, 6, 1), (OF_EIGHT_BITS, 1.5, 12)]
)
def test_what_another_encoder_writes(text, pixel, near):
    data = base64.b64decode(text)
    assert streams(data) == [[(40, 30, pixel)]]
    photo = read_photo(data)
    np.testing.assert_allclose(photo.getpixel((5, 5)), (200, 40, 40), atol=near)
    np.testing.assert_allclose(photo.getpixel((35, 25)), (30, 60, 180), atol=near)


def test_a_grid_is_as_large_as_its_cells_together():
    data = avif([Coded(128, 64).stream()] * 6, (128, 64), grid=(3, 2))
    assert read_photo(data).size == (384, 128)
    assert streams(data) == [[(128, 64, 3)]] * 6


@pytest.mark.parametrize("is_deep", [False, True])
def test_streams_made_by_hand_are_decoded(is_deep):
    """So that what they attack is reached; the last two are read by Pillow alone."""
    depth = 10 if is_deep else 8
    for coded, size in [
        (Coded(700, 600, is_deep), (700, 600)),
        (Coded(9000, 100, is_deep), (9000, 100)),
        (Coded(640, 640, is_deep, hidden=9), (640, 640)),
        (Coded(64, 64, is_deep, override=(5000, 4600)), (64, 64)),
        (Coded(5000, 4600, is_deep), (64, 64)),
    ]:
        data = avif([coded.stream()], size, depth)
        assert shown(data).shape == (size[1], size[0], 3)
        (found,) = avif_files._Contents(data).streams
        assert len(found) == coded.hidden + 1
        real = coded.override or (coded.width, coded.height)
        assert found[0].is_known == (coded.override is None)
        assert found[0].width >= real[0]
        assert found[0].height >= real[1]
        if not coded.override:
            assert found[0][:2] == real


# What is not ----------------------------------------------------------------------------------


def test_a_stream_that_is_larger_than_the_file_says_is_damaged():
    small = avif([Coded(128, 128).stream()], (64, 64))
    assert read_photo(small).size == (64, 64)
    for size in ((129, 64), (64, 129), (16_384, 16_384)):
        with pytest.raises(ImageError, match="is damaged or incomplete"):
            read_photo(avif([Coded(*size).stream()], (64, 64)))


ATTACKS = {
    "a large stream": lambda: avif([Coded(10_000, 9_000, True).stream()], (64, 64), 10),
    "large frames": lambda: avif(
        [Coded(64, 64, True, override=(10_000, 9_000)).stream()], (64, 64), 10
    ),
    "hidden frames": lambda: avif([Coded(5000, 4600, True, hidden=8).stream()], (5000, 4600), 10),
    "decoders": lambda: avif([Coded(64, 64).stream()] * 2304, (64, 64), 8, (48, 48), True),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_would_take_more_is_refused_before_it_is_decoded(tmp_path, name):
    path = tmp_path / "x.avif"
    path.write_bytes(ATTACKS[name]())
    sentence, memory = measured(path, near=224)
    assert "x.avif" in sentence
    assert memory < 60_000_000


NEAR_THE_LIMIT = {
    "deep": lambda: avif([Coded(8_000, 6_000, True).stream()], (8_000, 6_000), 10),
    "hidden": lambda: avif([Coded(5_000, 4_500, hidden=8).stream()], (5_000, 4_500)),
    "grid": lambda: avif([Coded(1000, 750, True).stream()] * 48, (1000, 750), 10, (8, 6)),
    "small": lambda: avif([Coded(64, 64, True).stream()], (7_500, 5_600), 10),
    "transparent": lambda: encode(
        Image.new("RGBA", (7_000, 6_500), (9, 9, 9, 9)), "AVIF", speed=10
    ),
}


@pytest.mark.parametrize("name", NEAR_THE_LIMIT)
def test_what_is_near_the_limit_is_read_and_keeps_to_it(tmp_path, name):
    path = tmp_path / "x.avif"
    path.write_bytes(NEAR_THE_LIMIT[name]())
    size, memory = measured(path, near=224)
    assert isinstance(size, tuple), size
    assert 300_000_000 < memory < MEMORY_LIMIT + SLACK


def test_a_file_in_which_no_stream_is_found_is_not_decoded():
    data = encode(NOISE, "AVIF", speed=10)
    for kind in (b"iloc", b"iinf", b"av01"):
        with pytest.raises(ImageError, match="is damaged or incomplete"):
            read_photo(data.replace(kind, b"free"))


def test_frames_need_a_sequence_header_in_their_own_item():
    """A decoder that several items share would take that of another item."""
    whole = Coded(64, 64, hidden=1).stream()
    frames = whole[4 + whole[1] % 128 :]
    assert frames[0] >> 3 == 6
    data = avif([whole, frames], (64, 64), grid=(2, 1))
    assert shown(data).shape == (64, 128, 3)
    with pytest.raises(ImageError, match="is damaged or incomplete"):
        read_photo(data)


def test_a_large_file_takes_no_longer_than_a_small_one():
    data = avif([Coded(64, 64).stream()], (64, 64)) + b"\0\0\0\0free" + bytes(100_000_000)
    begun = time.perf_counter()
    assert read_photo(data).size == (64, 64)
    assert time.perf_counter() - begun < 5


FILES = [
    encode(NOISE.resize((40, 30)), "AVIF", speed=10),
    encode(
        NOISE.resize((40, 30)),
        "AVIF",
        save_all=True,
        append_images=[NOISE.resize((40, 30), 0)],
        speed=10,
    ),
    avif([Coded(64, 64, hidden=2).stream()] * 2, (64, 64), grid=(2, 1), are_apart=True),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
    st.floats(0, 1),
)
def test_damage_gives_an_array_or_a_sentence(data, changes, end):
    changed = bytearray(data)
    for place, value in changes:
        # Most of them in the headers, where there is something to break.
        changed[int(place**3 * len(changed))] ^= value
    cut = bytes(changed[: int(len(data) * min(1, 2 * end))])
    with suppress(ImageError):
        assert load_image(cut).shape == (3, 224, 224)
