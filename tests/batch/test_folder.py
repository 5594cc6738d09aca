"""A folder's captions: none lost, doubled or half, whatever ends the run."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.batch.exiftool import ExifToolError
from captioning.batch.folder import FolderConfig, FolderRun
from captioning.batch.journal import JournalError
from captioning.batch.sources import Listing, find
from captioning.errors import SettingError
from tests.batch.fakes import FakeCaptioner

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "records.schema.json").read_text())


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_text(f"ok {name[0]} dog")
    return folder


def run(folder, output, captioner=None, said=None, **config):
    """Caption a folder; returns the summary and what the captioner read, by name."""
    captioner = captioner or FakeCaptioner()
    pictures = find([str(folder)], Listing(recursive=True, relative=True), bytes).pictures
    config = FolderConfig(**{"output": output, "model": "m1", **config})
    summary = FolderRun(config, (said if said is not None else []).append).run(captioner, pictures)
    return summary, [os.path.relpath(path, folder) for path in captioner.read]


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def captions(path):
    return {record["file"]: record.get("caption") for record in records(path)}


ALL = {"a.jpg": "ok a dog", "b.jpg": "ok b dog", "c.jpg": "ok c dog"}


def test_every_picture_is_a_record_that_fits_the_schema(folder, tmp_path):
    (folder / "cut.jpg").write_text("cut")
    said = []
    summary, _ = run(folder, tmp_path / "captions.jsonl", said=said)
    assert (summary.captioned, summary.failed) == (3, 1)
    assert said == [f"{folder / 'cut.jpg'} is damaged: save it again."]
    for record in records(tmp_path / "captions.jsonl"):
        jsonschema.validate(record, SCHEMA)
    assert captions(tmp_path / "captions.jsonl") == ALL | {"cut.jpg": None}
    assert records(tmp_path / "captions.jsonl")[3]["error"] == said[0]


def test_what_was_captioned_before_is_not_read_again(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    run(folder, output)
    (folder / "d.jpg").write_text("ok d dog")
    summary, read = run(folder, output)
    assert read == ["d.jpg"]
    assert (summary.captioned, summary.before) == (1, 3)
    assert captions(output) == ALL | {"d.jpg": "ok d dog"}


def test_the_model_is_not_loaded_where_nothing_is_to_do(folder, tmp_path):
    run(folder, tmp_path / "captions.jsonl")

    def load():
        raise AssertionError("nothing is to be captioned")

    load.read = []
    summary, _ = run(folder, tmp_path / "captions.jsonl", load)
    assert (summary.captioned, summary.before) == (0, 3)


def test_an_interrupted_run_goes_on(folder, tmp_path):
    output = tmp_path / "captions.csv"
    with pytest.raises(KeyboardInterrupt):
        run(folder, output, FakeCaptioner(stop_after=2))
    assert not output.exists()  # the table is made at the end
    _, read = run(folder, output)
    assert read == ["c.jpg"]
    assert output.read_text().count("\n") == 4


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 400)), max_size=5))
def test_no_record_is_lost_doubled_or_half(tmp_path_factory, crashes):
    """Any number of crashes: each after some captions, the file cut somewhere in what came last."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        (folder / f"{number}.jpg").write_text(f"ok {number}")
    output = folder / "captions.jsonl"
    for captioned, cut in crashes:
        try:
            run(folder, output, FakeCaptioner(stop_after=captioned))
        except KeyboardInterrupt:
            content = output.read_bytes()
            last = len(content) - content.rfind(b"\n", 0, -1) - 1
            output.write_bytes(content[: len(content) - min(cut, last)])
    run(folder, output)
    names = [record["file"] for record in records(output)]
    assert sorted(names) == sorted({f"{number}.jpg" for number in range(6)})


def test_a_changed_file_is_captioned_anew_on_request_alone(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    run(folder, output)
    (folder / "b.jpg").write_text("ok another dog")
    assert run(folder, output)[1] == []
    assert run(folder, output, changed=True)[1] == ["b.jpg"]
    assert captions(output) == ALL | {"b.jpg": "ok another dog"}
    assert len(records(output)) == 3
    os.utime(folder / "c.jpg", ns=(0, 1))
    assert run(folder, output, changed=True)[1] == ["c.jpg"]
    assert run(folder, output, changed=True)[1] == []


def test_a_picture_that_failed_is_tried_again(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    (folder / "cut.jpg").write_text("cut")
    run(folder, output)
    before = output.read_bytes()
    assert run(folder, output)[1] == ["cut.jpg"]
    assert output.read_bytes() == before  # it says so already
    (folder / "cut.jpg").write_text("ok whole dog")
    run(folder, output)
    assert captions(output) == ALL | {"cut.jpg": "ok whole dog"}
    assert len(records(output)) == 4


def test_a_caption_is_kept_when_its_file_is_gone(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    run(folder, output)
    (folder / "b.jpg").write_text("damaged")
    summary, _ = run(folder, output, changed=True)
    assert summary.failed == 1
    assert captions(output) == ALL


def test_captions_of_another_model_are_not_mixed_in(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    run(folder, output)
    before = output.read_bytes()
    with pytest.raises(SettingError, match="of another model"):
        run(folder, output, model="m2")
    assert output.read_bytes() == before


def test_a_table_that_we_did_not_write_is_not_replaced(folder, tmp_path):
    (tmp_path / "mine.csv").write_text("image,caption\n")
    with pytest.raises(SettingError, match="is there already"):
        run(folder, tmp_path / "mine.csv")
    (tmp_path / "mine.jsonl").write_text("{}\n")
    with pytest.raises(JournalError, match="did not write"):
        run(folder, tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.csv").read_text() == "image,caption\n"
    assert (tmp_path / "mine.jsonl").read_text() == "{}\n"


def test_a_table_is_made_again_with_what_was_added(folder, tmp_path):
    output = tmp_path / "captions.csv"
    run(folder, output)
    (folder / "d.jpg").write_text("ok d dog")
    run(folder, output)
    assert len(output.read_text().splitlines()) == 5
    output.unlink()  # it can be made from the journal alone
    assert run(folder, output)[1] == []
    assert len(output.read_text().splitlines()) == 5


def test_maps_are_written_on_request(folder, tmp_path):
    run(folder, tmp_path / "captions.jsonl", maps=True)
    assert records(tmp_path / "captions.jsonl")[0]["words"][0]["map"] == [[0.25, 0.25]] * 2


# Beside the pictures ----------------------------------------------------------------------------


def test_sidecars_have_the_sentence(folder, tmp_path):
    run(folder, tmp_path / "captions.jsonl", sidecar=True)
    assert (folder / "a.jpg.txt").read_text(encoding="utf-8") == "Ok a dog.\n"
    assert len(list(folder.glob("*.jpg.txt"))) == 3


def test_a_text_of_somebody_else_is_kept(folder, tmp_path):
    (folder / "a.jpg.txt").write_text("mine")
    summary, _ = run(folder, tmp_path / "captions.jsonl", sidecar=True)
    assert (folder / "a.jpg.txt").read_text() == "mine"
    assert summary.kept.texts == 1
    assert "1 with another text beside them, which is kept" in summary.describe(tmp_path)


def test_sidecars_that_are_asked_for_later_are_written_without_reading(folder, tmp_path):
    run(folder, tmp_path / "captions.jsonl")
    _, read = run(folder, tmp_path / "captions.jsonl", sidecar=True)
    assert read == []
    assert (folder / "c.jpg.txt").exists()


def test_the_sidecar_of_a_changed_picture_is_replaced_if_it_is_ours(folder, tmp_path):
    run(folder, tmp_path / "captions.jsonl", sidecar=True)
    (folder / "a.jpg.txt").write_text("edited")
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_text("ok new dog")
    run(folder, tmp_path / "captions.jsonl", sidecar=True, changed=True)
    assert (folder / "a.jpg.txt").read_text() == "edited"
    assert (folder / "b.jpg.txt").read_text() == "Ok new dog.\n"


# Inside the pictures ----------------------------------------------------------------------------


class FakeWriter:
    """Metadata of a file are its last line; no exiftool."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, path, text):
        content = path.read_text()
        if "\n" in content:
            return False
        path.write_text(f"{content}\n{text}")
        return True


@pytest.fixture
def fake_metadata(monkeypatch):
    monkeypatch.setattr("captioning.batch.copies.MetadataWriter", FakeWriter)


@pytest.mark.usefixtures("fake_metadata")
def test_captions_are_embedded_and_the_record_knows_the_new_file(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    (folder / "b.jpg").write_text("ok b dog\nmine")
    summary, _ = run(folder, output, embed=True)
    assert (folder / "a.jpg").read_text() == "ok a dog\nOk a dog."
    assert [record["embedded"] for record in records(output)] == [True, False, True]
    assert summary.kept.descriptions == 1
    for record in records(output):
        jsonschema.validate(record, SCHEMA)
    assert run(folder, output, changed=True)[1] == []  # embedding is no change


@pytest.mark.usefixtures("fake_metadata")
def test_captions_are_embedded_later_without_captioning(folder, tmp_path):
    output = tmp_path / "captions.jsonl"
    run(folder, output)
    _, read = run(folder, output, embed=True, sidecar=True)
    assert read == []
    assert (folder / "c.jpg").read_text() == "ok c dog\nOk c dog."
    assert (folder / "c.jpg.txt").read_text() == "Ok c dog.\n"
    assert [record["file"] for record in records(output)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert all(record["embedded"] for record in records(output))
    assert run(folder, output, changed=True, embed=True)[1] == []


def test_a_sidecar_that_cannot_be_written_is_reported(folder, tmp_path):
    os.mkdir(folder / "a.jpg.txt")
    said = []
    summary, _ = run(folder, tmp_path / "captions.jsonl", said=said, sidecar=True)
    assert summary.kept.failed == 1
    assert "the caption cannot be written there" in said[0]
    assert captions(tmp_path / "captions.jsonl") == ALL


def test_a_missing_exiftool_is_said_once_before_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    captioner = FakeCaptioner()
    with pytest.raises(ExifToolError, match="is not installed"):
        run(folder, tmp_path / "captions.jsonl", captioner, embed=True)
    assert captioner.read == []


# What killed runs have left ---------------------------------------------------------------------


@pytest.mark.usefixtures("fake_metadata")
def test_half_written_files_of_killed_runs_are_removed_where_it_writes(folder, tmp_path):
    gone, running = 4194305, os.getppid()  # of which the first is no process
    left = [tmp_path / f".captions.csv.{gone}", tmp_path / f".captions.csv.journal.{gone}"]
    left += [folder / f".{name}.{gone}" for name in ("a.jpg.txt", "b.jpg")]
    kept = [folder / f".a.jpg.txt.{running}", folder / f".d.jpg.{gone}", folder / ".a.jpg.txt.x"]
    for path in (*left, *kept):
        path.touch()
    run(folder, tmp_path / "captions.csv", sidecar=True, embed=True)
    assert [path for path in left if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
