"""The journal holds whole records at every moment, and refuses what it has not written."""

import errno
import json
import multiprocessing
import os
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.batch.journal import Journal, JournalError
from captioning.inference.export import RECORD_VERSION


def record(name, caption="a dog"):
    return {"version": RECORD_VERSION, "file": name, "caption": caption}


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fill(path, *records):
    with Journal(path) as journal:
        for each in records:
            journal.append(each)


def test_records_are_lines_of_json(tmp_path):
    path = tmp_path / "new" / "captions.jsonl"
    records = [record("a.jpg"), record("b c\u202f.jpg", "zwei Hunde, “müde”")]
    fill(path, *records)
    assert read(path) == records
    with Journal(path) as journal:
        assert list(journal.records()) == records


def test_a_name_that_is_not_utf_8_survives(tmp_path):
    path = tmp_path / "captions.jsonl"
    fill(path, record("latin\udce9.jpg"))
    path.read_bytes().decode("utf-8")  # the file itself is UTF-8
    with Journal(path) as journal:
        assert [each["file"] for each in journal.records()] == ["latin\udce9.jpg"]


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(names, max_size=6), st.integers(min_value=0), st.lists(names, max_size=3))
def test_what_a_crash_has_cut_off_is_removed(tmp_path_factory, first, cut, then):
    """Wherever the file ends, whole records stay, and others can be added."""
    path = tmp_path_factory.mktemp("journal") / "captions.jsonl"
    fill(path, *map(record, first))
    content = path.read_bytes()
    content = content[: cut % (len(content) + 1)]
    path.write_bytes(content)
    whole = content.count(b"\n")
    fill(path, *map(record, then))
    assert [each["file"] for each in read_lines(path)] == [*first[:whole], *then]


def read_lines(path):
    return [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]


def test_compacting_keeps_the_last_record_of_each_picture(tmp_path):
    path = tmp_path / "captions.jsonl"
    with Journal(path) as journal:
        for name, caption in (("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")):
            journal.append(record(name, caption))
        journal.compact()
        assert [each["caption"] for each in journal.records()] == ["2", "3", "4"]
        journal.append(record("d", "5"))  # the new file is the one that is open
    assert [each["caption"] for each in read(path)] == ["2", "3", "4", "5"]
    assert [each.name for each in tmp_path.iterdir()] == ["captions.jsonl"]


FOREIGN = {
    "another program's": '{"image_id": 1, "caption": "a dog"}\n',
    "of no version": '{"file": "a.jpg", "caption": "a dog"}',
    "prose": "The first line of a novel",
    "a list": "[]\n",
    "a picture": "\x89PNG\r\n",
    "no file": '{"version": 1, "caption": "a dog"}\n',
    "version in words": '{"version": "one", "file": "a.jpg"}\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_not_ours_is_refused_and_untouched(tmp_path, content):
    path = tmp_path / "captions.jsonl"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(JournalError, match="this command did not write this line"), Journal(path):
        pass
    assert path.read_bytes() == content.encode("latin-1")


def test_a_bad_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "captions.jsonl"
    fill(path, record("a.jpg"))
    path.write_text(path.read_text() + "edited\n")
    with Journal(path) as journal, pytest.raises(JournalError, match="line 2"):
        list(journal.records())


def test_a_file_of_a_later_release_is_refused(tmp_path):
    path = tmp_path / "captions.jsonl"
    path.write_text(f'{{"version": {RECORD_VERSION + 1}, "file": "a.jpg"}}\n')
    with pytest.raises(JournalError, match="a later release"), Journal(path):
        pass


def test_a_folder_and_a_device_are_refused(tmp_path):
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(JournalError, match="not an ordinary file"), Journal(path):
            pass


def test_two_runs_cannot_write_one_file(tmp_path):
    path = tmp_path / "captions.jsonl"
    busy = pytest.raises(JournalError, match="another run is writing this file")
    with Journal(path), busy, Journal(path):
        pass
    with Journal(path):  # free again
        pass


def append_past_the_limit(path):
    """Append until the file may not grow: what a full disk does, without one."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    many = [record(f"{number}.jpg") for number in range(100)]
    with pytest.raises(JournalError, match="cannot be written"):
        fill(path, *many)


def test_a_full_disk_leaves_whole_records(tmp_path):
    path = tmp_path / "captions.jsonl"
    process = multiprocessing.get_context("spawn").Process(
        target=append_past_the_limit, args=(path,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert path.read_bytes().endswith(b"\n")
    assert [each["file"] for each in read(path)] == [f"{n}.jpg" for n in range(len(read(path)))]
    assert len(read(path)) >= 10


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fails_to_keep_what_was_written_is_one_sentence(tmp_path, monkeypatch, number):
    path = tmp_path / "captions.jsonl"

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JournalError, match=rf"cannot be written \({os.strerror(number)}\); make"):
        fill(path, record("a.jpg"))
    monkeypatch.undo()
    fill(path, record("b.jpg"))
    assert [each["file"] for each in read(path)] == ["a.jpg", "b.jpg"]


def test_a_read_only_folder_is_one_sentence(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalError, match=r"cannot be written \(Read-only file system\); see"):
        fill(small_disk / "sub" / "captions.jsonl", record("a.jpg"))


def test_a_file_that_another_run_has_just_replaced_is_not_written(tmp_path, monkeypatch):
    """It would be lost: the file has no name any more."""
    path = tmp_path / "captions.jsonl"
    fill(path, record("a.jpg"))

    def replaced(file):
        path.with_name("new").write_bytes(path.read_bytes())
        path.with_name("new").replace(path)
        return True

    monkeypatch.setattr("captioning.batch.journal.lock", replaced)
    with pytest.raises(JournalError, match="another run is writing"), Journal(path):
        pass


def test_what_a_killed_run_has_left_is_removed(tmp_path):
    path = tmp_path / "captions.jsonl"
    for name in (".captions.jsonl.123", ".other.jsonl.123"):
        (tmp_path / name).touch()
    fill(path, record("a.jpg"))
    assert sorted(os.listdir(tmp_path)) == [".other.jsonl.123", "captions.jsonl"]
