"""Data that change under a run, caches that lie, numbers that are none, odd surroundings."""

import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioning.network.saved_network import load_plain
from captioning.network.shipped import SHIPPED_MODEL
from tools.attacks.outcome import Outcome
from tools.attacks.said import Log, require_sentence
from tools.attacks.small_folder import SmallFolder
from tools.attacks.small_training import SmallTraining

STAGES = ("language", "decoder", "finetune", "refine", "reinforce")
TOO_FAST = ("--learning-rate", "1e9")

# Data that change -------------------------------------------------------------------------------


def remove(photo: Path) -> None:
    """Delete a photograph."""
    photo.unlink()


def replace(photo: Path) -> None:
    """Put another photograph in its place, with as many pixels and, as a BMP, as many bytes."""
    noise = np.random.default_rng(99).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo, "BMP" if photo.suffix == ".bmp" else None)


def truncate(photo: Path) -> None:
    """Cut a photograph in half."""
    os.truncate(photo, photo.stat().st_size // 2)


CHANGES: tuple[Callable[[Path], None], ...] = (remove, replace, truncate)


def changing_data(training: SmallTraining) -> Outcome:
    """Change the data set under a training, and between a stop and its resume."""
    outcome = Outcome("trainings: a photograph or the captions change under them or between two")
    name = ("--name", "changing", "--resume", "--save-every", "0")
    photos = sorted((training.folder / "photos").iterdir())
    for number, change in enumerate(CHANGES * 2):
        under, photo = number < len(CHANGES), photos[number]
        content, log = photo.read_bytes(), Log(training.folder / "log.txt")
        when = "under a training" if under else "between two"
        with outcome.attempt(f"{change.__name__} {when}"):
            process = training.start(*name)
            _wait(process, training.folder / "runs" / "changing", 1 + number)
            if not under:
                process.send_signal(signal.SIGKILL)
                process.wait()
            change(photo)
            status = (process if under else training.start(*name)).wait(300)
            photo.write_bytes(content)
            assert status == 1, f"it went on, status {status}: {log.said()[-300:]}"
            require_sentence(log.said(), "main.py: ")
    captions, log = training.folder / "captions.txt", Log(training.folder / "log.txt")
    content = captions.read_bytes()
    with outcome.attempt("other captions between two"):
        captions.write_bytes(content.replace(b"horse 0", b"horse 1"))
        assert training.start(*name).wait(300) == 1, "it went on with other captions"
        captions.write_bytes(content)
        require_sentence(log.said(), "main.py: ")
    with outcome.attempt("the end"):
        training.finish("--name", "changing", "--resume")
        training.require_same("changing", "uninterrupted")
    training.forget("changing")
    return outcome


def _wait(process: "subprocess.Popen[str]", run: Path, files: int) -> None:
    """Wait until a training has written something, and some time more."""
    while process.poll() is None and len(list(run.glob("[!.]*.resume.pth"))) < min(files, 3):
        time.sleep(0.05)
    assert process.poll() is None, "the training ended before anything was changed"


def changing_folder(folder: Path, model: Path = SHIPPED_MODEL) -> Outcome:
    """Change photographs while the folder command runs; --changed then makes it right."""
    outcome = Outcome("folder command: photographs change under it")
    place = folder / "changing"
    place.mkdir()
    small = SmallFolder(place, "maps", model)
    with outcome.attempt("eight changes"):
        process = small.start("changing")
        photos = sorted((place / "changing" / "photos").iterdir())
        for number, photo in enumerate(photos[::3]):
            time.sleep(0.3)
            CHANGES[number % 3](photo)
        status, log = process.wait(120), small.log("changing")
        assert status in (0, 2), f"status {status}: {log[-500:]}"
        assert "Traceback" not in log, log[-500:]
        small.require_lines("changing")
    with outcome.attempt("captioned anew"):
        small.flags.append("--changed")
        small.start("changing").wait(120)
        small.start("fresh", photos=place / "changing" / "photos").wait(120)
        same = small.captions("changing").items() >= small.captions("fresh").items()
        assert same, "captions of photographs that are no longer there"
    shutil.rmtree(place)
    return outcome


# Caches and numbers -----------------------------------------------------------------------------


def damaged_caches(training: SmallTraining) -> Outcome:
    """Damage every cache of features: it is made anew, and the training ends as ever."""
    outcome = Outcome("trainings: damaged caches of features")
    name = ("--name", "cached", "--stage", "decoder", "--restart")
    training.finish(*name)
    expected = (training.folder / "runs" / "cached" / "decoder.pth").read_bytes()
    caches = [p for p in (training.folder / "cache").glob("*.npy") if p.stem != "thumbnails"]
    assert len(caches) >= 2, "there is nothing to damage"
    for damage in (not_a_number, other_features, half, one_bit, exchanged):
        with outcome.attempt(damage.__name__):
            for path in caches:
                damage(path, caches)
            training.finish(*name)
            actual = (training.folder / "runs" / "cached" / "decoder.pth").read_bytes()
            assert actual == expected, "the training ended with other weights"
    training.forget("cached")
    return outcome


def not_a_number(path: Path, _: Sequence[Path]) -> None:
    """Let a feature be not a number."""
    rows = np.load(path, mmap_mode="r+")
    rows["features"][0].flat[3] = np.nan
    rows.flush()


def other_features(path: Path, _: Sequence[Path]) -> None:
    """Let all features be those of other weights."""
    rows = np.load(path, mmap_mode="r+")
    rows["features"] *= np.float16(0.5)
    rows.flush()


def half(path: Path, _: Sequence[Path]) -> None:
    """Cut the file."""
    os.truncate(path, path.stat().st_size // 2)


def one_bit(path: Path, _: Sequence[Path]) -> None:
    """Flip a bit in the last photograph's features."""
    with path.open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-9, os.SEEK_END)
        file.write(bytes([byte ^ 4]))


def exchanged(path: Path, caches: Sequence[Path]) -> None:
    """Put another cache in its place."""
    shutil.copyfile(caches[(caches.index(path) + 1) % len(caches)], path)


def not_numbers(training: SmallTraining) -> Outcome:
    """Let losses and weights become infinite in each stage: it stops, with finite files."""
    outcome = Outcome("trainings: losses, weights and features that are no numbers")
    runs = training.folder / "runs"
    for number, stage in enumerate(STAGES):
        for before in STAGES[:number]:
            (runs / "fast").mkdir(exist_ok=True)
            shutil.copy(runs / "uninterrupted" / f"{before}.pth", runs / "fast")
        for again in ("", " again"):
            with outcome.attempt(f"{stage}, learning rate 1e9{again}"):
                log = Log(training.folder / "log.txt")
                fast = ("--name", "fast", "--stage", stage, "--save-every", "0", *TOO_FAST)
                status = training.start(*fast).wait(300)
                assert status == 1, f"status {status}: {log.said()[-300:]}"
                require_sentence(log.said(), "main.py: ")
                for word in ("step", "--learning-rate"):
                    assert word in log.said(), log.said()[-300:]
                for path in (runs / "fast").glob("[!.]*.pth"):
                    require_finite(path)
        training.forget("fast")
    state = load_plain(training.folder / "resnet50.pth")
    for name in ("layer4.2.conv3.weight", "fc.weight", "bn1.running_var"):
        with outcome.attempt(f"not a number in the encoder's {name}"):
            bad = {**state, name: state[name].clone()}
            bad[name].view(-1)[5] = math.nan
            torch.save(bad, training.folder / "bad.pth")
            log = Log(training.folder / "log.txt")
            status = training.start("--encoder-weights", "bad.pth", "--name", "bad").wait(300)
            assert status == 1, f"status {status}: {log.said()[-300:]}"
            require_sentence(log.said(), "main.py: ")
            assert not (runs / "bad" / "decoder.pth").exists(), "it was trained with"
    return outcome


def require_finite(path: Path) -> None:
    """Check that every number in a file of a run is one."""

    def look(value: object, name: str) -> None:
        if isinstance(value, torch.Tensor):
            assert bool(value.isfinite().all()), f"{path.name}: {name} is not finite"
        elif isinstance(value, dict):
            for key, part in value.items():
                look(part, f"{name}.{key}")
        elif isinstance(value, list | tuple):
            for part in value:
                look(part, name)

    look(load_plain(path), "")


# Surroundings -----------------------------------------------------------------------------------


def surroundings(training: SmallTraining, library: Path) -> Outcome:
    """No home, no temporary folder, a clock that goes back, and two runs of one name."""
    outcome = Outcome("trainings: no home, no TMPDIR, a clock that goes back, two of one name")
    nowhere = {"HOME": "/nowhere", "TMPDIR": "/nowhere", "XDG_CACHE_HOME": "/nowhere"}
    name = ("--name", "around", "--stage", "decoder", "--restart")
    for what, environment in {
        "neither home nor TMPDIR": nowhere,
        "a clock that goes back": {"LD_PRELOAD": str(library), "CLOCK_BACK": "1"},
    }.items():
        with outcome.attempt(what):
            log = Log(training.folder / "log.txt")
            status = training.start(*name, **environment).wait(300)
            assert status == 0, f"status {status}: {log.said()[-300:]}"
            assert "Traceback" not in log.said(), log.said()[-300:]
    with outcome.attempt("two of one name"):
        require_one_at_a_time(training)
    training.forget("around")
    return outcome


def require_one_at_a_time(training: SmallTraining) -> None:
    """Check that of two trainings of one name the second refuses, unless the first was killed."""
    name = ("--name", "twice", "--stage", "decoder", "--epochs", "1000", "--workers", "1")
    first = training.start(*name, "--save-every", "0")
    try:
        _wait(first, training.folder / "runs" / "twice", 1)
        log = Log(training.folder / "log.txt")
        assert training.start(*name).wait(120) == 1, "the second one was not refused"
        assert "another run of this name" in log.said(), log.said()[-300:]
        assert first.poll() is None, "the first one ended"
    finally:
        first.kill()
        first.wait()
    training.finish("--name", "twice", "--stage", "decoder", "--epochs", "1", "--restart")
    training.forget("twice")
