"""Writing files so that none is ever half written, whenever the process ends."""

import os
from collections.abc import Callable
from pathlib import Path


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, then rename: never half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left beside it.

    Only for a path that no other process writes at the same time.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        if leftover.suffix[1:].isdigit() or leftover.suffix == ".part":
            leftover.unlink(missing_ok=True)
