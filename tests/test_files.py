"""Files are written atomically, and are on the disk; what a killed process left is removed."""

import errno
import os
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from captioning.errors import CaptioningError
from captioning.files import (
    WriteError,
    remove_leftovers,
    require_writable,
    write_atomically,
    write_text,
)


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


# Only ordinary files are replaced ---------------------------------------------------------------


def replace_with_text(path):
    write_text(path, "new")


def assert_refused(path, kind):
    """Writing is refused with one sentence, and calls no writer; nothing is left beside it."""
    before = sorted(os.listdir(path.parent))
    for write in (replace_with_text, require_writable):
        with pytest.raises(WriteError) as error:
            write(path)
        assert isinstance(error.value, CaptioningError)
        assert str(error.value) == (
            f"{path}: this is {kind} and not an ordinary file, so it is not replaced; name "
            "another file"
        )
    assert sorted(os.listdir(path.parent)) == before


def test_a_named_pipe_is_not_replaced(path):
    os.mkfifo(path)
    assert_refused(path, "a named pipe")
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_folder_is_not_replaced(path):
    path.mkdir()
    assert_refused(path, "a folder")
    assert path.is_dir()


def test_a_socket_is_not_replaced(path, monkeypatch):
    monkeypatch.chdir(path.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
        assert_refused(path, "a socket")
        assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize(
    "kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["a character device", "a block device"]
)
def test_a_device_is_not_replaced(path, kind):
    try:
        os.mknod(path, kind | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("a device needs the right to make one")
    assert_refused(path, "a device")
    assert stat.S_IFMT(path.stat().st_mode) == kind


def test_the_null_device_survives():
    assert_refused(Path(os.devnull), "a device")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_link_to_a_device_is_not_replaced(path):
    path.symlink_to(os.devnull)
    with pytest.raises(WriteError, match=r"/dev/null: this is a device"):
        write_text(path, "new")
    assert path.is_symlink()


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, exists):
    target = tmp_path / "elsewhere" / "real.txt"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    first, link = tmp_path / "first.txt", tmp_path / "links" / "link.txt"
    first.symlink_to(target)
    link.parent.mkdir()
    link.symlink_to("../first.txt")
    require_writable(link)
    write_text(link, "new")
    assert target.read_text() == link.read_text() == "new"
    assert link.is_symlink()
    assert first.is_symlink()
    assert not target.is_symlink()
    assert os.listdir(link.parent) == ["link.txt"]
    (target.parent / ".real.txt.77").touch()
    remove_leftovers(link)
    assert os.listdir(target.parent) == ["real.txt"]


def test_a_link_that_leads_to_itself_is_refused(path):
    path.symlink_to(path)
    with pytest.raises(WriteError, match="cannot be written"):
        write_text(path, "new")
    assert path.is_symlink()


@pytest.mark.parametrize(
    "name", ["a[b]*?.txt", "x" * 251 + ".txt", "é" * 125 + ".txt", "\udce9.txt"]
)
def test_any_name_that_a_file_can_have_can_be_written(tmp_path, name):
    path = tmp_path / name
    for text in ("old", "new"):
        write_text(path, text)
        assert path.read_text() == text
    assert os.listdir(tmp_path) == [name]
    (tmp_path / ".other.txt.12").touch()

    def die(temporary):
        temporary.rename(temporary.with_name(temporary.name.rpartition(".")[0] + ".99"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, lambda temporary: (temporary.touch(), die(temporary)))
    assert len(os.listdir(tmp_path)) == 3
    remove_leftovers(path)
    assert sorted(os.listdir(tmp_path)) == sorted([name, ".other.txt.12"])


# A full disk, and places that cannot be written -------------------------------------------------


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(small_disk):
    path = small_disk / "notes.txt"
    write_text(path, "old")
    with pytest.raises(WriteError) as error:
        write_text(path, "x" * 2**21)
    assert str(error.value) == (
        f"{path}: it could not be written (No space left on device), and what was there before is "
        "as it was; make room, then try again"
    )
    assert (error.value.errno, error.value.strerror) == (errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert os.listdir(small_disk) == ["notes.txt"]


def test_a_full_disk_that_numpy_notices_is_the_same(small_disk):
    def save(temporary):
        with temporary.open("wb") as file:
            np.save(file, np.zeros(2**20))

    with pytest.raises(WriteError, match="could not be written"):
        write_atomically(small_disk / "array.npy", save)
    assert os.listdir(small_disk) == []


def test_other_errors_of_a_writer_are_left_as_they_are(path):
    def fail(temporary):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "other.txt")

    with pytest.raises(FileNotFoundError, match=r"other\.txt"):
        write_atomically(path, fail)


def test_checking_a_place_leaves_nothing_behind(tmp_path):
    require_writable(tmp_path / "runs" / "name" / "best.pth")
    assert os.listdir(tmp_path) == []
    (tmp_path / "there.txt").write_text("old")
    require_writable(tmp_path / "there.txt")
    assert (tmp_path / "there.txt").read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without names")
def test_a_process_that_is_killed_while_it_checks_leaves_nothing_behind(tmp_path, monkeypatch):
    opened, seen = tempfile.TemporaryFile, []

    def watched(**settings):
        file = opened(**settings)
        seen.append(os.listdir(tmp_path))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    require_writable(tmp_path / "there.txt")
    assert seen == [[]]


def test_a_file_where_a_folder_should_be_is_noticed(tmp_path):
    (tmp_path / "results").touch()
    path = tmp_path / "results" / "plots" / "curves.png"
    with pytest.raises(WriteError) as error:
        require_writable(path)
    assert str(error.value) == (
        f"{path}: it cannot be written, because {tmp_path / 'results'} cannot (Not a directory); "
        "change that, or write to another place"
    )


def test_a_read_only_folder_is_noticed(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(WriteError, match=r"\(Read-only file system\)"):
        require_writable(small_disk / "results" / "a.json")


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ESTALE])
@pytest.mark.parametrize("where", ["write", "sync", "rename", "folder"])
def test_a_disk_that_fails_is_one_sentence_and_leaves_the_old_file(
    path, monkeypatch, number, where
):
    write_text(path, "old")
    before = sorted(os.listdir(path.parent))

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    if where == "write":
        monkeypatch.setattr(Path, "write_text", fail)
    elif where == "sync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace" if where == "rename" else "mkdir", fail)
    with pytest.raises(WriteError, match=r"model\.pth: it could not .*see to the disk, then try"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert sorted(os.listdir(path.parent)) == before


def test_what_a_running_process_writes_is_left_alone_where_it_may_be_needed(path):
    ours, gone = f".model.pth.{os.getpid()}", ".model.pth.4194305"  # no process has that number
    for name in (ours, gone, ".model.pth.99999999999999999999"):
        (path.parent / name).touch()
    remove_leftovers(path, abandoned=True)
    assert os.listdir(path.parent) == [ours]
    remove_leftovers(path)
    assert os.listdir(path.parent) == []
