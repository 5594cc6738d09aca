"""Bad and odd photographs: each gives a caption or one sentence, soon, and in a gigabyte.

Every photograph is read in a process of its own that is measured, a folder of all but the bombs is
captioned by the command line, and what is read is compared with what ImageMagick shows.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from captioning.data.images import MEMORY_LIMIT, ImageError, printable, read_photo
from captioning.data.photo_kinds import IMAGE_SUFFIXES
from tools.attacks import pixel_oracle
from tools.attacks.bad_photos import bad_photos, flipped, write_all
from tools.attacks.bombs import bombs
from tools.attacks.outcome import Outcome
from tools.attacks.reader import GUARD, Reader, Reading, reader
from tools.attacks.special_files import changing, special_files
from tools.attacks.valid_photos import real

FUZZED = 5000  # files with random damage
CHANGED = 200  # readings of a file that changes, of each kind
SLACK = 30_000_000  # bytes of memory for libraries that are loaded on the way
ROOT = Path(__file__).resolve().parents[2]


def attacks(folder: Path) -> Iterator[Outcome]:
    """All of them, by group."""
    canary, photos = folder / "canary", folder / "photos"
    photos.mkdir()
    groups = write_all(photos, bad_photos(canary))
    special = folder / "special"
    groups["special files"] = [os.fsencode(path) for path in special_files(special)]
    with reader() as one:
        for name, paths in groups.items():
            yield read_group(one, name, paths)
        yield _bombs(one, folder / "bomb")
        yield _changing(one, folder)
        yield _fuzzed(one, folder / "fuzzed")
    yield _unreadable(folder)
    outcome = command_line([photos, special], folder)
    if canary.exists():
        outcome.harm.append("a pickle was loaded")
    yield outcome
    yield _oracle()


def require_promise(reading: Reading, path: str | bytes) -> None:
    """AssertionError unless a reading ended as promised: pixels or one sentence, in a gigabyte."""
    assert not reading.defect, reading.defect
    assert reading.memory < MEMORY_LIMIT + SLACK, f"took {reading.memory / 1e6:.0f} MB"
    assert reading.seconds < GUARD, f"took {reading.seconds:.0f} s"
    if reading.sentence is not None:
        require_sentence(reading.sentence, path)


def require_sentence(text: str, path: str | bytes) -> None:
    """AssertionError unless a text is one sentence that begins with a photograph's name."""
    name = printable(os.fsdecode(path))
    assert text.startswith(f"{name} "), f"names another file: {text}"
    assert text.isprintable(), f"cannot be printed: {text!r}"
    rest = text.removeprefix(name)
    assert rest.endswith("."), f"has no end: {text}"
    assert ". " not in rest, f"is not one sentence: {text}"


def read_group(one: Reader, name: str, paths: Iterable[bytes]) -> Outcome:
    """Read photographs one after the other."""
    outcome = Outcome(name)
    for path in paths:
        _read(one, path, outcome, printable(os.fsdecode(os.path.basename(path))))
    return outcome


def _read(one: Reader, path: bytes, outcome: Outcome, name: str) -> None:
    with outcome.attempt(name):
        reading = one.read(path)
        outcome.memory = max(outcome.memory or 0, reading.memory)
        outcome.note("refused" if reading.sentence else "read")
        require_promise(reading, path)


def _bombs(one: Reader, path: Path) -> Outcome:
    """Each written, read and removed, so that the disk holds one at a time."""
    outcome = Outcome("bombs")
    for name, content in bombs():
        path.write_bytes(content)
        _read(one, os.fsencode(path), outcome, name)
    path.unlink()
    return outcome


def _changing(one: Reader, folder: Path) -> Outcome:
    outcome = Outcome("files that change while they are read")
    for suffix in real():
        path = folder / f"changing{suffix}"
        with changing(path, suffix):
            for _ in range(CHANGED):
                _read(one, os.fsencode(path), outcome, path.name)
    return outcome


def _fuzzed(one: Reader, path: Path) -> Outcome:
    """Files of every kind with bits flipped, bytes replaced, parts cut out or doubled."""
    outcome = Outcome("random damage")
    kinds = sorted(real())
    for seed in range(FUZZED):
        suffix = kinds[seed % len(kinds)]
        path.write_bytes(mutated(real()[suffix], seed))
        _read(one, os.fsencode(path), outcome, f"seed {seed} of {suffix}")
    return outcome


def mutated(data: bytes, seed: int) -> bytes:
    """The data with damage that depends on the seed alone."""
    rng = np.random.default_rng([seed, 77])
    start, end = sorted(rng.integers(0, min(len(data), 1 << int(rng.integers(5, 16))), 2).tolist())
    kinds = (
        lambda: flipped(data, seed),
        lambda: data[:start] + rng.bytes(end - start) + data[end:],
        lambda: data[:start] + data[end:],
        lambda: data[:end] + data[start:],
        lambda: data[:start] + b"\xff" * min(end - start, 8) + data[start + min(end - start, 8) :],
        lambda: data[:start] + bytes(min(end - start, 4)) + data[start + min(end - start, 4) :],
    )
    return kinds[int(rng.integers(0, len(kinds)))]()


def _unreadable(folder: Path) -> Outcome:
    """A file without permissions, read by a user who is not the superuser."""
    outcome = Outcome("unreadable")
    path = folder / "secret.jpg"
    path.touch(mode=0o200)
    folder.chmod(0o755)
    superuser = os.geteuid() == 0
    with outcome.attempt(path.name):
        if superuser:
            os.seteuid(65534)
        try:
            read_photo(path)
        except ImageError as error:
            require_sentence(str(error), str(path))
            outcome.note("refused")
        else:
            raise AssertionError("it was read")
        finally:
            if superuser:
                os.seteuid(0)
    return outcome


def command_line(folders: list[Path], work: Path, model: Path | None = None) -> Outcome:
    """Caption folders by the command, into a file: each photograph has a record there."""
    outcome = Outcome("a folder of all but bombs, by the command line")
    output = work / "captions.jsonl"
    command: list[str | Path] = [sys.executable, "-m", "captioning", *folders, "--output", output]
    command += ["--model", model] if model else []
    with outcome.attempt(output.name):
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, timeout=1800, stdin=subprocess.DEVNULL
        )
        errors = done.stderr.decode("utf-8", "replace")
        assert "Traceback" not in errors, errors[-2000:]
        assert done.returncode == 2, f"status {done.returncode}: {errors[-500:]}"
        # Not splitlines(): names hold line breaks of Unicode.
        records = [json.loads(line) for line in output.read_text("utf-8").split("\n") if line]
        require_records(records, folders, errors)
        failed = sum("error" in record for record in records)
        outcome.note("captioned", len(records) - failed)
        outcome.note("refused", failed)
    return outcome


def require_records(records: list[dict[str, str]], folders: list[Path], errors: str) -> None:
    """AssertionError unless each photograph has one record, and the last lines count them."""
    named = sorted(os.fsencode(record["file"]) for record in records)
    expected = sorted(path for folder in folders for path in _photographs(folder))
    assert named == expected, f"{len(expected)} photographs, {len(named)} records"
    for record in records:
        if "error" in record:
            require_sentence(record["error"], record["file"])
        else:
            assert record["caption"], f"no caption for {record['file']!r}"
    failed = sum("error" in record for record in records)
    counts = f": {len(records) - failed:,} captioned, {failed:,} failed"
    assert any(line.endswith(counts) for line in errors.splitlines()[-2:]), errors[-500:]


def _photographs(folder: Path) -> Iterator[bytes]:
    """What is in a folder by the name of a photograph and is no folder."""
    for name in os.listdir(bytes(folder)):
        path = os.path.join(bytes(folder), name)
        suffix = os.path.splitext(os.fsdecode(name))[1].lower()
        if suffix in IMAGE_SUFFIXES and not os.path.isdir(path):
            yield path


def _oracle() -> Outcome:
    """What is read against what ImageMagick shows."""
    outcome = Outcome("pixels against ImageMagick")
    if not pixel_oracle.is_here():
        outcome.harm.append("ImageMagick is not here: install Debian's package imagemagick")
        return outcome
    for case in pixel_oracle.cases():
        with outcome.attempt(case.name):
            found = pixel_oracle.difference(case)
            assert not found, found
    return outcome
