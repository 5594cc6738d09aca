"""Where the command line may write: never over what it reads."""

import os
from collections.abc import Iterable
from pathlib import Path

from captioning.errors import SettingError
from captioning.files import is_same_file, require_writable


def require_output(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check, before any work, that a file can be written and is none of the inputs.

    A link counts as what it leads to. Raises SettingError for an input, and WriteError for what
    cannot be written, such as anything but an ordinary file.
    """
    if any(is_same_file(path, each) for each in inputs):
        raise SettingError(f"{path}: this is one of the files to be read; name another output")
    require_writable(path)
