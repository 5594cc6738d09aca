"""An append-only file of JSON lines that survives whatever ends the process that writes it.

A line is written in one piece, and what a crash has cut off at the end is removed when the file is
opened again, so at every moment the file holds whole records only.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from captioning.errors import CaptioningError
from captioning.files import lock, remove_leftovers, write_atomically
from captioning.inference.export import RECORD_VERSION, as_line

Record = dict[str, Any]

SYNC_EVERY = 5.0  # seconds: what a power cut, unlike a killed process, may lose
_BEGINNING = b'{"version": '  # of every line
_GOES_ON = "make room there, then the same command goes on where it stopped"
_BLOCK = 1 << 20  # bytes read at once, to find where the last whole line ends


class JournalError(CaptioningError):
    """A journal that cannot be used; the message says what to do."""


class Journal:
    """Records of pictures, one JSON object a line; of several with one ``file`` the last counts.

    A context manager: open, no other process writes the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._length = 0  # bytes of whole lines
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        """Open the file to append to, making it where there is none, and cut a torn line off.

        Raises JournalError where another process has it open, it holds something else, or it cannot
        be written.
        """
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise JournalError(f"{self.path}: this is not an ordinary file; name another output")
        with self._writing("see to that, or name another output"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
            try:
                self._length = _whole_lines(self._file)
                self._refuse_other_files()
                self._file.truncate(self._length)
            except BaseException:
                self._file.close()
                raise
        remove_leftovers(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Bring everything to the disk, and close."""
        with self._opened:
            self._sync()

    def records(self) -> Iterator[Record]:
        """The records in the file, in its order; raises JournalError at a line that is none."""
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield self._parse(line, number)

    def append(self, record: Record) -> None:
        """Add a record; raises JournalError, with the file as it was, where there is no room."""
        line = (as_line(record) + "\n").encode()
        with self._writing(_GOES_ON):
            try:
                written = 0
                while written < len(line):  # a disk that is nearly full takes a part
                    written += self._opened.write(line[written:])
            except OSError:
                with suppress(OSError):
                    self._opened.truncate(self._length)
                raise
        self._length += len(line)
        if time.monotonic() - self._synced >= SYNC_EVERY:
            self._sync()

    def compact(self) -> None:
        """Rewrite the file with the last record of each picture alone, in their order."""
        last = {record["file"]: number for number, record in enumerate(self.records())}
        kept = set(last.values())

        def write(temporary: Path) -> None:
            with open(self.path, "rb") as lines, open(temporary, "wb") as file:
                file.writelines(line for number, line in enumerate(lines) if number in kept)

        write_atomically(self.path, write)
        with self._opened:
            self._file = self._open()
        self._length = os.path.getsize(self.path)

    @property
    def _opened(self) -> BinaryIO:
        assert self._file is not None, "a journal is used in a with statement"
        return self._file

    @contextmanager
    def _writing(self, remedy: str) -> Iterator[None]:
        """Within it what the system refuses is a JournalError."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise JournalError(f"{self.path}: cannot be written ({reason}); {remedy}") from None

    def _open(self) -> BinaryIO:
        """Open the file to append to, for this process alone."""
        file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed on exit)
        # Whoever had it may have put a compact one in its place just before.
        if not lock(file) or not _is_at(file, self.path):
            file.close()
            raise JournalError(
                f"{self.path}: another run is writing this file; wait for it, or name another "
                "output"
            )
        return file

    def _parse(self, line: bytes, number: int) -> Record:
        record: Record = {}
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
        if not isinstance(record, dict) or not isinstance(record.get("file"), str):
            raise self._other_file(number)
        version = record.get("version")
        if type(version) is not int:
            raise self._other_file(number)
        if version > RECORD_VERSION:
            raise JournalError(
                f"{self.path}: a later release of captioning wrote this file (version {version}, "
                f"here {RECORD_VERSION}); use that one, or name another output"
            )
        return record

    def _other_file(self, number: int) -> JournalError:
        return JournalError(
            f"{self.path}, line {number}: this command did not write this line; name another output"
        )

    def _refuse_other_files(self) -> None:
        """Raise JournalError for a file that this command has not written."""
        self._opened.seek(0)
        first = self._opened.readline()
        if not first.startswith(_BEGINNING) and not _BEGINNING.startswith(first):
            raise self._other_file(1)
        if first.endswith(b"\n"):
            self._parse(first, 1)

    def _sync(self) -> None:
        with self._writing(_GOES_ON):
            os.fsync(self._opened.fileno())
        self._synced = time.monotonic()


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one that a path leads to."""
    return os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def _whole_lines(file: BinaryIO) -> int:
    """The length in bytes of a file without a last line that does not end."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0
