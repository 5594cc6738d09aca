"""Training with torchrun: several processes do what one does, and end with one sentence.

The processes are real, and so are the signals. Most of it is run by ``make test-cluster``.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from captioning.data.splits import hashed_split
from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import load_plain
from captioning.training.recipe import STAGES
from tools.attacks import small_training
from tools.attacks.small_training import draw_photographs

ROOT = Path(__file__).resolve().parents[2]
SPIED = Path(__file__).with_name("spied.py")
SETTINGS = small_training.SETTINGS | {"batch-size": 4, "epochs": 1}
# What is drawn for a photograph is the same in one process; what dropout draws is not.
ALIKE = ("--dropout", "0")
CLOSE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory, resnet):
    """Thirteen photographs to train on, in batches of four the last of which has one."""
    folder = tmp_path_factory.mktemp("processes")
    torch.save(quiet(resnet.state_dict()), folder / "resnet50.pth")
    (folder / "photos").mkdir()
    rows = ["image,caption"]
    for name in draw_photographs(folder / "photos", train=13, dev=5):
        words = " fast" * (1 + int(name[0]) % 4)  # captions of several lengths
        rows += [f"{name},A man rides horse {k} , {name[0]}{words} ." for k in range(2)]
    (folder / "captions.txt").write_text("\n".join(rows) + "\n")
    lines = (f"A dog number {k} runs{' fast' * (k % 5)} .\n" for k in range(13))
    (folder / "text.txt").write_text("".join(lines))
    yield folder
    shutil.rmtree(folder)  # hundreds of megabytes


def quiet(weights):
    """The encoder with features of about the size that a trained one gives.

    Larger ones saturate the attention. Where a probability is near the least one whose logarithm is
    taken, rounding alone would decide whether there is a gradient.
    """
    ends = [name for name in weights if ".bn3." in name or "downsample.1." in name]
    last = [n for n in ends if n.startswith("layer4.") and n.endswith(("weight", "bias"))]
    less = {name: 0.1 * weights[name] for name in last}
    return weights | less | {"fc.weight": 0.3 * weights["fc.weight"]}


def start(folder, count, *arguments, program=ROOT / "main.py", **environment):
    """Start main.py in so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    settings = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
    data = ["--captions", "captions.txt"]
    data += ["--images", "photos"] if "--images" not in arguments else []
    weights = ["--encoder-weights", "resnet50.pth"] if "--init" not in arguments else []
    if "--init" in arguments:
        settings = settings[settings.index("--min-count") :]
    launcher = torchrun if count > 1 else []
    return subprocess.Popen(
        [sys.executable, *launcher, str(program), *data, *weights, *settings, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
        # Or it would ignore Ctrl-C where the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )


def sentences(said):
    """What main.py says, in all of its processes; torchrun has more to say."""
    assert not re.search(r'File ".*(captioning/|main\.py)', said), said
    return re.findall(r"^main\.py: (.*)$", said, flags=re.M)


def finish(process, timeout=300):
    """The exit status, what was printed, and the sentences of main.py."""
    out, said = process.communicate(timeout=timeout)
    return process.returncode, out, sentences(said)


def train(folder, count, name, *arguments, **options):
    """Run main.py to its end; returns what it prints."""
    status, out, told = finish(start(folder, count, "--name", name, *arguments, **options))
    assert (status, told) == (0, [])
    return out


def steps(folder, name, rank=0):
    """The loss and the gradient's norm of each step (S, 2)."""
    lines = (folder / f"steps.{name}.{rank}.jsonl").read_text().splitlines()
    return np.array([json.loads(line) for line in lines])


def model(folder, name, stage="best"):
    return Checkpoint.load(folder / "runs" / name / f"{stage}.pth")


def records(folder, name):
    lines = (folder / "results" / "metrics" / f"{name}.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": None} for line in lines]


def differing(first, second):
    """The names of the weights that differ."""
    assert first.keys() == second.keys()
    return [name for name in first if not np.array_equal(first[name], second[name])]


def copy_run(folder, name, new):
    shutil.copytree(folder / "runs" / name, folder / "runs" / new)


spied = {"program": SPIED}
with_text = ("--text", "text.txt")


@pytest.fixture(scope="module")
def alone(folder):
    """A run of all stages in one process, which the others are compared with."""
    train(folder, 1, "alone", *ALIKE, *with_text, **spied)
    return folder


# The same losses ---------------------------------------------------------------------------------


def assert_close_runs(folder, name, other, ranks, close=CLOSE):
    expected = steps(folder, name)[:50]
    for rank in range(ranks):  # all have the loss of the whole
        found = steps(folder, other, rank)[:50]
        np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=close)
        np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-2)


def test_two_processes_train_all_stages_as_one_does(alone):
    """The reward's samples and the photographs' views are drawn, but the same ones."""
    printed = train(alone, 2, "pair", *ALIKE, *with_text, "--cache", "pair-cache", **spied)
    # A stage starts from what the one before has saved, in float16: there a bit of difference is a
    # thousandth. From the same weights each stage is as close as it must be, see below.
    assert_close_runs(alone, "alone", "pair", 2, close=1e-3)
    np.testing.assert_allclose(
        steps(alone, "pair")[:7, 0], steps(alone, "alone")[:7, 0], rtol=CLOSE
    )
    assert len(steps(alone, "pair")) == 3 + 4 * 4
    for stage in STAGES:
        first, second = (model(alone, name, stage).weights for name in ("alone", "pair"))
        for name, weight in first.items():
            np.testing.assert_allclose(second[name], weight, atol=2e-3, err_msg=name)
    # What the first process writes and prints is as if it were the only one.
    expected = [line.partition(":")[0] for line in printed.splitlines()]
    assert [line for line in expected if " epoch " in line] == [f"{s} epoch 1" for s in STAGES]
    assert len(expected) == len(set(expected))
    assert records(alone, "pair")[0].keys() == records(alone, "alone")[0].keys()
    assert model(alone, "pair").stages[0]["command"].startswith("torchrun --nproc-per-node 2 main")
    assert [path.name for path in (alone / "runs" / "pair").glob(".*")] == []


def test_features_are_computed_once_and_are_those_of_one_process(alone):
    """After the test above: each of two processes has computed half of them."""
    if not (alone / "pair-cache").exists():
        train(alone, 2, "halves", "--stage", "decoder", "--cache", "pair-cache", **spied)
    caches = [
        {path.name for path in (alone / c).glob("[!t]*.npy")} for c in ("cache", "pair-cache")
    ]
    # Those of the first encoder; of one that has learned, the last bits and so the names differ.
    common = caches[0] & caches[1]
    assert len(common) >= 2
    for name in common:
        first, second = (np.load(alone / each / name) for each in ("cache", "pair-cache"))
        assert np.array_equal(first, second)
        assert second["done"].all()


def test_figures_are_those_of_one_process_to_the_last_bit(alone):
    """The blend is scored, and the novelty fitted, without a step of training before it."""
    for count in (1, 2):
        copy_run(alone, "alone", f"blend{count}")
        train(alone, count, f"blend{count}", "--stage", "blend", *ALIKE, **spied)
    first, second = (model(alone, f"blend{count}", "blend") for count in (1, 2))
    assert differing(first.weights, second.weights) == []
    assert dict(first.figures) == dict(second.figures)
    first, second = (model(alone, f"blend{count}").novelty for count in (1, 2))
    for part in ("mean", "components", "variances", "quantiles"):
        assert np.array_equal(getattr(first, part), getattr(second, part))


# The end -----------------------------------------------------------------------------------------


def workers(process):
    """The processes that torchrun has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            words = path.read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        ranks = [int(word[5:]) for word in words if word.startswith(b"RANK=")]
        if parent == process.pid and ranks:
            found[ranks[0]] = int(path.parent.name)
    return found


LONG = ("--epochs", "20", "--patience", "99")


def long(folder, count, name, *arguments, stage="decoder"):
    """A training that goes on for a while, once it has saved its state."""
    process = start(folder, count, "--name", name, "--stage", stage, *LONG, *arguments)
    wait_for(process, folder / "runs" / name / f"{stage}.resume.pth")
    return process


def wait_for(process, path):
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


STOPPED = ["stopped; the same command resumes the run"]


def interrupt(process, how):
    if how == "group":
        os.killpg(process.pid, signal.SIGINT)
        for pid in workers(process).values():  # of older versions, whose workers are in that group
            os.kill(pid, signal.SIGINT)
    elif how == "worker":
        os.kill(workers(process)[1], signal.SIGINT)
    else:
        process.send_signal({"launcher": signal.SIGINT, "terminate": signal.SIGTERM}[how])


def assert_resumes(folder, count, name):
    """A stopped run goes on, bit for bit, like one that was never stopped; dropout too."""
    before = load_plain(folder / "runs" / name / "decoder.resume.pth")
    assert len(before["records"]) < int(LONG[1])
    whole = f"whole{count}"
    for each in (name, whole):
        if each == name or not (folder / "runs" / whole).exists():
            train(folder, count, each, "--stage", "decoder", *LONG)
    first, second = (model(folder, each, "decoder").weights for each in (name, whole))
    assert differing(first, second) == []
    assert records(folder, name) == records(folder, whole)


def test_ctrl_c_stops_all_processes_with_one_sentence(folder):
    process = long(folder, 2, "stopped")
    interrupt(process, "launcher")
    status, _, told = finish(process)
    assert status != 0
    assert told == STOPPED
    state = load_plain(folder / "runs" / "stopped" / "decoder.resume.pth")
    assert state["settings"]["processes"] == 2


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("how", "count"),
    [("launcher", 2), ("group", 2), ("worker", 2), ("terminate", 2), ("launcher", 3)],
)
def test_a_signal_stops_all_after_the_same_step_and_the_run_resumes(folder, how, count):
    name = f"{how}{count}"
    process = long(folder, count, name)
    interrupt(process, how)
    status, _, told = finish(process)
    assert status != 0
    assert told == STOPPED
    assert_resumes(folder, count, name)


@pytest.mark.cluster
def test_a_signal_stops_a_training_whose_photographs_others_read(folder):
    (folder / "runs" / "reading").mkdir(parents=True)
    train(folder, 1, "reading", "--stage", "decoder")
    process = long(folder, 2, "reading", "--workers", "1", stage="finetune")
    interrupt(process, "group")
    assert finish(process)[2] == STOPPED


LOST = [
    "a process of the training has ended, most likely for want of memory; the same command "
    "resumes the run from the state that was saved last"
]


@pytest.mark.cluster
@pytest.mark.parametrize(("count", "rank"), [(2, 0), (2, 1), (3, 1)])
def test_the_death_of_a_process_ends_all_with_one_sentence(folder, count, rank):
    name = f"dead{count}{rank}"
    process = long(folder, count, name, "--save-every", "0")
    os.kill(workers(process)[rank], signal.SIGKILL)
    status, _, told = finish(process, timeout=60)
    assert status != 0
    assert told == LOST
    load_plain(folder / "runs" / name / "decoder.resume.pth")
    assert_resumes(folder, count, name)


# Mistakes ----------------------------------------------------------------------------------------


def fails(folder, count, *arguments):
    """The sentences of a run that cannot be."""
    status, _, told = finish(start(folder, count, *arguments), timeout=120)
    assert status != 0
    return told


def test_more_processes_than_photographs_of_a_step_are_refused(folder):
    (told,) = fails(folder, 2, "--name", "many", "--batch-size", "1")
    assert told == (
        "stage decoder: 2 processes cannot share the 1 photographs of a step; give a higher "
        "--batch-size, or a lower --nproc-per-node"
    )


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--leave-out", "none.txt"], "none.txt: there is no such list of names"),
        (["--crop", "0"], "crop must be above 0"),
        (["--device", "cuda:7"], "device cuda:7 cannot be used here"),
        (["--stage", "finetune", "--name", "new"], "runs/new/decoder.pth: there is no such model"),
        (["--learning-rate", "1e30", "--stage", "decoder"], "the loss became"),
        (["--cache", "captions.txt", "--stage", "decoder"], "captions.txt"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_told_once(folder, arguments, message):
    (told,) = fails(folder, 2, "--name", "wrong", "--restart", *arguments)
    assert message in told


@pytest.mark.cluster
def test_a_photograph_that_one_process_cannot_read_ends_all(folder, tmp_path):
    """It was there when the training began."""
    copy = tmp_path / "copy"
    shutil.copytree(folder / "photos", copy)
    train(folder, 1, "damage", "--stage", "decoder", "--images", str(copy))
    arguments = ("--stage", "finetune", "--images", str(copy), "--name", "damage")
    process = start(folder, 2, *arguments, "--epochs", "1000")
    wait_for(process, folder / "runs" / "damage" / "finetune.resume.pth")
    for path in copy.iterdir():
        if hashed_split(path.name) == "train":
            path.write_bytes(b"")
    status, _, (told,) = finish(process)
    assert status == 1
    assert "copy/" in told


@pytest.mark.cluster
def test_wrong_flags_print_the_usage_once(folder):
    process = start(folder, 2, "--epochs", "many")
    _, said = process.communicate(timeout=60)
    assert said.count("usage: main.py") == 1
    assert said.count("invalid int value: 'many'") == 1


@pytest.mark.cluster
def test_another_number_of_processes_does_not_resume(folder):
    train(folder, 2, "other", "--stage", "decoder")
    (told,) = fails(folder, 3, "--name", "other", "--stage", "decoder", "--epochs", "2")
    assert told == (
        "runs/other/decoder.resume.pth: this training was started with --nproc-per-node 2 and "
        "does not resume with 3; go on with torchrun --nproc-per-node 2 main.py, or start over "
        "with --restart"
    )
    (told,) = fails(folder, 1, "--name", "other", "--stage", "decoder", "--epochs", "2")
    assert "go on with torchrun --nproc-per-node 2 main.py" in told
    train(folder, 3, "other", "--stage", "decoder", "--epochs", "2", "--restart")


# Fifty steps -------------------------------------------------------------------------------------


@pytest.mark.cluster
@pytest.mark.parametrize("stage", [*STAGES, "adapt"])
@pytest.mark.parametrize("count", [2, 3])
def test_fifty_steps_of_each_stage_are_those_of_one_process(alone, stage, count):
    epochs = "17" if stage == "language" else "13"
    which = ["--init", "runs/alone/best.pth"] if stage == "adapt" else ["--stage", stage, *ALIKE]
    which += with_text if stage == "language" else ()
    options = (*which, "--epochs", epochs, "--patience", "99")
    for each in {1, count}:
        name = f"fifty-{stage}-{each}"
        if (alone / "runs" / name).exists():
            continue
        copy_run(alone, "alone", name)
        for left in (alone / "runs" / name).glob("*.resume.pth"):
            left.unlink()
        train(alone, each, name, *options, **spied)
    assert len(steps(alone, f"fifty-{stage}-1")) >= 50
    assert_close_runs(alone, f"fifty-{stage}-1", f"fifty-{stage}-{count}", count)
    first, second = (model(alone, f"fifty-{stage}-{n}", stage).weights for n in (1, count))
    for name, weight in first.items():
        np.testing.assert_allclose(second[name], weight, atol=5e-3, err_msg=name)


@pytest.mark.cluster
def test_the_loss_of_a_text_is_that_of_one_process_to_the_last_bit(folder):
    """With a rate at which nothing is learned."""
    lines = (f"A dog number {k} runs{' fast' * (k % 5)} .\n" for k in range(430))
    (folder / "long.txt").write_text("".join(lines))
    losses = []
    for count in (1, 2):
        options = ("--stage", "language", "--text", "long.txt", "--learning-rate", "1e-30")
        train(folder, count, f"text{count}", *options, *ALIKE)
        losses.append(records(folder, f"text{count}")[0]["dev"]["loss"])
    assert losses[0] == losses[1]
