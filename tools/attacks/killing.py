"""Processes that are started, and killed at random moments, half of them in a write."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOKS = 0.0005  # seconds between looks at what a process writes


def start(command: Sequence[str], folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start a command in a folder, on one thread; what it prints is added to log.txt there."""
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
            # Or it would ignore Ctrl-C where this one runs in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@dataclass
class Killer:
    """Ends processes at random moments, half of the time in the middle of a write.

    ``longest`` is the most seconds that one is left alone before that, ``signals`` are drawn from.
    """

    longest: float
    signals: Sequence[signal.Signals] = (signal.SIGKILL,)
    generator: random.Random = field(default_factory=lambda: random.Random(11))
    kills: int = 0
    writes: int = 0  # of the kills, those in the middle of a write

    def kill(self, process: "subprocess.Popen[str]", *folders: Path) -> bool:
        """Whether the process was ended; False where it had come to its own end before.

        It is writing where there is a temporary file of its own in one of the folders.
        """
        in_a_write = self.generator.random() < 0.5
        until = time.monotonic() + self.generator.uniform(self.longest / 18, self.longest)
        while process.poll() is None:
            late = time.monotonic() > until
            if late and (not in_a_write or is_writing(process.pid, folders)):
                process.send_signal(self.generator.choice(self.signals))
                process.wait(120)
                self.kills += 1
                self.writes += is_writing(process.pid, folders)
                return True
            time.sleep(LOOKS)
        return False


def is_writing(process: int, folders: Iterable[Path]) -> bool:
    """Whether a process has a temporary file in one of the folders, which has its number."""
    return any(
        entry.name.startswith(".") and entry.name.endswith(f".{process}")
        for folder in folders
        if folder.is_dir()
        for entry in os.scandir(folder)
    )
