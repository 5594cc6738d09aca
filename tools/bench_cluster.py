"""What make bench measures of captioning on Ray: its speed, what it costs, and its memory.

All commands caption the same photographs, on this machine, in turn. What a command takes to start
is left out: each captions few photographs and many, and the difference counts.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from captioning.data.caption_files import Photograph
from captioning.inference.threads import available_threads
from tools.bench_commands import fill_with_small
from tools.timing import Ratio

FEW, MANY = 100, 400  # photographs
ROUNDS = 3
FOLDER = "the folder command"
_ACTOR = "CaptionActor"  # in the title of a process that captions
_LOOK = 0.5  # seconds between two looks at the memory


@dataclass
class Speeds:
    """Seconds for each photograph by command and round, seconds to start, and bytes of an actor."""

    pictures: dict[str, list[float]] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)
    memory: int = 0

    def seconds(self, name: str) -> float:
        """The median over the rounds, for one photograph."""
        return statistics.median(self.pictures[name])

    def start(self, name: str) -> float:
        """The median over the rounds, in seconds."""
        return statistics.median(self.starts[name])


def commands() -> dict[str, list[str]]:
    """The commands that are compared, by what the results call them, without their folders."""
    words = [sys.executable, "-m", "captioning"]

    def on_ray(actors: int, cpus: int) -> list[str]:
        return [*words, "--ray", "local", "--actors", str(actors), "--actor-cpus", str(cpus)]

    return {
        FOLDER: words,
        "1 actor of 1 processor": on_ray(1, 1),
        "2 actors of 1 processor": on_ray(2, 1),
        "1 actor of 2 processors": on_ray(1, 2),
    }


def bench_cluster(photographs: Sequence[Photograph]) -> list[Ratio]:
    """Captioning on Ray against the folder command."""
    return ratios_of(measure(photographs))


def measure(photographs: Sequence[Photograph]) -> Speeds:
    """Time all commands in turn, some times, and print what came out."""
    speeds = Speeds()
    for _ in range(ROUNDS):
        for name, words in commands().items():
            few, many = (timed(words, photographs, number, speeds) for number in (FEW, MANY))
            each = (many - few) / (MANY - FEW)
            speeds.pictures.setdefault(name, []).append(each)
            speeds.starts.setdefault(name, []).append(few - FEW * each)
    for name in speeds.pictures:
        rate, start = 1 / speeds.seconds(name), speeds.start(name)
        print(f"{name}: {rate:.1f} photographs a second, {start:.1f} s to start", flush=True)
    print(f"memory of an actor: at most {speeds.memory / 1e6:,.0f} MB", flush=True)
    print(
        f"Ray's cost: {1000 * cost(speeds):.1f} ms of a processor for each photograph", flush=True
    )
    return speeds


def cost(speeds: Speeds) -> float:
    """Seconds of a processor that each photograph costs more by two actors than by the command."""
    return available_threads() * (
        speeds.seconds("2 actors of 1 processor") - speeds.seconds(FOLDER)
    )


def ratios_of(speeds: Speeds) -> list[Ratio]:
    """The time of each command against that of the folder command, round by round."""
    ratios = []
    theirs = speeds.pictures[FOLDER]
    for name, ours in speeds.pictures.items():
        if name == FOLDER:
            continue
        each = sorted(a / b for a, b in zip(ours, theirs, strict=True))
        middle = statistics.median(each)
        title = f"a photograph on Ray by {name} / by {FOLDER}"
        seconds = (statistics.median(ours), statistics.median(theirs))
        ratios.append(Ratio(title, middle, each[0], each[-1], *seconds, len(each)))
        print(ratios[-1], flush=True)
    return ratios


def timed(
    words: Sequence[str], photographs: Sequence[Photograph], number: int, speeds: Speeds
) -> float:
    """The seconds that a command takes for so many photographs; notes the memory of actors."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "photographs")
        pictures.mkdir()
        fill_with_small(pictures, photographs, number)
        output = Path(folder, "captions" if "--ray" in words else "captions.jsonl")
        with watching_memory(speeds):
            started = time.perf_counter()
            subprocess.run(
                [*words, str(pictures), "--output", str(output)],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return time.perf_counter() - started


@contextmanager
def watching_memory(speeds: Speeds) -> Iterator[None]:
    """Within it the largest memory of a process that captions is noted."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK):
            speeds.memory = max([speeds.memory, *actor_memory().values()])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def actor_memory(processes: Path = Path("/proc")) -> Mapping[int, int]:
    """The bytes of each process that captions on this machine, by its number.

    What several processes have in common counts in parts (PSS). Empty where there is no /proc.
    """
    found = {}
    for path in processes.glob("[0-9]*"):
        try:
            title = (path / "cmdline").read_bytes().decode(errors="replace")
            if not title.startswith("ray::") or _ACTOR not in title:
                continue
            lines = (path / "smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        shares = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
        found[int(path.name)] = 1024 * sum(shares)
    return found
