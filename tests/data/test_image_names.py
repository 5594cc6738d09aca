"""Parts of names, and names that are no UTF-8."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.data.image_names import (
    as_utf8,
    composed,
    is_file_name,
    trailing_parts,
    unescaped,
)


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        ("a.jpg", []),
        ("x/a.jpg", ["a.jpg"]),
        ("p/x/a.jpg", ["x/a.jpg", "a.jpg"]),
        ("/p/a.jpg", ["p/a.jpg", "a.jpg"]),
        ("C:\\p\\a.jpg", ["p/a.jpg", "a.jpg"]),
        ("p/back\\slash.jpg", ["back\\slash.jpg", "back/slash.jpg", "slash.jpg"]),
        ("a.jpg/", []),
    ],
)
def test_the_ends_of_a_path_come_longest_first(path, ends):
    assert list(trailing_parts(path)) == ends


@given(st.binary())
def test_any_name_of_a_file_is_written_as_utf8_and_read_back(content):
    name = content.decode("utf-8", "surrogateescape")
    assert is_file_name(name)
    written = as_utf8(name)
    written.encode("utf-8")  # which raises for what is none
    if "\\" not in name:
        assert unescaped(written) == name


@given(st.text(st.characters(exclude_characters="\\"), max_size=20))
def test_what_earlier_versions_wrote_for_names_is_read_back(name):
    written = "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)
    assert unescaped(written) == name


@pytest.mark.parametrize("name", ["100%.jpg", "a\\b.jpg", "a\\u12.jpg", "\\U11111111.jpg", "\\"])
def test_a_backslash_alone_is_no_escape(name):
    assert unescaped(name) == name


@pytest.mark.parametrize(("half", "valid"), [("\ud83d", False), ("\udce9", True)])
def test_half_a_character_is_no_name_unless_it_stands_for_a_byte(half, valid):
    assert is_file_name(f"a{half}.jpg") == valid
    if valid:
        assert os.fsencode(f"a{half}.jpg") == b"a\xe9.jpg"


def test_both_normal_forms_are_one_name():
    assert composed("cafe\u0301.jpg") == composed("caf\xe9.jpg") == "caf\xe9.jpg"
