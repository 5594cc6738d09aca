"""Where a command may write: never over what it reads, and over ordinary files alone."""

import os
from collections.abc import Iterable
from pathlib import Path

from captioning.errors import SettingError


def require_writable(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Raise SettingError, before any work, where ``path`` is one of the inputs or no file.

    A link counts as what it leads to.
    """
    if any(_is_same(path, each) for each in inputs):
        raise SettingError(f"{path}: this is one of the files to be read; name another output")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise SettingError(f"{path}: this is not an ordinary file; name another output")
    folder = path.parent
    while not os.path.lexists(folder):  # it will be made
        folder = folder.parent
    if not folder.is_dir():
        raise SettingError(f"{folder}: this is no folder to write in; name another output")
    if not os.access(folder, os.W_OK):
        raise SettingError(f"{folder}: nothing may be written there; name another output")


def _is_same(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # one of them is not there; ValueError: a NUL in the name
        return os.path.abspath(path) == os.path.abspath(other)
