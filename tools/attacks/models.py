"""Bad model files, given to everything that reads them.

Each file is read in another process, which says what came of it: a CaptioningError of one line that
names the file, or, where the file says nothing wrong, a checkpoint. No file may make the canary,
take longer than a minute, or more memory than a limit beyond its own size.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.app.examples import examples
from captioning.network.shipped import SHIPPED_MODEL
from tools.attacks import bad_contents, bad_models
from tools.attacks.bad_models import BadFile
from tools.attacks.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
MEMORY = 500_000_000  # bytes that a file may take beyond a few times its own size
TIMES = 8  # so many
LONGEST = 1000  # characters of a message, its paths apart
TRUNCATED, FLIPPED = 300, 1500  # of the small checkpoint
READERS = ("checkpoint", "encoder", "resume")
PROGRAMS = ("captioning", "main.py --init", "bleu_scorer.py")
_NAMES = {"checkpoint": "checkpoints", "encoder": "encoder weights", "resume": "resume files"}
_MAY_LOAD = ("with a tail", "with a head", "two in one", "encrypted")


@dataclass(frozen=True)
class Answer:
    """What came of a file: ``error`` is the kind of exception, "" where it was read.

    ``seconds`` and ``memory``, in bytes beyond what the process held before, are of reading alone;
    ``content`` is a hash of what was read.
    """

    error: str
    is_ours: bool
    message: str
    seconds: float
    memory: int
    has_torch: bool
    content: str


class Reader:
    """A process that reads one file after the other; started again where it ended."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, path: Path) -> Answer:
        """Have a file read; raises AssertionError where no answer comes in time."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        print(path, file=process.stdin, flush=True)
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            raise AssertionError("the process ended" if ready else f"no answer in {SECONDS:g} s")
        return Answer(**json.loads(line))

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _started(self) -> subprocess.Popen[str]:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tools.attacks.model_reader", self.kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
        return self.process


def judge(reader: Reader, path: Path, canary: Path, may_load: bool = False) -> Answer:
    """Have a file read; raises AssertionError for harm."""
    size = path.stat().st_size if path.is_file() else 0
    try:
        answer = reader.ask(path)
    finally:
        made = canary.exists()
        shutil.rmtree(canary, ignore_errors=True)
        assert not made, "its code ran"
    assert may_load or answer.error, "it was accepted"
    assert not answer.error or answer.is_ours, f"{answer.error}: {answer.message[:200]}"
    assert "\n" not in answer.message, "its message has several lines"
    assert len(answer.message) < LONGEST, f"its message has {len(answer.message)} characters"
    assert not answer.error or str(path) in answer.message, f"not named: {answer.message}"
    assert answer.memory < MEMORY + TIMES * size, f"it took {answer.memory / 1e6:.0f} MB"
    assert not (answer.has_torch and reader.kind == "checkpoint"), "PyTorch was imported"
    return answer


def attack(what: str, files: Iterable[BadFile], reader: Reader, may_load: bool = False) -> Outcome:
    """Have all of these files read by one of the readers."""
    outcome, canary = Outcome(what), reader.folder / "canary"
    path = reader.folder / ("run.resume.pth" if reader.kind == "resume" else "model.pth")
    path.write_bytes(bad_models.saved(bad_models.content()))
    good = reader.ask(path)
    for name, content in files:
        path.write_bytes(content)
        with outcome.attempt(name):
            answer = judge(reader, path, canary, may_load or name in _MAY_LOAD)
            assert answer.error or answer.content == good.content, "it was read as another"
            outcome.memory = max(outcome.memory or 0, answer.memory)
            outcome.note("refused" if answer.error else "read")
    return outcome


def files_of(kind: str, canary: Path) -> Iterator[tuple[str, Iterable[BadFile], bool]]:
    """What is tried on a reader, and whether some of it may be read."""
    yield "that would run code", bad_models.code(canary), False
    yield "zip files that lie", bad_models.archives(), False
    yield "of other programs", bad_models.foreign(), False
    yield "tensors that lie", bad_contents.tensors(), False
    yield "small files that grow", bad_contents.bombs(), False
    whole = bad_models.saved(bad_models.content())
    yield "cut short", bad_models.truncated(whole, TRUNCATED), False
    if kind == "resume":
        yield "of other runs", bad_contents.other_runs(), False
    if kind == "checkpoint":
        yield "with a bit turned", bad_models.flipped(whole, FLIPPED), True
        yield "of other versions", bad_contents.other_versions(), False
        yield "vocabularies that do not fit", bad_contents.vocabularies(), False
        yield "weights that do not fit", bad_contents.weights(), False


def no_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What is no ordinary file."""
    pipe, loop, forbidden = folder / "pipe", folder / "loop", folder / "missing"
    with contextlib.suppress(FileExistsError):
        os.mkfifo(pipe)
        loop.symlink_to(loop)
    yield from (("a pipe", pipe), ("a loop of links", loop), ("nothing", forbidden))
    yield from (("a folder", folder), ("a device", Path("/dev/zero")))


def commands(model: Path) -> Iterator[tuple[str, list[str], int]]:
    """The commands that read a model, and the exit status of each that is told of a bad one."""
    photo = str(examples()[0].path)
    data = ["--captions", "captions.csv", "--images", "images"]
    yield "captioning", ["-m", "captioning", photo, "--model", str(model)], 2
    train = [str(ROOT / "main.py"), "--init", str(model), *data, "--name", "attack"]
    yield "main.py --init", train, 1
    score = ["--references", "captions.csv", "--images", "images", "--split", "all"]
    yield "bleu_scorer.py", [str(ROOT / "bleu_scorer.py"), "--model", str(model), *score], 1


def some_files(canary: Path) -> Iterator[BadFile]:
    """One of each kind, for what takes seconds to start."""
    yield from [file for file in bad_models.code(canary) if file[0].startswith("REDUCE, ")]
    yield next(iter(bad_contents.weights()))
    yield from list(bad_contents.vocabularies())[:1]
    yield from list(bad_contents.bombs())[:1]
    yield from list(bad_models.foreign())[:2]
    yield "of a later version", bad_models.saved(bad_models.content() | {"version": 99})
    yield next(iter(bad_models.archives()))


def run_commands(
    folder: Path, files: Iterable[BadFile], programs: Sequence[str] = PROGRAMS
) -> Outcome:
    """Give bad files to the commands: an exit status and one sentence, and no traceback."""
    outcome = Outcome("bad files given to the commands")
    canary, model = folder / "canary", folder / "bad.pth"
    images = folder / "images"
    images.mkdir(exist_ok=True)
    rows = ["image,caption"]
    for example in examples():
        shutil.copy(example.path, images)
        rows += [f"{example.path.name},a dog runs", f"{example.path.name},a man runs"]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name, content in files:
        model.write_bytes(content)
        for program, command, status in commands(model):
            if program not in programs:
                continue
            with outcome.attempt(f"{program}: {name}"):
                _run(command, folder, status, model)
                made = canary.exists()
                shutil.rmtree(canary, ignore_errors=True)
                assert not made, "its code ran"
    return outcome


def _run(command: list[str], folder: Path, status: int, model: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    lines = [line for line in done.stderr.splitlines() if str(model) in line]
    assert "Traceback" not in done.stderr, done.stderr[-300:]
    assert done.returncode == status, f"status {done.returncode}: {done.stderr[-300:]}"
    assert len(lines) == 1, f"no sentence, or several: {done.stderr[-300:]}"


def blends(folder: Path) -> Outcome:
    """The model that ships beside ranges that are not its own."""
    outcome = Outcome("ranges that do not fit")
    model = folder / "ship.pth"
    model.symlink_to(SHIPPED_MODEL)
    own = json.loads(SHIPPED_MODEL.with_suffix(".ranges.json").read_text(encoding="utf-8"))
    first = next(iter(own["ranges"]))
    texts = {
        "of another model": json.dumps(own | {"checkpoint": "0" * 64}),
        "of a later version": json.dumps(own | {"version": 2}),
        "without one": json.dumps(own | {"ranges": dict(list(own["ranges"].items())[1:])}),
        "with one more": json.dumps(own | {"ranges": own["ranges"] | {"more": [0, 1]}}),
        "turned": json.dumps(own | {"ranges": own["ranges"] | {first: [1, 0]}}),
        "endless": json.dumps(own | {"ranges": own["ranges"] | {first: [0, float("inf")]}}),
        "no number": json.dumps(own | {"ranges": own["ranges"] | {first: [0, float("nan")]}}),
        "large": json.dumps(own).replace("1.", "1e999999", 1),
        "long": json.dumps(own)[:-2] + "9" * 10_000 + "}",
        "deep": "[" * 100_000,
        "a text": '"ranges"',
        "gigantic": json.dumps(own) + " " * 50_000_000,
        "cut short": json.dumps(own)[:1000],
        "empty": "",
    }
    with Reader("ranges", folder) as reader:
        for name, text in texts.items():
            path = model.with_suffix(".ranges.json")
            path.write_text(text, encoding="utf-8")
            with outcome.attempt(name):
                answer = reader.ask(model)
                assert answer.is_ours, f"{answer.error}: {answer.message[:200]}"
                assert answer.memory < MEMORY, f"it took {answer.memory / 1e6:.0f} MB"
    return outcome


def attacks(folder: Path) -> Iterator[Outcome]:
    """Every bad file to every reader, and some to the commands."""
    for kind in READERS:
        outcome = Outcome(f"{_NAMES[kind]} that are no ordinary file")
        with Reader(kind, folder) as reader:
            for what, files, may_load in files_of(kind, folder / "canary"):
                yield attack(f"{_NAMES[kind]} {what}", files, reader, may_load)
            for name, path in no_files(folder):
                with outcome.attempt(name):  # without a state to resume training begins
                    judge(reader, path, folder / "canary", may_load=kind == "resume")
        yield outcome
    yield blends(folder)
    yield run_commands(folder, some_files(folder / "canary"))
