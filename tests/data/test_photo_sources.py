"""What a photograph may be given as, and what it is called."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.data import photo_sources
from captioning.data.images import ImageError, describe, printable, read_photo, source_name
from tests.data.photo_files import encode, gradient

SCENE = gradient(20, 10)
PNG = encode(Image.fromarray(SCENE), "PNG")


def pixels(source):
    return np.asarray(read_photo(source))  # (H, W, 3)


# Names ----------------------------------------------------------------------------------------

NAMES = [
    "Screenshot at 9.41.00\u202fAM.png",
    "写真\u3000一.jpg",
    "a\u00a0b.jpg",
    "zero\u200bwidth.jpg",
    "soft\u00adhyphen.jpg",
    "two  blanks.jpg",
    "new\nline.jpg",
    "latin1\udce9.jpg",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_path_is_its_own(name):
    assert source_name(name) == source_name(Path(name)) == name
    assert source_name(b"\xff\xd8") == source_name(Image.new("L", (1, 1))) == "the image"


def test_a_path_of_bytes_that_are_not_utf_8_finds_its_file_again(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(path)).write_bytes(PNG)
    assert os.fsencode(source_name(os.fsdecode(path))) == path
    assert np.array_equal(pixels(os.fsdecode(path)), SCENE)


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_any_name_can_be_printed_on_one_line(name):
    shown = printable(name)
    assert shown.isprintable()
    shown.encode("utf-8")
    assert printable(shown) == shown
    if name.isprintable():
        assert shown == name


def test_messages_have_names_that_can_be_printed():
    assert describe("a\u202fb\udce9.jpg") == r"a\u202fb\udce9.jpg"
    assert describe("") == "the empty path"


def test_a_disk_that_fails_is_one_sentence(tmp_path, monkeypatch):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    (tmp_path / "a.png").write_bytes(PNG)
    monkeypatch.setattr(photo_sources, "open", lambda *_, **__: Failing(), raising=False)
    with pytest.raises(ImageError, match=r"a\.png cannot be read \(Input/output error\)"):
        read_photo(tmp_path / "a.png")


# Forms ----------------------------------------------------------------------------------------


def test_an_open_file_is_read_from_where_it_stands_and_stays_open(tmp_path):
    path = tmp_path / "two.bin"
    path.write_bytes(b"header" + PNG)
    with path.open("rb") as file:
        file.seek(6)
        assert np.array_equal(pixels(file), SCENE)
        assert not file.closed
    stream = io.BytesIO(PNG)
    assert np.array_equal(pixels(stream), SCENE)
    assert not stream.closed
    with pytest.raises(ImageError, match=r"^the image is empty"):
        read_photo(stream)  # at its end


def test_a_file_of_text_is_a_type_error_that_says_why(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("hello")
    with path.open() as file, pytest.raises(TypeError, match='mode "rb"'):
        read_photo(file)


def test_arrays_are_pixels():
    assert np.array_equal(pixels(SCENE), SCENE)
    assert np.array_equal(pixels(SCENE[::-1, ::2]), SCENE[::-1, ::2])  # not contiguous
    assert np.array_equal(pixels(SCENE[..., 0]), SCENE[..., :1].repeat(3, axis=2))
    clear = np.dstack([SCENE, np.zeros((10, 20), np.uint8)])
    assert (pixels(clear) == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 5, 3)),
        np.zeros((4, 5, 3), np.uint16),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((1, 4, 5, 3), np.uint8),
        np.zeros(5, np.uint8),
    ],
)
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ImageError, match=r"^the image is .* in an array of .*: give uint8 .*\.$"):
        read_photo(wrong)


def test_an_array_without_pixels():
    with pytest.raises(ImageError, match="no pixels"):
        read_photo(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize("wrong", [42, None, [1], {"a": 1}])
def test_anything_else_is_a_type_error_that_says_what_a_photograph_is(wrong):
    with pytest.raises(TypeError, match=f"a photograph is a path, .*, not {type(wrong).__name__}"):
        read_photo(wrong)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/a.jpg",
        "http:/example.org/a.jpg",  # as pathlib writes it
        "file:///home/me/a.jpg",
        "s3://bucket/a.jpg",
        "data:image/png;base64,AAAA",
    ],
)
def test_addresses_are_to_be_downloaded(address):
    with pytest.raises(ImageError, match="is an address, not a file: download it first"):
        read_photo(address)


def test_a_file_whose_name_looks_like_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data:1.png").write_bytes(PNG)
    assert np.array_equal(pixels("data:1.png"), SCENE)
    with pytest.raises(ImageError, match="does not exist"):
        read_photo("C:/photo.jpg")
