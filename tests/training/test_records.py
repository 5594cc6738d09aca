"""The records of a run: which ones a stage keeps, and what is refused."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from captioning.errors import CaptioningError, SettingError
from captioning.training.records import Report, RunFiles, read_records

FIGURES = {"loss": 2.5, "BLEU-4": 20.0, "CIDEr-D": 50.0}
FIGURES |= {
    "BLEU-1": 60.0,
    "BLEU-2": 40.0,
    "BLEU-3": 30.0,
    "ROUGE-L": 40.0,
    "F1 macro": 10.0,
    "F1 weighted": 30.0,
}
FIGURES |= {"accuracy": 40.0, "accuracy top-5": 70.0, "caption F1": 30.0}


def record(epoch):
    return {"epoch": epoch, "learning_rate": 0.1, "train_loss": 3.0, "seconds": 1, "dev": FIGURES}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return RunFiles("small")


def written(files):
    lines = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    return [(line["stage"], line["epoch"]) for line in lines]


def test_a_stage_keeps_the_records_of_earlier_stages_alone(files):
    for stage in ("decoder", "finetune", "refine"):
        Report(files, stage)([record(1), record(2)])
    Report(files, "finetune")([record(1)])
    assert written(files) == [("decoder", 1), ("decoder", 2), ("finetune", 1)]
    Report(files, "adapt")([record(1)])
    assert written(files) == [("adapt", 1)]


def test_a_report_draws_the_curves_and_prints_the_last_epoch(files, capsys):
    Report(files, "decoder")([record(1), record(2)])
    assert files.plot.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == (
        "decoder epoch 2: train loss 3.000, dev loss 2.500, BLEU-4 20.00, CIDEr-D 50.00, 1 s\n"
    )


def test_the_figures_of_other_sets_are_kept_and_printed(files, capsys):
    last = record(1) | {"others": {"everyday": FIGURES, "everyday, web": FIGURES | {"loss": 4.0}}}
    Report(files, "decoder")([last])
    assert json.loads(files.metrics.read_text())["others"] == last["others"]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  everyday: dev loss 2.500, BLEU-4 20.00, CIDEr-D 50.00",
        "  everyday, web: dev loss 4.000, BLEU-4 20.00, CIDEr-D 50.00",
    ]
    Report(files, "finetune")([record(1)])  # which reads them again
    assert written(files) == [("decoder", 1), ("finetune", 1)]


def test_a_stage_without_captions_has_no_curves_of_them(files, capsys):
    """The language model writes no captions of photographs: it has a loss alone."""
    Report(files, "language")([record(1) | {"dev": {"loss": 2.25}}])
    assert not files.plot.exists()
    assert capsys.readouterr().out == "language epoch 1: train loss 3.000, dev loss 2.250, 1 s\n"
    Report(files, "decoder")([record(1)])
    assert files.plot.exists()
    assert written(files) == [("language", 1), ("decoder", 1)]


def test_without_a_file_there_are_no_records(files):
    assert read_records(files.metrics) == []


@pytest.mark.parametrize("content", [b"text", b"[1]", b"7", b'{"stage": "decoder"}', b"\xff\xfe"])
def test_a_file_of_anything_else_is_refused_before_training(files, content):
    files.metrics.parent.mkdir(parents=True)
    files.metrics.write_bytes(content)
    with pytest.raises(CaptioningError, match=r"small\.jsonl: .* choose another --name"):
        Report(files, "finetune")


# One at a time ----------------------------------------------------------------------------------

HOLD = """
import sys, time
from captioning.training.records import RunFiles
with RunFiles(sys.argv[1]).alone():
    print("locked", flush=True)
    time.sleep(60)
"""


def test_of_two_runs_of_one_name_the_second_is_refused_unless_the_first_was_killed(
    files, tmp_path, monkeypatch
):
    monkeypatch.setattr("captioning.training.records._READERS_NOTICE", 0.3)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", HOLD, files.name]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        assert first.stdout.readline() == b"locked\n"
        with pytest.raises(SettingError, match="runs/small: another run of this name"):
            files.alone().__enter__()
        with RunFiles("other").alone():
            pass
    finally:
        first.kill()
        first.communicate()
    with files.alone():
        pass
    with files.alone():
        pass
    assert os.listdir(tmp_path / "runs" / "small") == []  # the lock is no file


def test_a_lock_that_readers_of_a_killed_run_still_have_is_waited_for(files):
    ours = files.alone()
    ours.__enter__()
    timer = threading.Timer(1.0, ours.__exit__, (None, None, None))
    timer.start()
    with files.alone():
        assert not timer.is_alive()
    timer.join()
