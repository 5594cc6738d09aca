"""main.py killed at random moments, many times, ends with the weights of an uninterrupted run.

The processes are real, and so is SIGKILL: they cannot clean up.
"""

import os
import shutil
import signal
import subprocess
import time

import pytest

from captioning.network.saved_network import load_plain
from tools.attacks.killing import Killer
from tools.attacks.kills import kill_training
from tools.attacks.small_training import ROOT, SmallTraining

KILLS = int(os.environ.get("RESUME_KILLS", "8"))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    training = SmallTraining(tmp_path_factory.mktemp("resume"))
    training.finish("--name", "uninterrupted", "--cache", "other-cache")
    yield training
    shutil.rmtree(training.folder)  # hundreds of megabytes


def test_a_run_killed_many_times_ends_as_an_uninterrupted_one(training):
    killer = Killer(longest=9.0)
    while killer.kills < KILLS:
        before = killer.kills
        kill_training(training, killer, KILLS - before)
        assert killer.kills - before >= min(KILLS - before, 4)
    print(f"killed {killer.kills} times, {killer.writes} of them in the middle of a write")


def test_ctrl_c_saves_and_says_how_to_resume(training):
    folder = training.folder
    process = subprocess.Popen(
        training.command("--name", "stopped", "--stage", "decoder", "--epochs", "1000"),
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
