"""How the benchmark times: two pieces of work in turn, as a ratio; the peak memory of a command."""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from captioning.errors import CaptioningError

PAIRS = 15  # at least
QUICK_PAIRS = 60  # for what takes a fraction of a second and varies more
PEAK_OF_CHILD = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
# Before each call, in seconds: threads of PyTorch wait in a loop for a few milliseconds after the
# baseline, and whatever is timed meanwhile has one core less.
REST = 0.02
Work = Callable[[], object]


class Ratio(NamedTuple):
    """Our time divided by the baseline's: median and quartiles over the pairs."""

    name: str
    ratio: float
    low: float
    high: float
    ours: float  # seconds
    theirs: float
    pairs: int

    def __str__(self) -> str:
        return (
            f"{self.ratio:6.2f} ({self.low:.2f} to {self.high:.2f})  {self.name}: "
            f"{self.ours:.3f} s against {self.theirs:.3f} s, {self.pairs} pairs"
        )


def seconds(work: Work) -> float:
    """Time a call, after a rest."""
    time.sleep(REST)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(name: str, ours: Work, theirs: Work, pairs: int = PAIRS, warm_up: bool = True) -> Ratio:
    """Time both in turn, and print the median ratio with its quartiles.

    With ``warm_up`` each is run once before.
    """
    if warm_up:
        ours()
        theirs()
    timed = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in timed], n=4)
    first, second = (statistics.median(column) for column in zip(*timed, strict=True))
    ratio = Ratio(name, middle, low, high, first, second, pairs)
    print(ratio, flush=True)
    return ratio


class Memory(NamedTuple):
    """The peak memory of one command that captioned a folder."""

    name: str
    photographs: int
    megabytes: float


def peak_memory(command: Sequence[str]) -> float:
    """The peak memory of a command in megabytes, where it starts no others: its own.

    Raises CaptioningError where it fails.
    """
    # Through a small process: on Linux a child's peak includes that of the process that forked it.
    wrapper = [sys.executable, "-c", PEAK_OF_CHILD, *command]
    done = subprocess.run(wrapper, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise CaptioningError(f"{' '.join(command)}: failed with status {done.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return int(done.stdout) * unit / 2**20


def processor() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
