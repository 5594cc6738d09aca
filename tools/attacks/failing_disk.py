"""Disks that fail at a process's n-th operation, and clocks that go back: see failing_disk.c."""

import errno
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_suffix(".c")


def compiled(folder: Path) -> Path:
    """The library that is to be preloaded, made in a folder by the system's C compiler."""
    library = folder / "failing_disk.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class Fault(NamedTuple):
    """An error of the system's at the n-th operation on files, once or from then on.

    ``kind`` is that of the operations that count; empty for all.
    """

    error: int
    at: int
    once: bool = False
    kind: str = ""

    def environment(self, library: Path, folder: Path) -> dict[str, str]:
        """The environment of a process to which it happens with files in a folder."""
        values = {
            "LD_PRELOAD": str(library),
            "FAIL_UNDER": os.path.realpath(folder),
            "FAIL_AT": str(self.at),
            "FAIL_WITH": str(self.error),
        }
        values |= {"FAIL_ONCE": "1"} if self.once else {}
        return values | ({"FAIL_KIND": self.kind} if self.kind else {})

    def __str__(self) -> str:
        times = "at" if self.once else "from"
        return f"{errno.errorcode[self.error]} {times} {self.kind or 'operation'} {self.at}"


def faults() -> Iterator[Fault]:
    """Faults of every kind at the first operation, then at the second, and so on."""
    for at in count(1):
        yield Fault(errno.ENOSPC, at)
        yield Fault(errno.EIO, at, once=True)
        yield Fault(errno.EROFS, at)
        yield Fault(errno.EDQUOT, at)
        yield Fault(errno.EIO, at, once=True, kind="sync")
