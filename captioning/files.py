"""Writing files so that none is ever half written, whenever the process or the machine stops."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from captioning.errors import CaptioningError

try:
    import fcntl
except ImportError:  # Windows: there two runs with one output are not noticed
    fcntl = None  # type: ignore[assignment]

# What the system says of a disk, a quota or a file that is full, and of a disk that has failed.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FAILED = frozenset({errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ESTALE})
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LONGEST_NAME = 255  # bytes, in nearly every file system


class WriteError(CaptioningError, OSError):
    """A file that cannot be written; the message says why, and what to do."""

    def __init__(self, message: str, reason: str = "", number: int | None = None) -> None:
        super().__init__(message)
        self.message, self.strerror, self.errno = message, reason or message, number

    def __str__(self) -> str:
        """The message alone: an OSError with a number would print that and the reason."""
        return self.message


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path in the same folder, then rename it to ``path``.

    The content is on the disk before the rename, and the rename is before this returns, so that
    after a power cut ``path`` holds the old content or the new one, whole: without the first a file
    system may keep the new name and lose the content (ext4(5), "auto_da_alloc").

    A symbolic link stays, and the file that it leads to is replaced. Raises WriteError, and leaves
    what was there as it was, where the disk is full, fails or is read-only, or where the path leads
    to anything but an ordinary file: a device, a named pipe, a folder.
    """
    path = _destination(path)
    temporary = _temporary(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # of a disk that has failed; what is wrong is known already
                temporary.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # some file systems cannot sync a folder
            _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8, its line ends as they are."""
    write_atomically(
        path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="")
    )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Within it a disk that is full or fails while ``path`` is written is a WriteError."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        # NumPy reports a write that came to nothing without the system's number.
        is_full = error.errno in _FULL or (error.errno is None and "written" in str(error))
        if not is_full and error.errno not in _FAILED:
            raise
        reason = error.strerror or "the disk is full"
        remedy = "make room" if is_full else "see to the disk"
        raise WriteError(
            f"{path}: it could not be written ({reason}), and what was there before is as it was; "
            f"{remedy}, then try again",
            reason,
            error.errno,
        ) from error


def require_writable(path: Path) -> None:
    """Check that ``write_atomically`` will be able to write ``path``, without writing it.

    Folders that are missing are not made. Raises WriteError for anything in the way, so that it is
    noticed before the work and not after it.
    """
    path = _destination(path)
    folder = next(each for each in path.parents if os.path.lexists(each))
    try:
        # On Linux it has no name, so that a process which is killed here leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder, prefix=".writable."):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(
            f"{path}: it cannot be written, because {folder} cannot ({reason}); change that, or "
            "write to another place",
            reason,
            error.errno,
        ) from None


def lock(file: BinaryIO | int) -> bool:
    """Lock an open file or folder until it is closed; False where another process has it.

    On a file system without locks nothing happens.
    """
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def is_same_file(path: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to the same file, by whatever names or links, there or not."""
    try:
        if os.path.realpath(path) == os.path.realpath(other):
            return True
        return os.path.samefile(path, other)
    except (OSError, ValueError):  # one of them does not exist; ValueError: a NUL in its name
        return False


def _destination(path: Path) -> Path:
    """The file to replace: what a symbolic link leads to, else the path itself.

    Raises WriteError where something is there that is not an ordinary file.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path  # what is wrong with the folder shows when it is made
    except OSError as error:  # a link that leads to itself, a name too long
        raise WriteError(
            f"{path}: this cannot be written ({error.strerror}); name another file",
            str(error.strerror),
            error.errno,
        ) from None
    if stat.S_ISREG(mode):
        return path
    raise WriteError(
        f"{path}: this is {_kind(mode)} and not an ordinary file, so it is not replaced; name "
        "another file"
    )


def what_instead(path: str | os.PathLike[str]) -> str:
    """What is there in place of an ordinary file, "" for one; raises OSError for nothing.

    To ask comes before opening: a named pipe waits for a writer, perhaps for ever, and a device may
    have no end.
    """
    mode = os.stat(path).st_mode
    return "" if stat.S_ISREG(mode) else _kind(mode)


def _kind(mode: int) -> str:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that no other process uses."""
    return path.with_name(f"{_prefix(path)}{os.getpid()}")


def _prefix(path: Path) -> str:
    """How the names of the temporary files of ``path`` begin."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME - len("..4194304"):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    # Windows syncs what is open for writing alone.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path, abandoned: bool = False) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left in its folder.

    Only for a path that no other process writes at the same time; or with ``abandoned``, by which
    what a process of this machine may still be writing is left alone.
    """
    path = Path(os.path.realpath(path))
    remove_leftovers_in(path.parent, [path.name], abandoned)


def remove_leftovers_in(folder: Path, names: Iterable[str], abandoned: bool) -> None:
    """The same for several files of a folder, which is listed once; one that is missing is empty.

    What cannot be removed stays.
    """
    prefixes = {_prefix(folder / name) for name in names}
    for name in os.listdir(folder) if folder.is_dir() else []:
        head, _, number = name.rpartition(".")
        is_leftover = f"{head}." in prefixes and number.isascii() and number.isdigit()
        if is_leftover and not (abandoned and _is_running(int(number))):
            with suppress(OSError):
                (folder / name).unlink()


def _is_running(process: int) -> bool:
    """Whether there is a process of this number; where nothing tells, yes."""
    if os.name == "nt":  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
