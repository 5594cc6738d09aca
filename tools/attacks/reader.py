"""Reads photographs in a process of its own, one after the other, and measures each.

A decoder that crashes ends that process alone, and one that hangs is killed.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GUARD = 60  # seconds for one photograph


@dataclass(frozen=True)
class Reading:
    """What came of reading one photograph.

    ``sentence`` is why it is refused, None where it was read; ``defect`` any other exception, a
    crash or a hang. ``seconds`` it took, ``memory`` in bytes the most that the process held beyond
    what it held before.
    """

    sentence: str | None = None
    defect: str = ""
    seconds: float = 0.0
    memory: int = 0


class Reader:
    """The process; ``attacks`` asks it for one photograph at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, path: str | bytes) -> Reading:
        """Read one photograph as the captioner does."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(os.fsencode(path).hex().encode() + b"\n")
        process.stdin.flush()
        begun = time.perf_counter()
        ready, _, _ = select.select([process.stdout], [], [], GUARD)
        line = process.stdout.readline() if ready else b""
        if line:
            return Reading(**json.loads(line))
        seconds = time.perf_counter() - begun
        self.close()
        defect = f"the process ended with {process.returncode}" if ready else f"hung for {GUARD} s"
        return Reading(defect=defect, seconds=seconds)

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", "tools.attacks.reader"]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=_ROOT)
        return self._process


_ROOT = Path(__file__).resolve().parents[2]
_ROOM = 4 << 30  # bytes of address space: more than any photograph may take


@contextmanager
def reader() -> Iterator[Reader]:
    """A reader that is closed at the end."""
    one = Reader()
    try:
        yield one
    finally:
        one.close()


# In the process itself --------------------------------------------------------------------------


def resident(what: str) -> int:
    """The memory that this process holds (VmRSS) or has held at most (VmHWM), in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def measured(path: str) -> dict[str, Any]:
    """Read one photograph here; the fields of a Reading."""
    from captioning.data.images import ImageError, load_image

    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the most so far
    before, begun = resident("VmRSS"), time.perf_counter()
    sentence, defect = None, ""
    try:
        pixels = load_image(path)
        if pixels.shape != (3, 224, 224) or not (abs(pixels) < 3).all():
            defect = f"gave an array of {pixels.shape}"
    except ImageError as error:
        sentence = str(error)
    except BaseException as error:  # the parent says that it is a defect
        defect = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - begun
    memory = max(0, resident("VmHWM") - before)
    return {"sentence": sentence, "defect": defect, "seconds": seconds, "memory": memory}


def main() -> None:
    """Read the photographs whose paths come on standard input, in hexadecimal."""
    import resource

    # A defect becomes a MemoryError, and not the end of the machine.
    resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
    for line in sys.stdin:
        path = os.fsdecode(bytes.fromhex(line.strip()))
        print(json.dumps(measured(path)), flush=True)


if __name__ == "__main__":
    main()
