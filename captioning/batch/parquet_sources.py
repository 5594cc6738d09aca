"""Pictures as bytes in Parquet files, the way data sets are published: which columns hold them."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioning.batch.stores import StoreError, opened
from captioning.batch.tables import selected
from captioning.data.image_names import as_utf8
from captioning.data.photo_sources import printable

CONTENT_COLUMNS = ("bytes", "image", "content")
NAME_COLUMNS = ("file", "file_name", "path", "url", "name", "key")
_ROWS_AT_ONCE = 64  # pictures: a few megabytes


class Columns(NamedTuple):
    """Where a Parquet file has its pictures, and what it calls them.

    Paths of columns: "image.bytes" is the field "bytes" of the column "image".
    """

    content: str
    name: str

    @property
    def whole(self) -> list[str]:
        """The columns that must be read, in which they are."""
        return sorted({path.partition(".")[0] for path in self})


class ParquetFile(NamedTuple):
    """A Parquet file of pictures: the address of its store, its path there and its columns.

    An empty address is this machine's own files.
    """

    store: str
    path: str
    columns: Columns

    @property
    def shown(self) -> str:
        """What messages call it."""
        return printable(self.path)


@dataclass
class Names:
    """What is known of the names of pictures in Parquet files, which are to be each one's own."""

    files: list[ParquetFile] = field(default_factory=list)
    new: dict[str, None] = field(default_factory=dict)  # in order
    repeated: int = 0
    missing: int = 0

    def add(self, file: ParquetFile, taken: Callable[[str], bool]) -> None:
        """Read the names in a file; raises StoreError where that is not possible."""
        for batch in _batches(file, [file.columns.name]):
            for name in _column(batch, file.columns.name).to_pylist():
                if not name:
                    self.missing += 1
                    continue
                name = as_utf8(name)
                if name in self.new or taken(name):
                    self.repeated += 1
                self.new[name] = None
        self.files.append(file)


def columns_of(store: str, path: str) -> Columns:
    """The columns of a Parquet file; raises StoreError where it cannot be read or has none."""
    import pyarrow
    from pyarrow import parquet

    shown = printable(path)
    try:
        with _open(store, path) as file:
            schema = parquet.read_schema(file)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise StoreError(
            f"{shown}: this Parquet file cannot be read ({_first_line(error)}); save it again"
        ) from None
    content = next((path for path in map(_content(schema), CONTENT_COLUMNS) if path), "")
    name = next((path for path in _names(schema, content)), "")
    if not content or not name:
        wanted, known = ("bytes", CONTENT_COLUMNS) if not content else ("names", NAME_COLUMNS)
        raise StoreError(
            f"{shown}: this Parquet file has no column of {wanted} that is called "
            f"{', '.join(known[:-1])} or {known[-1]}; rename the one that has them"
        )
    return Columns(content, name)


def _content(schema: Any) -> Callable[[str], str]:
    """A function from a column to the path of the bytes in it, empty where it has none."""

    def content(name: str) -> str:
        kind = _kind(schema, name)
        if kind is None:
            return ""
        if _is_bytes(kind):
            return name
        return f"{name}.bytes" if _field(kind, "bytes", _is_bytes) else ""

    return content


def _names(schema: Any, content: str) -> Iterator[str]:
    """The columns that may have names, and last the field beside the bytes of Hugging Face."""
    yield from (name for name in NAME_COLUMNS if _is_text(_kind(schema, name)))
    column, _, inside = content.partition(".")
    if inside and _field(_kind(schema, column), "path", _is_text):
        yield f"{column}.path"


def _kind(schema: Any, name: str) -> Any:
    """The type of a column; None where there is no such one, or several."""
    return schema.field(name).type if len(schema.get_all_field_indices(name)) == 1 else None


def _field(kind: Any, name: str, is_right: Callable[[Any], bool]) -> bool:
    """Whether a structure has a field of the right type."""
    from pyarrow import types

    if not types.is_struct(kind) or kind.get_field_index(name) < 0:
        return False
    return is_right(kind.field(name).type)


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return kind is not None and bool(types.is_string(kind) or types.is_large_string(kind))


# Reading --------------------------------------------------------------------------------------


class RowReader:
    """Reads the rows of Parquet files (``file_table``) that a caption process is to get.

    Of names that are not wanted, by their hashes, the bytes go nowhere. A file that is damaged is
    read as far as it goes.
    """

    def __init__(self, wanted: NDArray[np.uint64]) -> None:
        self.wanted = wanted

    def __call__(self, files: Any) -> Iterator[Any]:
        """Tables as of ``picture_table``, a few rows at a time."""
        yield picture_table(names=[], content=[])  # there may be no others
        for store, path, content, name in zip(*files.to_pydict().values(), strict=True):
            file = ParquetFile(store, os.fsdecode(path), Columns(content, name))
            with suppress(StoreError):
                yield from read_rows(file, self.is_wanted)

    def is_wanted(self, names: Sequence[str]) -> list[bool]:
        """Whether each of these names is wanted."""
        keep: list[bool] = np.isin(hashes(names), self.wanted).tolist()
        return keep


def file_table(file: ParquetFile) -> Any:
    """A Parquet file as a row that Ray can send to a reader."""
    import pyarrow

    row = [file.store, os.fsencode(file.path), *file.columns]
    return pyarrow.table([[value] for value in row], ["store", "path", "content", "name"])


def hashes(names: Iterable[str]) -> NDArray[np.uint64]:
    """A hash of each name: equal for equal ones, and hardly ever for others."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), np.uint64)


def picture_table(
    names: Sequence[str],
    content: Any = None,
    store: Sequence[str] | None = None,
    path: Sequence[str] | None = None,
) -> Any:
    """The rows that a caption process gets: pictures by their bytes, or by where they are."""
    import pyarrow

    encoded = None if path is None else [os.fsencode(one) for one in path]
    columns: dict[str, tuple[Any, Any]] = {
        "name": (names, pyarrow.string()),
        "store": (store, pyarrow.string()),
        "path": (encoded, pyarrow.binary()),
        "content": (content, pyarrow.large_binary()),
    }
    nothing = [None] * len(names)
    arrays = [
        pyarrow.array(nothing if values is None else values, kind)
        for values, kind in columns.values()
    ]
    return pyarrow.table(arrays, list(columns))


def read_rows(
    file: ParquetFile, are_wanted: Callable[[Sequence[str]], Sequence[bool]]
) -> Iterator[Any]:
    """Tables of the pictures of a file whose names are wanted, some at a time.

    Raises StoreError where the file cannot be read.
    """
    for batch in _batches(file, file.columns.whole):
        names = [as_utf8(n or "") for n in _column(batch, file.columns.name).to_pylist()]
        wanted = are_wanted(names)
        keep = [bool(name) and is_wanted for name, is_wanted in zip(names, wanted, strict=True)]
        if any(keep):
            content = _column(batch, file.columns.content).to_pylist()
            yield selected(picture_table(names, content), keep)


def _batches(file: ParquetFile, columns: list[str]) -> Iterator[Any]:
    """What a file has in some columns, a few rows at a time."""
    import pyarrow
    from pyarrow import parquet

    try:
        with _open(file.store, file.path) as opened_file:
            reader = parquet.ParquetFile(opened_file)
            for batch in reader.iter_batches(_ROWS_AT_ONCE, columns=columns):
                yield pyarrow.Table.from_batches([batch])
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise StoreError(
            f"{file.shown}: this Parquet file is damaged ({_first_line(error)}); save it again"
        ) from None


def _open(store: str, path: str) -> Any:
    """A file for reading at any place in it."""
    return opened(store).files.open_input_file(path) if store else open(path, "rb")


def _column(table: Any, path: str) -> Any:
    """A column of a table, or a field of one, in one piece."""
    from pyarrow import compute

    name, _, inside = path.partition(".")
    column = table[name].combine_chunks()
    return compute.struct_field(column, inside) if inside else column


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
