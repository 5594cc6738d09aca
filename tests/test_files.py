"""Files are written atomically, and are on the disk; what a killed process left is removed."""

import os
import stat
from pathlib import Path

import pytest

from captioning.files import remove_leftovers, write_atomically, write_text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def test_an_interrupted_write_leaves_the_old_file_alone(path):
    path.write_bytes(b"the old model")

    def interrupt(file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupt)
    assert os.listdir(path.parent) == ["model.pth"]
    assert path.read_bytes() == b"the old model"


def test_the_old_file_stays_until_the_new_one_is_whole(path):
    path.write_bytes(b"old")
    seen = []

    def write(file):
        file.write_bytes(b"new")
        seen.append((path.read_bytes(), file.parent))

    write_atomically(path, write)
    assert seen == [(b"old", path.parent)]  # beside it, for a rename within one file system
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["model.pth"]


def test_the_content_is_on_the_disk_before_the_rename_and_the_name_after_it(path, monkeypatch):
    steps, fsync, replace = [], os.fsync, Path.replace

    def note_sync(descriptor):
        steps.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def note_rename(self, target):
        steps.append(("rename", str(target)))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    write_atomically(path, lambda file: file.write_bytes(b"new"))
    temporary = str(path.with_name(f".{path.name}.{os.getpid()}"))
    assert steps == [("sync", temporary), ("rename", str(path)), ("sync", str(path.parent))]


def test_a_folder_that_cannot_be_synced_is_no_obstacle(path, monkeypatch):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError("this file system has no such thing")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_text(path, "a\r\nb")
    assert path.read_bytes() == b"a\r\nb"


def test_leftovers_of_one_path_are_removed_and_nothing_else(path):
    others = {"model.pth", ".model.pth.backup", ".other.pth.12", "model.pth.12", "notes.12"}
    for name in (*others, ".model.pth.12", ".model.pth.99999"):
        (path.parent / name).touch()
    remove_leftovers(path)
    assert set(os.listdir(path.parent)) == others


def test_there_may_be_nothing_to_remove(path):
    remove_leftovers(path.parent / "no folder yet" / "model.pth")
