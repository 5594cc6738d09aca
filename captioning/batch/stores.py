"""Files by their addresses (s3://bucket/photos, gs://, hdfs://), as Ray reads them: pyarrow.fs."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Any, Self
from urllib.parse import quote

from captioning.batch.folder import Stamp
from captioning.data.photo_memory import MEMORY_LIMIT, too_large
from captioning.data.photo_sources import UNNAMED, ImageError, printable
from captioning.errors import CaptioningError

LOCAL = "file://"
# Of two letters or more, so that the drive of a Windows path is none.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

_SAFE = "%:/?#[]@!$&'()*+,;=~"
_KEYS = re.compile(r"://[^/]*@")


class StoreError(CaptioningError):
    """An address at which nothing can be read; the message says why, and what to do."""


@dataclass(frozen=True)
class StoredFile:
    """A file in a store: its path there, and by what a change of it is recognised."""

    path: str
    stamp: Stamp


@dataclass(frozen=True)
class Store:
    """A file system that an address names, and the path that it leads to.

    ``address`` is what another process opens it by.
    """

    address: str
    files: Any  # a pyarrow.fs.FileSystem
    path: str

    @classmethod
    def open(cls, address: str) -> Self:
        """Open the store of an address; raises StoreError where there is none of its kind."""
        from pyarrow import fs

        try:
            # A blank or a letter with an accent is none of an address, but people write them.
            files, path = fs.FileSystem.from_uri(quote(address, safe=_SAFE))
        except (ValueError, NotImplementedError) as error:
            raise StoreError(
                f"{shown(address)}: this address cannot be opened ({_reason(error)}); give "
                "one that begins with s3://, gs://, hdfs:// or file://"
            ) from None
        except OSError as error:
            raise _unreachable(address, error) from None
        return cls(address, files, path)

    def listed(self, recursive: bool) -> list[StoredFile] | None:
        """The files in the folder that the address names, sorted; None where it names a file.

        Hidden ones are left out. Raises StoreError where there is nothing, or nothing can be read.
        """
        from pyarrow import fs

        try:
            info = self.files.get_file_info(self.path)
            if info.type == fs.FileType.NotFound:
                raise StoreError(
                    f"{shown(self.address)}: there is nothing at this address; check it"
                )
            if info.type != fs.FileType.Directory:
                return None
            inside = self.files.get_file_info(fs.FileSelector(self.path, recursive=recursive))
        except OSError as error:
            raise _unreachable(self.address, error) from None
        found = (StoredFile(i.path, _stamp(i)) for i in inside if i.type == fs.FileType.File)
        return sorted((f for f in found if not _is_hidden(self.inner(f.path))), key=_path)

    def inner(self, path: str) -> str:
        """A path of the store, relative to the folder that the address names."""
        return path.removeprefix(self.path.rstrip("/") + "/")

    def named(self, path: str) -> str:
        """The address of a file in the folder that this address names."""
        return f"{shown(self.address).rstrip('/')}/{self.inner(path)}"


class StoredPhoto:
    """A photograph in a store, which is fetched when it is read; then its stamp is known too."""

    def __init__(self, address: str, path: str) -> None:
        self.address, self.path = address, path
        self.stamp: Stamp | None = None

    def read(self) -> bytes:
        """The whole file; raises ImageError where it cannot be read."""
        from pyarrow import fs

        try:
            files = opened(self.address).files
            info = files.get_file_info(self.path)
            if info.type != fs.FileType.File:
                raise ImageError(f"{UNNAMED} does not exist: check the address.")
            if info.size is not None and info.size > MEMORY_LIMIT:
                raise too_large(UNNAMED)
            self.stamp = _stamp(info)
            with files.open_input_stream(self.path) as stream:
                content: bytes = stream.read()
                return content
        except OSError as error:
            raise ImageError(f"{UNNAMED} cannot be read ({_reason(error)}): try again.") from None


@cache
def opened(address: str) -> Store:
    """The store of an address, opened once in a process."""
    return Store.open(address)


def is_address(argument: str) -> bool:
    """Whether an argument names its file system, and so is no path of this machine."""
    return bool(_ADDRESS.match(argument))


def shown(address: str) -> str:
    """An address as people are shown it, without keys and settings."""
    return printable(_KEYS.sub("://", address.partition("?")[0]))


def local_path(address: str) -> str:
    """The path that an address of this machine's own files stands for."""
    return Store.open(address).path


def _unreachable(address: str, error: OSError) -> StoreError:
    return StoreError(
        f"{shown(address)}: this address cannot be read ({_reason(error)}); check it, and the "
        "rights to it"
    )


def _stamp(info: Any) -> Stamp:
    """The stamp of a file's information."""
    modified = info.mtime or datetime.fromtimestamp(0, UTC)
    return Stamp(info.size or 0, modified.astimezone(UTC).isoformat())


def _path(file: StoredFile) -> str:
    return file.path


def _is_hidden(inner: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(inner).parts)


def _reason(error: Exception) -> str:
    """The first line of an error, without the dot that may end it."""
    strerror = getattr(error, "strerror", None) or str(error)
    return (strerror.splitlines() or [type(error).__name__])[0].rstrip(".")
