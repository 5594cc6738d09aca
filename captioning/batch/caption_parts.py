"""A folder of captions: numbered Parquet files, each written whole, which a later run goes on with.

Each picture has one row in the end. While a run tries again what failed before, a picture may have
two for a while: a caption counts more than an error, and of two equals the later one.
"""

import os
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from captioning.batch.folder import Stamp
from captioning.batch.tables import as_table, caption_schema, selected
from captioning.errors import CaptioningError, SettingError
from captioning.files import lock, require_writable, write_atomically
from captioning.inference.export import RECORD_VERSION

MOST_ROWS = 20_000  # of a part: some megabytes
MOST_SECONDS = 30.0  # what a killed run may lose
_VERSION = b"captioning.version"
_LOCK = ".captioning.lock"
_PART = re.compile(r"part-(\d+)\.parquet")
_LEFTOVER = re.compile(r"\.part-\d+\.parquet\.\d+")


class PartsError(CaptioningError):
    """A folder of captions that cannot be used; the message says what to do."""


class Row(NamedTuple):
    """What is known of a picture's row."""

    part: int
    stamp: Stamp | None = None
    error: str = ""


def parts_schema() -> Any:
    """The columns of a part, a pyarrow.Schema.

    Those of a Parquet file of captions, with the evidence of each word where it was asked for; the
    model, and by what a change of the picture's file is recognised.
    """
    import pyarrow

    number, text = pyarrow.float64(), pyarrow.string()
    schema = caption_schema()
    index = schema.get_field_index("words")
    evidence = pyarrow.struct([("nats", number), ("x", number), ("y", number)])
    word = pyarrow.struct([*schema.field(index).type.value_type, ("evidence", evidence)])
    schema = schema.set(index, pyarrow.field("words", pyarrow.list_(word)))
    for name, kind in (("model", text), ("bytes", pyarrow.int64()), ("modified", text)):
        schema = schema.append(pyarrow.field(name, kind))
    return schema.with_metadata({_VERSION: str(RECORD_VERSION)})


def rows_of(records: Sequence[Mapping[str, Any]]) -> Any:
    """Records of pictures as the rows of a part."""
    return as_table(records, parts_schema())


class CaptionParts:
    """The captions in a folder; a context manager: in it, no other process writes the folder.

    ``rows`` has what is known of each picture, by its name.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self.model = folder, model
        self.rows: dict[str, Row] = {}
        self._superseded: defaultdict[int, set[str]] = defaultdict(set)
        self._next = 0  # the number of the part that is to be written
        self._waiting: list[Any] = []
        self._since = time.monotonic()
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Read what earlier runs have written, and put right what a crash has left.

        Raises PartsError and SettingError for a folder that is not this command's or is of another
        model, WriteError where it cannot be written.
        """
        self._require_own()
        require_writable(self._path(0))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._read()
            self._remove_superseded()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Write what waits to be written, whatever has ended the run, unless it was the disk."""
        try:
            if not isinstance(error, OSError):
                self.flush()
                self._remove_superseded()
        finally:
            if self._lock is not None:
                self._lock.close()

    def absolute_paths(self) -> frozenset[str]:
        """Where the parts are, by absolute paths."""
        return frozenset(os.path.abspath(self._path(number)) for number in self._numbers())

    def add(self, table: Any) -> None:
        """Add rows, of pictures that this run has not added yet.

        Raises WriteError where they cannot be written; then what was written before is kept.
        """
        keep = []
        for name, error, size, modified in zip(
            *(table[c].to_pylist() for c in ("file", "error", "bytes", "modified")), strict=True
        ):
            before = self.rows.get(name)
            # A caption is worth more than the news that its file is gone.
            is_news = before is None or not error or before.error not in ("", error)
            keep.append(is_news)
            if not is_news:
                continue
            if before is not None:
                self._superseded[before.part].add(name)
            self.rows[name] = Row(self._next, _stamp(size, modified), error or "")
        self._waiting.append(selected(table, keep))
        is_due = time.monotonic() - self._since >= MOST_SECONDS
        if is_due or sum(len(each) for each in self._waiting) >= MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits to be written as the next part."""
        import pyarrow

        table = pyarrow.concat_tables([parts_schema().empty_table(), *self._waiting])
        if len(table):
            self._write(self._next, table)
            self._next += 1
        self._waiting.clear()
        self._since = time.monotonic()

    # Reading ----------------------------------------------------------------------------------

    def _require_own(self) -> None:
        """Raise PartsError for what is no folder, or holds other things and no part."""
        if not os.path.lexists(self.folder):
            return
        if not self.folder.is_dir():
            raise PartsError(
                f"{self.folder}: this is a file, and --ray writes a folder; name another output"
            )
        names = [name for name in sorted(os.listdir(self.folder)) if not name.startswith(".")]
        others = [name for name in names if not _PART.fullmatch(name)]
        tables = [name for name in others if name.endswith(".parquet")]
        if tables or (others and len(others) == len(names)):
            raise PartsError(
                f"{self.folder}: this folder holds other files, such as {(tables or others)[0]}; "
                "name a new one, or one that this command has written"
            )

    def _locked(self) -> BinaryIO:
        """The file that says that this process writes the folder."""
        file = open(self.folder / _LOCK, "ab")  # noqa: SIM115 (closed on exit)
        if not lock(file):
            file.close()
            raise PartsError(
                f"{self.folder}: another run is writing this folder; wait for it, or name another "
                "output"
            )
        return file

    def _read(self) -> None:
        """Read what is there, after removing what was not finished."""
        for name in os.listdir(self.folder):
            if _LEFTOVER.fullmatch(name):
                (self.folder / name).unlink()
        for number in self._numbers():
            self._next = number + 1
            for name, row in self._rows_in(number):
                before = self.rows.get(name)
                if before is not None:
                    is_worse = bool(row.error) and not before.error
                    self._superseded[number if is_worse else before.part].add(name)
                    if is_worse:
                        continue
                self.rows[name] = row

    def _rows_in(self, number: int) -> Iterator[tuple[str, Row]]:
        """The rows of a part, by the names of their pictures."""
        path = self._path(number)
        columns = ["file", "error", "model", "bytes", "modified"]
        for file, error, model, *stamp in zip(
            *(column.to_pylist() for column in self._load(path, columns).columns), strict=True
        ):
            if not error and model != self.model:
                raise SettingError(
                    f"{path}: these captions are of another model; name another output, or use the "
                    "model that made them"
                )
            yield file, Row(number, _stamp(*stamp), error or "")

    def _load(self, path: Path, columns: list[str] | None = None) -> Any:
        """A part as a table; raises PartsError for a file that this command did not write."""
        from pyarrow import parquet

        version, table = 0, None
        with suppress(OSError, ValueError, KeyError), open(path, "rb") as file:
            reader = parquet.ParquetFile(file)
            version = int((reader.schema_arrow.metadata or {})[_VERSION])
            table = reader.read(columns=columns).select(columns or parts_schema().names)
        if version > RECORD_VERSION:
            raise PartsError(
                f"{path}: a later release of captioning wrote this file; use that one, or name "
                "another output"
            )
        if table is None:
            raise PartsError(
                f"{path}: this file is damaged, or another program's; remove it, or name another "
                "output"
            )
        return table

    # Writing ----------------------------------------------------------------------------------

    def _remove_superseded(self) -> None:
        """Write the parts anew whose rows others have replaced, which are on the disk by now."""
        for number, names in sorted(self._superseded.items()):
            table = self._load(self._path(number))
            rest = selected(table, [name not in names for name in table["file"].to_pylist()])
            if len(rest):
                self._write(number, rest)
            else:
                self._path(number).unlink()
        self._superseded.clear()

    def _write(self, number: int, table: Any) -> None:
        from pyarrow import parquet

        def write(temporary: Path) -> None:
            # Python's file has errors that say what is wrong with the disk, and nothing else.
            with open(temporary, "wb") as file:
                parquet.write_table(table, file)

        table = table.replace_schema_metadata(parts_schema().metadata)
        write_atomically(self._path(number), write)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05}.parquet"

    def _numbers(self) -> list[int]:
        """The numbers of the parts that there are."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted(int(match[1]) for match in map(_PART.fullmatch, names) if match)


def _stamp(size: int | None, modified: str | None) -> Stamp | None:
    return None if size is None or modified is None else Stamp(size, modified)
