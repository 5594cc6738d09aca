"""Writing files so that none is ever half written, whenever the process or the machine stops."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path in the same folder, then rename it to ``path``.

    The content is on the disk before the rename, and the rename is before this returns, so that
    after a power cut ``path`` holds the old content or the new one, whole: without the first a file
    system may keep the new name and lose the content (ext4(5), "auto_da_alloc").
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        with suppress(OSError):  # some file systems cannot sync a folder
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8, its line ends as they are."""
    write_atomically(
        path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="")
    )


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    # Windows syncs what is open for writing alone.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left in its folder.

    Only for a path that no other process writes at the same time.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        if leftover.suffix[1:].isdigit():
            leftover.unlink(missing_ok=True)
