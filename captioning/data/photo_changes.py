"""Which file a photograph was: to notice another one in its place.

By its content, since a file of the same name and size may be another photograph, and one that was
copied or touched is still the same.
"""

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from captioning.data.caption_rows import DataError
from captioning.data.photo_sources import describe

_State = tuple[int, int]  # size in bytes, time of modification in nanoseconds


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, read once while its size and times stay; "" where it is not there."""
    state = _state_of(path)
    return _digest(path, state) if state else ""


class Unchanged:
    """Notices photographs that are replaced, cut or removed while a network learns from them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Remember the files as they are now."""
        self._files = {path: (_state_of(path), digest_of(path)) for path in paths}

    def require(self) -> None:
        """Raise DataError where one of the files is another one now; all are looked at."""
        for path, (state, digest) in self._files.items():
            if _state_of(path) != state and digest_of(path) != digest:
                raise DataError(
                    f"{describe(path)}: this photograph has changed since the training began, so "
                    "that it would learn from two data sets; put the photograph back and go on "
                    "with the same command, or start over with --restart"
                )


def _state_of(path: Path) -> _State | None:
    """What changes when a file is written; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@cache
def _digest(path: Path, state: _State) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # what is wrong with it shows when it is decoded
        return ""
