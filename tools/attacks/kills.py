"""Processes killed at random moments: nothing is lost, and the next run ends as one left alone.

The processes are real, and so is SIGKILL: they cannot clean up.
"""

import json
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from captioning.network.checkpoint import Checkpoint
from tools.attacks.killing import Killer, start
from tools.attacks.outcome import Outcome
from tools.attacks.small_folder import MODES, SmallFolder
from tools.attacks.small_training import SmallTraining

KILLS = 100  # of trainings, and as many of the folder command
OTHERS = 12  # of each by other signals; of scoring, and of installing
ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def attacks(folder: Path, kills: int = KILLS, others: int = OTHERS) -> Iterator[Outcome]:
    """Kill trainings, the folder command, scorings and installations."""
    training = SmallTraining(_made(folder / "training"))
    training.finish("--name", "uninterrupted", "--cache", "other-cache")
    yield trainings("trainings killed (SIGKILL)", training, Killer(9.0), kills)
    killer = Killer(9.0, ENDINGS)
    yield trainings("trainings ended by SIGTERM, SIGHUP or SIGINT", training, killer, others)
    yield installations(training, others)
    yield scorings(training, others)
    shutil.rmtree(folder / "training")
    yield folders("folder commands killed (SIGKILL)", folder, Killer(4.0), kills)
    killer = Killer(4.0, ENDINGS)
    yield folders("folder commands ended by SIGTERM, SIGHUP or SIGINT", folder, killer, others)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


# Training ---------------------------------------------------------------------------------------


def trainings(what: str, training: SmallTraining, killer: Killer, most: int) -> Outcome:
    """Kill trainings, as many as are needed, and compare each with the uninterrupted one."""
    outcome = Outcome(what)
    while killer.kills < most:
        before = killer.kills
        with outcome.attempt("a training killed again and again"):
            kill_training(training, killer, most - killer.kills)
        outcome.note("trainings compared")
        if outcome.harm or killer.kills == before:
            break
    outcome.tried, outcome.slowest = killer.kills, None
    outcome.note("in the middle of a write", killer.writes)
    return outcome


def kill_training(training: SmallTraining, killer: Killer, most: int) -> None:
    """Kill a training of all stages again and again, and let it end.

    Raises AssertionError where a file is not whole after a kill, where the run does not go on, or
    where it ends with other weights or records than the training "uninterrupted".
    """
    until = killer.kills + most
    while killer.kills < until:
        process = training.start("--name", "killed", "--resume", "--save-every", "0")
        if not killer.kill(process, training.folder / "runs" / "killed"):
            assert process.returncode == 0, training.log()[-600:]
            break
        training.require_whole("killed")
    training.finish("--name", "killed", "--resume")
    training.require_same("killed", "uninterrupted")
    training.forget("killed")


def installations(training: SmallTraining, kills: int) -> Outcome:
    """Kill main.py --install: the model in the place of the one that ships is old or new."""
    outcome = Outcome("installations of a model killed (SIGKILL)")
    model = _made(training.folder / "model") / "model.pth"
    blend = ("--name", "uninterrupted", "--stage", "blend", "--cache", "other-cache", "--install")
    training.finish(*blend)
    new = model.read_bytes()
    shutil.copy(training.folder / "runs" / "uninterrupted" / "decoder.pth", model)
    old = model.read_bytes()
    assert old != new
    killer = Killer(6.0)
    while killer.kills < kills:
        with outcome.attempt(f"kill {killer.kills}"):
            process = training.start(*blend)
            killer.kill(process, model.parent)
            assert model.read_bytes() in (old, new), "the model is neither the old nor the new one"
            Checkpoint.load(model)
            if model.read_bytes() == new:
                outcome.note("new model in place")
                model.write_bytes(old)
    training.finish(*blend)
    with outcome.attempt("the end"):
        assert model.read_bytes() == new, "the model was not installed"
        left = [path.name for path in model.parent.glob(".*")]
        assert not left, f"left behind: {left}"
    outcome.tried, outcome.slowest = killer.kills, None
    outcome.note("in the middle of a write", killer.writes)
    return outcome


def scorings(training: SmallTraining, kills: int) -> Outcome:
    """Kill bleu_scorer.py --publish: the model stays, and every file that is there is whole."""
    outcome = Outcome("scorings killed (SIGKILL)")
    folder = _made(training.folder / "scored")
    model = folder / "model.pth"
    shutil.copy(training.folder / "runs" / "uninterrupted" / "best.pth", model)
    before = model.read_bytes()
    flags = {"--model": model, "--references": "captions.txt", "--images": "photos"}
    words = [str(word) for pair in (flags | {"--split": "dev"}).items() for word in pair]
    scorer = str(Path(__file__).resolve().parents[2] / "bleu_scorer.py")
    command = [sys.executable, scorer, *words, "--name", "scored", "--publish"]
    killer = Killer(14.0)
    places = (folder, *(training.folder / "results" / part for part in ("metrics", "plots")))
    while killer.kills < kills:
        with outcome.attempt(f"kill {killer.kills}"):
            process = start(command, training.folder)
            killer.kill(process, *places)
            assert model.read_bytes() == before, "the model is another one"
            for path in (*places[1].glob("[!.]*.json"), *folder.glob("[!.]*.json")):
                json.loads(path.read_text())
        if process.returncode == 0:
            outcome.note("ended before")
    with outcome.attempt("the end"):
        assert start(command, training.folder).wait(300) == 0, training.log()[-600:]
        published = json.loads((folder / "results.json").read_text())
        assert published == json.loads((places[1] / "scored.json").read_text())
        left = [str(path) for place in places for path in place.glob(".*")]
        assert not left, f"left behind: {left}"
    outcome.tried, outcome.slowest = killer.kills, None
    outcome.note("in the middle of a write", killer.writes)
    return outcome


# The folder command -----------------------------------------------------------------------------


def folders(what: str, folder: Path, killer: Killer, most: int) -> Outcome:
    """Kill the folder command in each of its modes in turn, and compare with runs left alone."""
    outcome = Outcome(what)
    with_exiftool = shutil.which("exiftool") is not None
    modes = [mode for mode in MODES if with_exiftool or mode != "embed"]
    share = -(-most // len(modes))
    for number, mode in enumerate(modes):
        until = min(most, (number + 1) * share)
        small = SmallFolder(_made(folder / mode), mode)
        expected = small.finish("alone")
        while killer.kills < until and not outcome.harm:
            with outcome.attempt(f"{mode} killed again and again"):
                kill_folder(small, expected, killer, until - killer.kills)
            outcome.note("runs compared")
        shutil.rmtree(small.folder)
    outcome.tried, outcome.slowest = killer.kills, None
    outcome.note("in the middle of a write", killer.writes)
    return outcome


def kill_folder(small: SmallFolder, expected: Mapping[str, str], killer: Killer, most: int) -> None:
    """Kill one run of the folder command again and again, and let it end.

    Raises AssertionError where a file is not whole after a kill, or where the run ends with other
    files than those ``expected``: the digests that a run left alone has, by their names.
    """
    until = killer.kills + most
    while killer.kills < until:
        process = small.start("killed")
        if not killer.kill(process, *small.places("killed")):
            assert process.returncode == 0, small.log()[-600:]
            break
        small.require_whole("killed")
    actual = small.finish("killed")
    different = [name for name in {**expected, **actual} if expected.get(name) != actual.get(name)]
    assert not different, f"other files than those of a run left alone: {sorted(different)}"
    assert not small.orphans(), "a process was left running"
    shutil.rmtree(small.folder / "killed")
