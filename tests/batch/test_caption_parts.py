"""The folder of captions: what a later run goes on with, and what no crash can break."""

import os
from collections import Counter

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from captioning.batch import caption_parts
from captioning.batch.caption_parts import CaptionParts, PartsError, parts_schema, rows_of
from captioning.batch.folder import Stamp
from captioning.errors import SettingError
from captioning.files import WriteError
from captioning.inference.export import as_record
from tests.batch.fakes import caption

MODEL = "0123456789ab"


def captioned(name, text="ok dog", **more):
    return as_record(caption(name, text)) | {"file": name, "model": MODEL} | more


def failed(name, reason="damaged"):
    return {"file": name, "error": f"{name} is {reason}."}


def write(folder, *runs, model=MODEL):
    """Write records by one run after the other."""
    for records in runs:
        with CaptionParts(folder, model) as parts:
            parts.add(rows_of(records))


def read(folder):
    return parquet.read_table(folder).to_pylist() if list(folder.glob("*.parquet")) else []


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_row_has_what_a_parquet_of_captions_has_and_what_a_later_run_needs(tmp_path):
    write(tmp_path, [captioned("a", bytes=3, modified="2026-01-01T00:00:00+00:00"), failed("b")])
    first, second = read(tmp_path)
    assert (first["file"], first["caption"]) == ("a", "ok dog")
    assert first["words"][1] == {
        "word": "dog",
        "probability": 0.5,
        "x": 0.25,
        "y": 0.25,
        "evidence": None,
    }
    assert (first["model"], first["bytes"]) == (MODEL, 3)
    assert (second["caption"], second["error"]) == (None, "b is damaged.")
    with CaptionParts(tmp_path, MODEL) as parts:
        assert parts.rows["a"].stamp == Stamp(3, "2026-01-01T00:00:00+00:00")
        assert parts.rows["b"].error == "b is damaged."


def test_a_later_run_writes_another_part(tmp_path):
    write(tmp_path, [captioned("a")], [captioned("b")], [])
    assert names(tmp_path) == ["part-00000.parquet", "part-00001.parquet"]
    assert [row["file"] for row in read(tmp_path)] == ["a", "b"]


def test_an_error_gives_way_to_a_caption_and_to_news_and_a_caption_to_no_error(tmp_path):
    write(tmp_path, [failed("a"), failed("b"), captioned("c"), failed("d")])
    again = [captioned("a"), failed("b", "gone"), failed("c"), failed("d")]
    write(tmp_path, again)
    rows = {row["file"]: row for row in read(tmp_path)}
    assert len(rows) == len(read(tmp_path)) == 4
    assert rows["a"]["caption"] == "ok dog"
    assert rows["b"]["error"] == "b is gone."
    assert rows["c"]["error"] is None
    assert rows["d"]["error"] == "d is damaged."


def test_a_part_without_rows_that_count_is_removed(tmp_path):
    write(tmp_path, [failed("a")], [captioned("a")])
    assert names(tmp_path) == ["part-00001.parquet"]
    write(tmp_path, [captioned("b")])
    assert names(tmp_path) == ["part-00001.parquet", "part-00002.parquet"]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y"]), max_size=6),
        max_size=4,
    ),
    st.integers(1, 4),
)
def test_each_picture_has_one_row_in_the_end(tmp_path_factory, runs, most):
    """Against a model in a dictionary, with parts of every size, and crashes before tidying."""
    folder = tmp_path_factory.mktemp("parts") / "out"
    expected = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_parts, "MOST_ROWS", most)
        for number, run in enumerate(runs):
            with pytest.MonkeyPatch.context() as crash:
                if number % 2:  # as if it had been killed there; the next run puts it right
                    crash.setattr(CaptionParts, "_remove_superseded", lambda self: None)
                with CaptionParts(folder, MODEL) as parts:
                    for name, error in run.items():
                        text = f"ok {number}"
                        record = failed(name, error) if error else captioned(name, text)
                        parts.add(rows_of([record]))
                        value = record.get("caption"), record.get("error")
                        if value[0] or not expected.get(name, ("",))[0]:
                            expected[name] = value
        write(folder, [])
    found = {row["file"]: (row["caption"], row["error"]) for row in read(folder)}
    assert found == expected
    assert max(Counter(row["file"] for row in read(folder)).values(), default=1) == 1


def test_what_a_killed_run_has_not_finished_is_removed(tmp_path):
    write(tmp_path, [captioned("a")])
    (tmp_path / ".part-00001.parquet.4711").write_bytes(b"half")
    (tmp_path / ".somebody.elses").touch()
    write(tmp_path, [])
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".captioning.lock", ".somebody.elses", "part-00000.parquet"]


def test_rows_are_written_when_they_are_many_or_old(tmp_path, monkeypatch):
    monkeypatch.setattr(caption_parts, "MOST_ROWS", 3)
    with CaptionParts(tmp_path, MODEL) as parts:
        parts.add(rows_of([captioned("a"), captioned("b")]))
        assert read(tmp_path) == []
        parts.add(rows_of([captioned("c")]))
        assert len(read(tmp_path)) == 3
        monkeypatch.setattr(caption_parts, "MOST_SECONDS", 0.0)
        parts.add(rows_of([captioned("d")]))
        assert len(read(tmp_path)) == 4


@pytest.mark.parametrize("ending", [KeyboardInterrupt, PartsError])
def test_what_came_is_written_whatever_ends_the_run(tmp_path, ending):
    write(tmp_path, [failed("a")])

    def run():
        with CaptionParts(tmp_path, MODEL) as parts:
            parts.add(rows_of([captioned("a"), captioned("b")]))
            raise ending("no more")

    with pytest.raises(ending):
        run()
    assert sorted(row["file"] for row in read(tmp_path)) == ["a", "b"]


def test_captions_of_another_model_are_refused_and_errors_are_not(tmp_path):
    write(tmp_path, [failed("a")])
    write(tmp_path, [captioned("b")])
    with pytest.raises(SettingError, match="these captions are of another model; name another"):
        write(tmp_path, [], model="another")
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("name", ["notes.txt", "captions.parquet", "part-00000.parquet"])
def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody's")
    if name.endswith("s.parquet"):
        write_other = pyarrow.table({"file": ["a"]})
        parquet.write_table(write_other, tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(PartsError, match="name a") as error:
        write(tmp_path, [captioned("a")])
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == before


def test_another_file_beside_parts_is_left_alone(tmp_path):
    write(tmp_path, [captioned("a")])
    (tmp_path / "README.md").write_text("what this is")
    write(tmp_path, [captioned("b")])
    assert names(tmp_path) == ["README.md", "part-00000.parquet", "part-00001.parquet"]


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(PartsError, match=r"out: this is a file, and --ray writes a folder"):
        write(tmp_path / "out", [])


def test_a_later_release_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(caption_parts, "RECORD_VERSION", 1000)
        write(tmp_path, [captioned("a")])
    with pytest.raises(PartsError, match="a later release of captioning wrote this file"):
        write(tmp_path, [])


def test_two_runs_do_not_write_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    with CaptionParts(tmp_path, MODEL), pytest.raises(PartsError, match="another run is writing"):
        write(tmp_path, [captioned("a")])


def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(small_disk):
    folder = small_disk / "out"
    write(folder, [captioned("a"), failed("b")])
    long = [captioned(str(number), os.urandom(5000).hex()) for number in range(200)]
    with pytest.raises(WriteError, match=r"part-00001\.parquet: it could not be written") as error:
        write(folder, [captioned("b"), *long])
    assert "make room, then try again" in str(error.value)
    assert "\n" not in str(error.value)
    rows = {row["file"]: row for row in read(folder)}
    assert (set(rows), rows["b"]["error"]) == ({"a", "b"}, "b is damaged.")
    assert names(folder) == ["part-00000.parquet"]
    write(folder, [captioned("b")])
    assert [row["file"] for row in read(folder)] == ["a", "b"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"out/part.* cannot be written, because .*file cannot"):
        write(tmp_path / "file" / "out", [captioned("a")])


def test_a_million_names_take_some_hundred_megabytes():
    """What is kept of each picture, measured on a part of them."""
    import tracemalloc

    tracemalloc.start()
    rows = {f"folder/photograph {number}.jpg": caption_parts.Row(3) for number in range(10_000)}
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(rows) == 10_000
    assert 100 * size < 400_000_000


def test_the_columns_are_those_of_a_file_of_captions_and_more():
    assert parts_schema().names == [
        *("file", "caption", "confidence", "warning", "error", "words"),
        *("model", "bytes", "modified"),
    ]
