"""A photograph that is another one now is noticed; one that was only touched or copied is not."""

import os
import shutil

import pytest

from captioning.data.caption_rows import DataError
from captioning.data.photo_changes import Unchanged, digest_of


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        path.write_bytes(f"photograph {path.stem}".encode())
    return paths


def replace(path):
    """By one of the same size."""
    path.write_bytes(b"photograph X")


def truncate(path):
    os.truncate(path, 3)


@pytest.mark.parametrize("change", [replace, truncate, os.unlink])
def test_a_change_is_one_sentence_that_names_the_photograph(photos, change):
    unchanged = Unchanged(photos)
    unchanged.require()
    change(photos[1])
    with pytest.raises(DataError, match=r"1\.jpg: this photograph has changed .* --restart"):
        unchanged.require()


def test_a_photograph_that_was_touched_or_copied_is_the_same(photos):
    unchanged = Unchanged(photos)
    os.utime(photos[0], ns=(0, 1))
    shutil.copy(photos[1], photos[1].with_suffix(".bak"))
    os.replace(photos[1].with_suffix(".bak"), photos[1])
    unchanged.require()


def test_a_photograph_that_is_put_back_is_the_same_again(photos):
    unchanged, content = Unchanged(photos), photos[2].read_bytes()
    photos[2].unlink()
    photos[2].write_bytes(content)
    unchanged.require()


def test_a_digest_is_that_of_the_content(photos):
    before = digest_of(photos[0])
    replace(photos[0])
    os.utime(photos[0], ns=(0, 2))
    assert len({before, digest_of(photos[0]), digest_of(photos[1])}) == 3
    assert digest_of(photos[0].with_name("none.jpg")) == ""
