"""Disks that fail, are full or read-only: one sentence, and nothing is lost."""

import errno
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from captioning.network.shipped import SHIPPED_MODEL
from tools.attacks.changes import (
    changing_data,
    changing_folder,
    damaged_caches,
    not_numbers,
    surroundings,
)
from tools.attacks.failing_disk import Fault, compiled, faults
from tools.attacks.outcome import Outcome
from tools.attacks.said import Log, require_sentence
from tools.attacks.small_folder import MODES, SmallFolder
from tools.attacks.small_training import SmallTraining

TRAININGS = 30  # that a disk stops
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)
MOST = 20_000  # operations of a training, more or less


def attacks(folder: Path, trainings: int = TRAININGS) -> Iterator[Outcome]:
    """All of them, on trainings and on the folder command."""
    library = compiled(folder)
    for mode in MODES:
        if mode != "embed" or shutil.which("exiftool"):
            yield failing_folders(folder, mode, library)
    yield read_only_folders(folder, library)
    yield changing_folder(folder)
    (folder / "training").mkdir()
    training = SmallTraining(folder / "training")
    training.finish("--name", "uninterrupted", "--cache", "other-cache")
    yield failing_trainings(training, library, trainings)
    yield read_only_runs(training, library)
    yield damaged_caches(training)
    yield changing_data(training)
    yield not_numbers(training)
    yield surroundings(training, library)


# Disks ------------------------------------------------------------------------------------------


def failing_folders(
    folder: Path, mode: str, library: Path, model: Path = SHIPPED_MODEL, count: int = 6
) -> Outcome:
    """Let the n-th operation of the folder command fail, n = 1, 2, 3 ... until none is left."""
    outcome = Outcome(f"folder command, {mode}: the n-th operation on its files fails")
    place = folder / f"failing {mode}"
    place.mkdir()
    small = SmallFolder(place, mode, model, count)
    expected = small.finish("alone", is_ordered=False)
    for fault in faults():
        log = Log(place / "failing" / "log.txt")
        with outcome.attempt(str(fault)):
            environment = fault.environment(library, place)
            status = small.start("failing", None, **environment).wait(120)
            assert status in (0, 2), f"status {status}: {log.said()[-500:]}"
            if status:
                require_sentence(log.said())
                outcome.note("stopped or said")
            small.require_whole("failing")
        if status == 0 and fault.at > 2 * count:
            break
    with outcome.attempt("the end"):
        actual = small.finish("failing", is_ordered=False)
        different = [
            name for name in {**expected, **actual} if expected.get(name) != actual.get(name)
        ]
        assert not different, f"other files than those of a run left alone: {sorted(different)}"
    shutil.rmtree(place)
    return outcome


def failing_trainings(training: SmallTraining, library: Path, most: int) -> Outcome:
    """Let an operation of a training fail, again and again, until it comes to its end."""
    outcome = Outcome("trainings: an operation on their files fails")
    generator = random.Random(5)
    name = ("--name", "failing", "--resume", "--save-every", "0")
    for number in range(most):
        at = round(math.exp(generator.uniform(0, math.log(MOST))))
        kind = "sync" if number % 5 == 4 else ""
        fault = Fault(ERRORS[number % 4], at if not kind else number + 1, number % 2 == 1, kind)
        log = Log(training.folder / "log.txt")
        with outcome.attempt(str(fault)):
            environment = fault.environment(library, training.folder)
            status = training.start(*name, **environment).wait(300)
            assert status in (0, 1), f"status {status}: {log.said()[-500:]}"
            training.require_whole("failing")
            if status:
                require_sentence(log.said(), "main.py: ")
                outcome.note("stopped with a sentence")
            else:
                end_failing(training)
                outcome.note("trainings compared")
    with outcome.attempt("the end"):
        end_failing(training)
    return outcome


def end_failing(training: SmallTraining) -> None:
    """Check that a training which failed before ends as an uninterrupted one."""
    training.finish("--name", "failing", "--resume")
    training.require_same("failing", "uninterrupted")
    training.forget("failing")


def read_only_runs(training: SmallTraining, library: Path) -> Outcome:
    """Trainings that may not write into one of their folders: they say so before the work."""
    outcome = Outcome("trainings: a read-only folder")
    for part in ("runs", "results", "results/plots", "cache"):
        with outcome.attempt(part):
            log, fault = Log(training.folder / "log.txt"), Fault(errno.EROFS, 1)
            environment = fault.environment(library, training.folder / part)
            status = training.start("--name", "locked", **environment).wait(120)
            assert status == 1, f"status {status}: {log.said()[-300:]}"
            require_sentence(log.said(), "main.py: ")
            assert "Read-only file system" in log.said(), log.said()[-300:]
            assert "epoch" not in log.said(), "it was noticed after work"
    with outcome.attempt("photographs, which are only read"):
        fault = Fault(errno.EROFS, 1)
        environment = fault.environment(library, training.folder / "photos")
        name = ("--name", "locked", "--stage", "decoder")
        status = training.start(*name, **environment).wait(300)
        assert status == 0, f"status {status}: {training.log()[-300:]}"
    training.forget("locked")
    return outcome


def read_only_folders(folder: Path, library: Path, model: Path = SHIPPED_MODEL) -> Outcome:
    """The folder command where it may not write: to its output, or beside the photographs."""
    outcome = Outcome("folder command: a read-only folder")
    for mode in ("maps", "csv", "sidecar"):
        place = folder / f"read-only {mode}"
        place.mkdir()
        small = SmallFolder(place, mode, model, count=3)
        for part, expected in (("out", 2), ("photos", 2 if mode == "sidecar" else 0)):
            with outcome.attempt(f"{mode}, {part}"):
                name = f"with {part}"
                environment = Fault(errno.EROFS, 1).environment(library, place / name / part)
                status = small.start(name, None, **environment).wait(120)
                assert status == expected, f"status {status}: {small.log(name)[-300:]}"
                if status:
                    require_sentence(small.log(name))
                    assert "Read-only file system" in small.log(name), small.log(name)[-300:]
                if part == "photos":
                    small.require_all_once(name)
        shutil.rmtree(place)
    return outcome
