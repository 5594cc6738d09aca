"""What a photograph may be given as, what messages call it, and how its file is opened."""

import os
import re
import stat
from functools import partial
from io import BytesIO
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.errors import CaptioningError

Path = str | os.PathLike[str]
Source = Path | bytes | BinaryIO | Image.Image | npt.NDArray[np.uint8]

UNNAMED = "the image"

# A scheme of two letters or more, so that a Windows drive is none; pathlib leaves one slash of two.
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+:/|data:)")
_ARRAYS = "uint8 in an array of (H, W), (H, W, 3) or (H, W, 4)"


class ImageError(CaptioningError):
    """A photograph that cannot be read; the message says which, why, and what to do."""


def is_path(source: object) -> bool:
    """Whether a source is the path of a file, and not its content."""
    return isinstance(source, str | os.PathLike)


def source_name(source: Source) -> str:
    """The real name of ``source``: its path as given, or "the image" for what has none.

    Bytes of a path that are not UTF-8 are lone surrogates, as ``os.fsdecode`` makes them, so that
    ``os.fsencode`` finds the file again. Raises TypeError for anything that is not a Source.
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(os.fspath(source))
    if isinstance(source, bytes | Image.Image | np.ndarray) or hasattr(source, "read"):
        return UNNAMED
    raise TypeError(
        "a photograph is a path, the bytes of a file, a binary file, a PIL image or an array of "
        f"uint8, not {type(source).__name__}"
    )


def printable(name: str) -> str:
    """A name on one line that any terminal shows: what cannot be printed is escaped.

    That includes lone surrogates, so the result can always be encoded as UTF-8.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def describe(source: Source) -> str:
    """Name ``source`` in a message: its path on one line, or "the image".

    Data carries ``source_name``. Raises TypeError for anything that is not a Source.
    """
    return printable(source_name(source)) or "the empty path"


def open_source(source: Path | bytes | BinaryIO, name: str) -> BinaryIO:
    """A stream that reads ``source`` from its start; a file that was given open stays open.

    Raises ImageError where there is nothing to read, and TypeError for a file of text.
    """
    # Pillow gets a stream even for a path: from a path it maps a BMP into memory, and a mapped
    # file that another program shortens kills the process.
    stream = _open_path(source, name) if isinstance(source, str | os.PathLike) else _held(source)
    try:
        is_empty = not stream.read(1)
        stream.seek(0)
    except OSError as error:
        stream.close()
        raise ImageError(f"{name} cannot be read ({error.strerror}): check its disk.") from error
    if is_empty:
        stream.close()
        raise ImageError(f"{name} is empty: save or download it again.")
    return stream


def from_array(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """A PIL image of pixels (H, W), (H, W, 3) or (H, W, 4); raises ImageError for others."""
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in {(), (3,), (4,)} or pixels.ndim < 2:
        shape = ", ".join(map(str, pixels.shape))
        raise ImageError(f"{UNNAMED} is {pixels.dtype} in an array of ({shape}): give {_ARRAYS}.")
    if 0 in pixels.shape:
        return Image.new("RGB", (0, 0))
    return Image.fromarray(np.ascontiguousarray(pixels))


def _held(source: bytes | BinaryIO) -> BinaryIO:
    content = source if isinstance(source, bytes) else source.read()
    if not isinstance(content, bytes):
        raise TypeError('a photograph is bytes, so open its file with the mode "rb"')
    return BytesIO(content)


def _at_once(name: str, path: str, flags: int) -> int:
    """Open a regular file without waiting, as for the kernel's log, which looks like one.

    Raises ImageError where by now it is another kind of file.
    """
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise _not_ordinary(name)


def _not_ordinary(name: str) -> ImageError:
    return ImageError(f"{name} is not an ordinary file: give the path of a photograph.")


def _open_path(path: Path, name: str) -> BinaryIO:
    """Open a regular file, or raise ImageError that says why not."""
    try:
        # Checked first: opening a named pipe waits for a writer, opening a device may do anything.
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb", opener=partial(_at_once, name))
    except FileNotFoundError as error:
        if _ADDRESS.match(name):
            raise ImageError(
                f"{name} is an address, not a file: download it first and give the file's path."
            ) from error
        raise ImageError(f"{name} does not exist: check the path.") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read: change its permissions.") from error
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} cannot be opened ({reason}): check the path.") from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"{name} is a folder: give the path of a photograph in it.")
    raise _not_ordinary(name)
