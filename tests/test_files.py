"""Files are written beside and renamed; what a killed process left is removed."""

import os

import pytest

from captioning.files import remove_leftovers, write_beside


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def test_an_interrupted_write_leaves_the_old_file_alone(path):
    path.write_bytes(b"the old model")

    def interrupt(file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_beside(path, interrupt)
    assert os.listdir(path.parent) == ["model.pth"]
    assert path.read_bytes() == b"the old model"


def test_the_old_file_stays_until_the_new_one_is_whole(path):
    path.write_bytes(b"old")
    seen = []

    def write(file):
        file.write_bytes(b"new")
        seen.append((path.read_bytes(), file.parent))

    write_beside(path, write)
    assert seen == [(b"old", path.parent)]  # beside it, for a rename within one file system
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["model.pth"]


def test_leftovers_of_one_path_are_removed_and_nothing_else(path):
    others = {"model.pth", ".model.pth.backup", ".other.pth.12", "model.pth.12", "notes.12"}
    for name in (*others, ".model.pth.12", ".model.pth.99999"):
        (path.parent / name).touch()
    remove_leftovers(path)
    assert set(os.listdir(path.parent)) == others


def test_there_may_be_nothing_to_remove(path):
    remove_leftovers(path.parent / "no folder yet" / "model.pth")
