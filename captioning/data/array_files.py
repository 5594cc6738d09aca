"""Arrays in files that programs keep for themselves, which may be damaged or another's."""

from pathlib import Path

import numpy as np

# What numpy raises for headers that it did not write, of any shape, type and depth.
_OTHER = (ValueError, TypeError, OverflowError, MemoryError, RecursionError, SyntaxError)


def open_array(path: Path) -> np.memmap | None:
    """Map an array of numpy's own format into memory, to read it; None where there is none.

    No object in it is made, and no more memory taken than the file has bytes: what its header
    claims beyond them makes it no array.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (FileNotFoundError, *_OTHER):
        return None
