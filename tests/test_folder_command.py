"""Folders on the command line: files of captions, real interruptions, names of every kind."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.__main__ import main
from captioning.inference.captioner import Captioner

ROOT = Path(__file__).resolve().parent.parent
load_once = cache(Captioner.load)
COUNT = 40


@pytest.fixture(autouse=True)
def one_model(monkeypatch):
    """Read the model once for all tests."""
    monkeypatch.setattr(Captioner, "load", load_once)


@pytest.fixture
def photos(tmp_path):
    """Pictures of noise, in a folder and in one inside."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(COUNT):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        inside = "sub/" if number % 4 == 0 else ""
        Image.fromarray(noise).resize((64, 64)).save(folder / f"{inside}{number:02}.png")
    return folder


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_folder_becomes_a_file_of_captions(cli, photos, tmp_path, captioner):
    output = tmp_path / "captions.jsonl"
    status, out, err = cli(photos, "--output", output)
    assert (status, out) == (0, [])
    assert err[-2:] == [
        f"{output}: 30 captioned",
        "left out: 1 sub-folder (--recursive reads them)",
    ]
    records = read(output)
    assert [record["file"] for record in records] == sorted(p.name for p in photos.glob("*.png"))
    for record, caption in zip(
        records, captioner.stream(sorted(photos.glob("*.png"))), strict=True
    ):
        assert record["caption"] == caption.text
    status, _, err = cli(photos, "--output", output, "--recursive")
    assert (status, err[-1]) == (0, f"{output}: 10 captioned, 30 captioned before")
    assert read(output)[:30] == records
    assert {record["file"] for record in read(output)[30:]} == {
        f"sub/{number:02}.png" for number in range(0, COUNT, 4)
    }


def test_a_csv_and_a_parquet_have_the_same_captions(cli, photos, tmp_path):
    import csv

    parquet = pytest.importorskip("pyarrow.parquet")
    for suffix in ("jsonl", "csv", "parquet"):
        assert cli(photos, "-r", "--output", tmp_path / f"captions.{suffix}")[0] == 0
    expected = [(record["file"], record["caption"]) for record in read(tmp_path / "captions.jsonl")]
    with open(tmp_path / "captions.csv", encoding="utf-8", newline="") as file:
        assert [(row["image"], row["caption"]) for row in csv.DictReader(file)] == expected
    rows = parquet.read_table(tmp_path / "captions.parquet").to_pylist()
    assert [(row["file"], row["caption"]) for row in rows] == expected


def test_other_files_are_named_as_they_were_given(cli, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("photos/01.png", "photos/sub", "--output", "captions.jsonl")[0] == 0
    names = [record["file"] for record in read(tmp_path / "captions.jsonl")]
    assert names[:2] == ["photos/01.png", "photos/sub/00.png"]


def test_names_keep_every_character(cli, photos, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    names = [b"latin\xe9.png", b"a  b.png", b" x .png", b"tab\there.png", b"line\nbreak.png"]
    names += [n.encode() for n in ("9.41\u202fAM.png", "写真\u3000一.png", "e\u0301.png", "#%.png")]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes((photos / "01.png").read_bytes())
    assert cli(folder, "--output", tmp_path / "captions.jsonl")[0] == 0
    written = {os.fsencode(record["file"]) for record in read(tmp_path / "captions.jsonl")}
    assert written == set(names)
    status, out, _ = cli(folder, "--json")
    assert status == 0
    assert {os.fsencode(Path(json.loads(line)["file"]).name) for line in out} == set(names)


def test_a_folder_with_one_photograph_prints_its_name(cli, photos):
    (only,) = (photos / "sub" / "00.png",)
    for number in range(4, COUNT, 4):
        (photos / "sub" / f"{number:02}.png").unlink()
    _, out, _ = cli(photos / "sub")
    assert out[0].startswith(f"{only}: ")


def test_a_model_that_is_missing_is_said_even_where_captions_are(photos, tmp_path, cli, capsys):
    assert cli(photos, "--output", tmp_path / "c.jsonl")[0] == 0
    missing = ["--model", str(tmp_path / "typo.pth")]
    assert main([str(photos), "--output", str(tmp_path / "c.jsonl"), *missing]) == 2
    assert "typo.pth: there is no such" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output", "o.jsonl", "--json"],
        ["--output", "o.jsonl", "--attention", "o.png"],
        ["--changed"],
        ["--output", "o.xlsx"],
    ],
)
def test_flags_that_do_not_go_together_are_refused(cli, photos, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, out, err = cli(photos, *arguments)
    assert (status, out) == (2, [])
    assert err[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_output_that_is_an_input_is_refused(cli, photos):
    photo = photos / "01.png"
    before = photo.read_bytes()
    odd = photos / "odd.csv"  # a photograph may have any name
    odd.write_bytes(before)
    status, _, err = cli(odd, "--output", odd)
    assert (status, "one of the files to be read" in err[-1]) == (2, True)
    assert odd.read_bytes() == before


def test_a_name_that_begins_with_a_dash_gets_a_hint(cli, photos, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / "-dash.png").write_bytes((photos / "01.png").read_bytes())
    monkeypatch.setattr(sys, "argv", ["captioning", "-dash.png"])
    status, _, err = cli("-dash.png")
    assert (status, err[-1].endswith("is written ./-dash.png")) == (2, True)
    assert cli("./-dash.png")[0] == 0


# Real processes ---------------------------------------------------------------------------------


def start(folder, checkpoint_path, *arguments, **environment):
    """Start the command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "captioning", *map(str, arguments), "--model", checkpoint_path],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Not ignored, as it is in what a shell starts with &.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_lines(path, count, process):
    """Wait until a file has so many lines, or the process has ended."""
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)


def test_a_process_that_is_killed_goes_on(photos, tmp_path, checkpoint_path):
    """SIGKILL in the middle, several times over: each picture has one whole line at the end."""
    output = tmp_path / "captions.jsonl"
    before = []
    for lines in (1, 17, 33):
        process = start(tmp_path, checkpoint_path, photos, "-r", "--output", output)
        wait_for_lines(output, lines, process)
        process.kill()
        process.communicate()
        kept = output.read_bytes().split(b"\n")[:-1]
        assert kept[: len(before)] == before  # what was written is never written again
        before = kept
    process = start(tmp_path, checkpoint_path, photos, "-r", "--output", output)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    names = [record["file"] for record in read(output)]
    assert len(names) == COUNT
    assert len(set(names)) == COUNT
    assert output.read_bytes().split(b"\n")[: len(before)] == before


def test_ctrl_c_says_how_to_go_on(photos, tmp_path, checkpoint_path):
    output = tmp_path / "captions.csv"
    process = start(tmp_path, checkpoint_path, photos, "-r", "--output", output)
    wait_for_lines(tmp_path / "captions.csv.journal", 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == f"stopped; the same command goes on with {output}"
    assert b"Traceback" not in err


def test_a_log_has_whole_lines_and_no_progress_bar(photos, tmp_path, checkpoint_path):
    (photos / "cut.png").write_bytes(b"\x89PNG")
    process = start(tmp_path, checkpoint_path, photos, "--output", tmp_path / "captions.jsonl")
    _, err = process.communicate(timeout=100)
    assert b"\r" not in err
    assert len(err.decode().splitlines()) == 3  # the bad one, the sum, what was left out


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_names_that_standard_output_cannot_encode(photos, tmp_path, checkpoint_path, arguments):
    folder = tmp_path / "names"
    folder.mkdir()
    for name in ("犬.png", "caf\u00e9.png", "z.png"):
        (folder / name).write_bytes((photos / "01.png").read_bytes())
    process = start(
        tmp_path, checkpoint_path, folder, *arguments, PYTHONIOENCODING="cp1252", PYTHONUTF8="0"
    )
    out, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, b"")
    lines = out.decode("cp1252").splitlines()
    assert len(lines) == 3
    if arguments:
        names = {Path(json.loads(line)["file"]).name for line in lines}
        assert names == {"犬.png", "caf\u00e9.png", "z.png"}


def test_pictures_and_names_come_by_standard_input(photos, tmp_path, checkpoint_path, captioner):
    photo = photos / "01.png"
    command = [sys.executable, "-m", "captioning", "-", "--model", checkpoint_path]
    for content, expected in (
        (photo.read_bytes(), captioner(photo).sentence),
        (b"photos/01.png\n", captioner(photo).sentence),
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            input=content,
            capture_output=True,
            timeout=100,
        )
        assert (done.returncode, done.stdout.decode()) == (0, f"{expected}\n"), done.stderr
