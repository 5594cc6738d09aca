"""Captions without photographs and lists of names, plain and gzip, and files that are neither."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.caption_files import DataError, read_captions
from captioning.data.text_files import read_names, read_paragraphs, read_text_captions
from captioning.data.vocab import tokenize

several = settings(max_examples=60, deadline=None, database=None)
lines = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@several
@given(lines, st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_each_line_with_a_word_is_a_caption(folder, captions, packed, end):
    content = (end.join(["A dog .", *captions]) + end).encode()
    path = folder / "captions.txt"
    path.write_bytes(gzip.compress(content) if packed else content)
    expected = [["a", "dog"], *(tokenize(caption) for caption in captions if tokenize(caption))]
    assert read_text_captions(path) == expected


def test_a_file_with_a_byte_order_mark_or_carriage_returns_alone_is_read(folder):
    path = folder / "old.txt"
    path.write_bytes(b"\xef\xbb\xbfA dog .\rTwo men .\r")
    assert read_text_captions(path) == [["a", "dog"], ["two", "men"]]


def write(path, content):
    if content is not None:
        path.write_bytes(content)
    return path


PACKED = gzip.compress(b"A dog runs over the grass .\n" * 100)


@pytest.mark.parametrize("read", [read_text_captions, read_names, read_paragraphs])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such"),
        (b"", "is empty; write or download it again"),
        (b" \n\n", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"a dog\na caf\xe9\n", "line 2: this is not UTF-8 text"),
        (gzip.compress(b"a dog\n\na caf\xe9\n"), "line 3: this is not UTF-8 text"),
        (PACKED[:-20], "gzip file is damaged or incomplete"),
        (PACKED[:15] + b"\0\0\0\0" + PACKED[19:], "gzip file is damaged or incomplete"),
        (b"\x1f\x8b text", "gzip file is damaged or incomplete"),
    ],
)
def test_a_bad_file_gets_one_sentence_that_names_it(tmp_path, read, content, words):
    path = write(tmp_path / "bad.txt", content)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder, which cannot be read; name the text file"):
        read_text_captions(tmp_path)


def test_a_text_without_a_word_is_refused(tmp_path):
    with pytest.raises(DataError, match="no line of this text file has a word"):
        read_text_captions(write(tmp_path / "dots.txt", b"...\n !\n"))


def test_a_file_that_may_not_be_read_is_refused(unreadable):
    with pytest.raises(DataError, match="cannot be read"):
        read_text_captions(unreadable)


def test_names_are_one_a_line_whatever_they_hold(tmp_path):
    path = write(tmp_path / "names.txt", b"a b.jpg\n\n  web_1.webp \r\nsub/c.png")
    assert read_names(path) == {"a b.jpg", "web_1.webp", "sub/c.png"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_paragraphs_are_parted_by_empty_lines_whatever_their_own(tmp_path, end):
    lines = ["", "Flickr8k: for", "  research.", " ", "", "Text: non-commercial.", ""]
    path = write(tmp_path / "terms.txt", end.join(lines).encode())
    assert read_paragraphs(path) == ["Flickr8k: for research.", "Text: non-commercial."]


def test_a_caption_file_may_be_packed_too(tmp_path):
    path = write(tmp_path / "captions.txt.gz", gzip.compress(b"image,caption\n1.jpg,A dog .\n"))
    (photograph,) = read_captions(path, None).photographs
    assert (photograph.name, photograph.captions) == ("1.jpg", ("A dog .",))
