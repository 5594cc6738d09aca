"""What make bench measures of whole commands: their start, their memory, and sharing the cores."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path

from captioning.app.examples import examples
from captioning.data.caption_files import Photograph
from captioning.inference.engines import PACKAGES, is_installed
from captioning.inference.threads import available_threads
from tools.bench_engines import FOLDER, fill_with_large
from tools.timing import Memory, Ratio, Work, compare, peak_memory

FOLDERS = (100, 1000)  # photographs, captioned by one command
TOGETHER = {"onnx": 100, "torch": 50}  # photographs that each of two processes captions
LOADED = 30  # photographs captioned while others load the cores
LOOPS = 2  # for each core
FEW_PAIRS = 3  # of what takes many seconds
LIGHT = Path(".venv-light/bin/python")  # without PyTorch; made by make caption
BUSY = "while True: pass"


def command(*arguments: str | Path, engine: str, python: str | Path = sys.executable) -> list[str]:
    """The command line that captions with an engine."""
    words = (python, "-m", "captioning", *arguments, "--engine", engine)
    return [str(word) for word in words]


def run(words: Sequence[str]) -> None:
    """Run a command in silence; raises CalledProcessError where it fails."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def installed() -> list[str]:
    """The engines that this Python has."""
    return [engine for engine in PACKAGES if is_installed(engine)]


def fill_with_small(folder: Path, photographs: Sequence[Photograph], number: int) -> None:
    """Write so many photographs of a data set, in turn."""
    for each, photograph in zip(range(number), cycle(photographs), strict=False):
        shutil.copyfile(photograph.path, folder / f"{each:04}.jpg")


def bench_start() -> list[Ratio]:
    """From a new process to a loaded model, or to a caption, against importing PyTorch alone.

    The command is run in the light environment where that is there; the first run does not count.
    """
    model = [sys.executable, "-c", "from captioning import Captioner; Captioner.load()"]
    both, alone = (
        [sys.executable, "-c", f"import {name}"] for name in ("torch, torchvision", "torch")
    )
    light = LIGHT.absolute() if LIGHT.exists() else None
    caption = command(examples()[0].path, engine="onnx", python=light or sys.executable)
    where = "light" if light else "full"
    return [
        compare(
            "imports and the model / importing torch and torchvision",
            lambda: run(model),
            lambda: run(both),
        ),
        compare(
            f"captioning photo.jpg, onnx, {where} environment / importing torch",
            lambda: run(caption),
            lambda: run(alone),
        ),
    ]


def bench_memory(photographs: Sequence[Photograph]) -> list[Memory]:
    """The command line on folders of photographs: memory should not grow with their number.

    The command is a single process, as a test says, so the peak of that is the peak of all. What
    packages of other engines start while they are imported (ldconfig by PyTorch, telemetry by
    OpenVINO) is not counted.
    """
    peaks = []
    for number in FOLDERS:
        with tempfile.TemporaryDirectory() as folder:
            fill_with_small(Path(folder), photographs, number)
            engines = installed() if number == FOLDERS[0] else ["auto"]
            peaks += [folder_memory(Path(folder), engine, "small") for engine in engines]
    with tempfile.TemporaryDirectory() as folder:
        fill_with_large(Path(folder), photographs, FOLDER)
        peaks += [folder_memory(Path(folder), engine, "12-megapixel") for engine in installed()]
    return peaks


def folder_memory(folder: Path, engine: str, size: str) -> Memory:
    """The peak memory of the command on a folder, which it captions into a file."""
    number = len(list(folder.iterdir()))
    with tempfile.TemporaryDirectory() as outputs:
        output = Path(outputs, "captions.jsonl")
        words = command(folder, "--output", output, engine=engine)
        peak = Memory(f"{engine} float32, {size} JPEGs", number, peak_memory(words))
    print(f"{peak.name}, {number:,}: at most {peak.megabytes:,.0f} MB of memory", flush=True)
    return peak


class Fresh:
    """Commands that caption a folder, each into a new file: one that is there is gone on with."""

    def __init__(self, folder: Path, outputs: Path, engine: str) -> None:
        self.folder, self.outputs, self.engine = folder, outputs, engine
        self.numbers = count()

    def __call__(self) -> list[str]:
        """The next command."""
        output = self.outputs / f"{next(self.numbers)}.jsonl"
        return command(self.folder, "--output", output, engine=self.engine)


@contextmanager
def small_folder(photographs: Sequence[Photograph], number: int, engine: str) -> Iterator[Fresh]:
    """Commands that caption so many photographs, while their folder is there."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as outputs:
        fill_with_small(Path(folder), photographs, number)
        yield Fresh(Path(folder), Path(outputs), engine)


def bench_sharing(photographs: Sequence[Photograph]) -> list[Ratio]:
    """What a run loses to others on the same cores: a second one, and processes that only load.

    Two runs started together should take no longer than one after the other: at most 1. Beside two
    busy loops for each core, a run that has a fair share of them takes some three times as long.
    """
    return [
        ratio
        for engine in TOGETHER
        for ratio in (bench_together(photographs, engine), bench_load(photographs, engine))
    ]


def bench_together(photographs: Sequence[Photograph], engine: str) -> Ratio:
    """Two runs of an engine together against one after the other."""
    number = TOGETHER[engine]
    with small_folder(photographs, number, engine) as fresh:

        def one_after_the_other() -> None:
            run(fresh())
            run(fresh())

        return compare(
            f"{engine}: two runs of {number} photographs together / one after the other",
            lambda: run_together([fresh(), fresh()]),
            one_after_the_other,
            FEW_PAIRS,
            warm_up=False,
        )


def bench_load(photographs: Sequence[Photograph], engine: str) -> Ratio:
    """A run of an engine beside busy loops against the same alone."""
    loops = LOOPS * available_threads()
    with small_folder(photographs, LOADED, engine) as fresh:
        return compare(
            f"{engine}: {LOADED} photographs beside {loops} busy loops / alone",
            loaded(fresh, loops),
            lambda: run(fresh()),
            FEW_PAIRS,
            warm_up=False,
        )


def run_together(commands: Sequence[Sequence[str]]) -> None:
    """Start commands together and wait for all; raises CalledProcessError where one fails."""
    with ExitStack() as stack:
        started = [stack.enter_context(start(words)) for words in commands]
        for process in started:
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, process.args)


def loaded(fresh: Fresh, loops: int) -> Work:
    """A run beside so many processes that do nothing but load the cores."""

    def work() -> None:
        with ExitStack() as stack:
            for _ in range(loops):
                stack.enter_context(start([sys.executable, "-c", BUSY]))
            run(fresh())

    return work


@contextmanager
def start(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in silence; it is stopped where it still runs in the end."""
    null = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=null, stderr=null) as process:
        try:
            yield process
        finally:
            process.kill()
