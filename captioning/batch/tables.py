"""Records as the tables of other programs: CSV and Parquet, written whole and at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from captioning.data.image_names import as_utf8
from captioning.errors import MissingPackageError, SettingError
from captioning.files import write_atomically
from captioning.inference.export import csv_line

Record = Mapping[str, Any]

JSON_LINES = ".jsonl"
CSV_COLUMNS = ("image", "caption", "confidence", "warning", "error")
_ROWS_AT_ONCE = 1000


def require_table(path: Path) -> None:
    """Raise SettingError for another suffix, MissingPackageError where Parquet has no writer."""
    suffix = path.suffix.lower()
    if suffix != JSON_LINES and suffix not in _WRITERS:
        raise SettingError(
            f"{path}: captions are written as .jsonl, .csv or .parquet; name such a file"
        )
    if suffix == ".parquet":
        _pyarrow()


def write_table(path: Path, records: Iterable[Record]) -> None:
    """Write records in the kind of table that the suffix of ``path`` names.

    Raises SettingError and MissingPackageError as ``require_table`` does.
    """
    require_table(path)
    write = _WRITERS[path.suffix.lower()]
    write_atomically(path, lambda temporary: write(temporary, records))


def _write_csv(path: Path, records: Iterable[Record]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(csv_line(CSV_COLUMNS))
        for record in records:
            # Some programs read a CSV line by line.
            caption = " ".join((record.get("caption") or "").split())
            others = (record.get(name) for name in CSV_COLUMNS[2:])
            texts = ("" if value is None else str(value) for value in others)
            file.write(csv_line([as_utf8(record["file"]), caption, *texts]))


def _write_parquet(path: Path, records: Iterable[Record]) -> None:
    _, parquet = _pyarrow()
    schema = caption_schema()
    # Python's file has errors that say what is wrong with the disk, and nothing else.
    with open(path, "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        for rows in _in_parts(records):
            writer.write_table(as_table(rows, schema))


def caption_schema() -> Any:
    """The columns of a Parquet file of captions, a pyarrow.Schema."""
    pyarrow, _ = _pyarrow()
    word = pyarrow.struct(
        [
            ("word", pyarrow.string()),
            ("probability", pyarrow.float64()),
            ("x", pyarrow.float64()),
            ("y", pyarrow.float64()),
        ]
    )
    return pyarrow.schema(
        [
            ("file", pyarrow.string()),
            ("caption", pyarrow.string()),
            ("confidence", pyarrow.float64()),
            ("warning", pyarrow.string()),
            ("error", pyarrow.string()),
            ("words", pyarrow.list_(word)),
        ]
    )


def as_table(records: Sequence[Record], schema: Any) -> Any:
    """Records as a pyarrow.Table of these columns; what a record lacks is null."""
    pyarrow, _ = _pyarrow()
    columns = {name: [_value(record, name) for record in records] for name in schema.names}
    return pyarrow.table(columns, schema=schema)


def selected(table: Any, keep: Sequence[bool]) -> Any:
    """The rows of a pyarrow.Table that are to be kept, even of one without rows."""
    pyarrow, _ = _pyarrow()
    return table.filter(pyarrow.array(keep, pyarrow.bool_()))


def _value(record: Record, name: str) -> Any:
    value = record.get(name)
    return as_utf8(value) if isinstance(value, str) else value


def _in_parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records some at a time: neither all in memory nor each by itself."""
    remaining = iter(records)
    while rows := list(islice(remaining, _ROWS_AT_ONCE)):
        yield rows


def _pyarrow() -> tuple[Any, Any]:
    """The package that writes Parquet, which is not always installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingPackageError(
            "writing Parquet needs pyarrow; install it (pip install pyarrow), or name a .csv"
        ) from None
    return pyarrow, parquet


_WRITERS: dict[str, Callable[[Path, Iterable[Record]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
