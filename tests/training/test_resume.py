"""main.py killed at random moments, many times, ends with the weights of an uninterrupted run.

The processes are real, and so is SIGKILL: they cannot clean up.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import load_plain
from tests.training.small import draw_photographs

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("RESUME_KILLS", "8"))
MODELS = ("language", "decoder", "finetune", "refine", "reinforce", "blend", "best")
SETTINGS = {
    "image-size": 64,
    "train-size": 48,
    "embedding-dim": 8,
    "attention-dim": 6,
    "decoder-dim": 7,
    "min-count": 2,
    "batch-size": 2,
    "epochs": 2,
    "beam": 2,
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, resnet):
    """A data set of ten photographs; most of its training captions have words of their own."""
    folder = tmp_path_factory.mktemp("resume")
    torch.save(resnet.state_dict(), folder / "resnet50.pth")
    (folder / "photos").mkdir()
    rows = ["image,caption"]
    for name in draw_photographs(folder / "photos", train=7, dev=3):
        rows += [f"{name},A man rides horse {k} , {name[0]} fast ." for k in range(2)]
    (folder / "captions.txt").write_text("\n".join(rows) + "\n")
    (folder / "text.txt").write_text("".join(f"A dog number {k} runs .\n" for k in range(7)))
    yield folder
    shutil.rmtree(folder)  # hundreds of megabytes


def command(*arguments):
    settings = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
    data = ["--captions", "captions.txt", "--images", "photos", "--text", "text.txt"]
    weights = ["--encoder-weights", "resnet50.pth"]
    return [sys.executable, str(ROOT / "main.py"), *data, *weights, *settings, *arguments]


def start(folder, *arguments):
    log = open(folder / "log.txt", "a")  # noqa: SIM115
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def finish(folder, *arguments):
    assert start(folder, *arguments).wait(600) == 0, (folder / "log.txt").read_text()


def writing(folder, name):
    """Whether a file of the run is being written at this moment."""
    return any((folder / "runs" / name).glob(".*.pth.*"))


def kill_at_random(process, folder, name, generator):
    """Kill a run at a random moment, half of the time in the middle of a write.

    None if it ended before, else whether it was writing.
    """
    in_a_write, seconds = generator.random() < 0.5, generator.uniform(0.5, 9.0)
    until = time.monotonic() + seconds
    while process.poll() is None:
        late = time.monotonic() > until
        if late and (not in_a_write or writing(folder, name)):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return writing(folder, name)
        time.sleep(0.0005)
    return None


def assert_all_files_are_whole(folder, name):
    """Every file with a final name can be read; one that was being written has another name."""
    for path in (folder / "runs" / name).glob("[!.]*"):
        load_plain(path)
    for path in (folder / "results" / "metrics").glob("[!.]*"):
        assert [json.loads(line) for line in path.read_text().splitlines()]
    for path in (folder / "results" / "plots").glob("[!.]*"):
        with Image.open(path) as image:
            image.load()
    for path in (folder / "cache").glob("[!.]*"):
        np.load(path, mmap_mode="r")


def weights(folder, name, model):
    return Checkpoint.load(folder / "runs" / name / f"{model}.pth").weights


def records(folder, name):
    lines = (folder / "results" / "metrics" / f"{name}.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


def test_a_run_killed_many_times_ends_as_an_uninterrupted_one(folder):
    finish(folder, "--name", "uninterrupted", "--cache", "other-cache")
    generator, kills, writes = random.Random(11), 0, 0
    while kills < KILLS:
        process = start(folder, "--name", "killed", "--resume", "--save-every", "0")
        if (written := kill_at_random(process, folder, "killed", generator)) is None:
            assert process.returncode == 0, (folder / "log.txt").read_text()
            break
        kills, writes = kills + 1, writes + written
        assert_all_files_are_whole(folder, "killed")
    finish(folder, "--name", "killed", "--resume")
    print(f"killed {kills} times, {writes} of them in the middle of a write")
    assert kills >= min(KILLS, 4)
    for model in MODELS:
        expected, actual = weights(folder, "uninterrupted", model), weights(folder, "killed", model)
        assert expected.keys() == actual.keys()
        assert [name for name in expected if not np.array_equal(expected[name], actual[name])] == []
    assert records(folder, "killed") == records(folder, "uninterrupted")
    left = [path for part in ("runs", "results") for path in (folder / part).rglob(".*")]
    assert left == []


def test_ctrl_c_saves_and_says_how_to_resume(folder):
    process = subprocess.Popen(
        command("--name", "stopped", "--stage", "decoder", "--epochs", "1000"),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        # Or it would ignore Ctrl-C where the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    resume = folder / "runs" / "stopped" / "decoder.resume.pth"
    while not resume.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes" in message
    assert "Traceback" not in message
    assert load_plain(resume)["records"] is not None
