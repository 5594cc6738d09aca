"""Reads files that ``torch.save`` wrote of plain types and tensors, without PyTorch.

Such a file is a zip archive of uncompressed records: ``data.pkl``, a pickle of protocol 2, and one
raw array for each storage that tensors are views of. Of the pickle's opcodes
(https://docs.python.org/3/library/pickletools.html) only those are known here that plain types and
tensors need, and of names only those below: nothing is imported, nothing is called. No number of
the file is trusted: an array lies within its storage, a storage is as large as its record, the
records together are no larger than the file, and the pickle has a limit in bytes and in operations.
"""

import itertools
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

_TENSOR, _ORDERED = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
_SIZE = "torch Size"  # a tuple
_STORAGES = {
    f"torch {name}Storage": np.dtype(kind)
    for name, kind in (
        *(("Half", "f2"), ("Float", "f4"), ("Double", "f8"), ("Bool", "?"), ("Byte", "u1")),
        *(("Char", "i1"), ("Short", "i2"), ("Int", "i4"), ("Long", "i8"), ("ComplexFloat", "c8")),
    )
}
# Tensors that numpy has no array for; and the names among what describes them.
_OTHER = (
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_meta_tensor_no_storage",
    "torch.serialization _get_layout",
)
_TYPES = ("float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64")
_NAMES = {_TENSOR, _ORDERED, _SIZE, *_STORAGES, *_OTHER, *(f"torch {name}" for name in _TYPES)}
_KEYS = (str, int, float, bool, type(None))  # a tuple's hash recurses, as deep as the file likes
Item = TypeVar("Item")

_LOCAL_HEADER = 30  # bytes of a zip file, before the record's name
# Of the pickle: a million photographs are recorded in fewer. An operation of one byte can take 80.
_MOST_BYTES, _MOST_OPERATIONS = 2**26, 2**22


class PlainFileError(ValueError):
    """A file that holds something else, or is cut short."""


class ChangedFileError(PlainFileError):
    """A file whose bytes are others than those that were written."""


class NoArray:
    """Stands for a tensor that numpy has no array for: a sparse one, or one without numbers."""


class _Name(NamedTuple):
    text: str  # a module and a name in it


class _Storage(NamedTuple):
    kind: str
    numbers: NDArray[Any]  # (M,)


def read_plain(
    path: str | os.PathLike[str], tensor: Callable[[NDArray[Any]], Any] = np.asarray
) -> Any:
    """Read plain types, and tensors as arrays; those of one storage share its memory.

    Plain are None, truths, numbers, strings, lists, tuples and dicts. ``tensor`` makes of an array
    what is wanted in its place. Raises OSError where the file cannot be opened, and PlainFileError
    for anything wrong in it.
    """
    with open(path, "rb") as file:
        try:
            archive = _Archive(file)
            _require(archive.records["data.pkl"].file_size <= _MOST_BYTES)
            return _Pickle(archive.read("data.pkl").tobytes(), archive.storage, tensor).load()
        except PlainFileError:
            raise
        except Exception as error:  # as bytes at random fail: KeyError, struct.error, MemoryError
            raise PlainFileError(f"{type(error).__name__}: {error}") from None


class _Archive:
    """The records of a file, by their names inside the archive's one folder."""

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        records = zipfile.ZipFile(file).infolist()
        # Records that share bytes, or say that they grow, would take more memory than the file.
        _require(sum(each.file_size for each in records) <= os.fstat(file.fileno()).st_size)
        folder = records[0].filename.partition("/")[0]
        self.records = {each.filename.removeprefix(f"{folder}/"): each for each in records}
        order = self.read("byteorder").tobytes() if "byteorder" in self.records else b"little"
        _require(order in (b"little", b"big"))
        self.swapped = order.decode() != sys.byteorder
        self.storages: dict[str, _Storage] = {}

    def read(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a record, read once into memory of their own."""
        record = self.records[name]
        _require(record.compress_type == zipfile.ZIP_STORED)
        self.file.seek(record.header_offset)
        header = self.file.read(_LOCAL_HEADER)
        self.file.seek(sum(struct.unpack_from("<2H", header, 26)), os.SEEK_CUR)
        content = np.empty(record.file_size, np.uint8)
        _require(self.file.readinto(content.data) == len(content))
        if zlib.crc32(content.data) != record.CRC:
            raise ChangedFileError(f"{name} has another checksum")
        return content

    def storage(self, kind: str, key: str, count: int) -> _Storage:
        """The numbers of a storage: ``count`` of them, in this machine's byte order."""
        if key not in self.storages:
            dtype = _STORAGES[kind]
            content = self.read(f"data/{key}")
            _require(len(content) == count * dtype.itemsize)
            if dtype.kind == "b":  # of which any byte but 0 and 1 is none
                content = (content != 0).view(np.uint8)
            numbers = content.view(dtype)
            self.storages[key] = _Storage(kind, numbers.byteswap() if self.swapped else numbers)
        _require((self.storages[key].kind, len(self.storages[key].numbers)) == (kind, count))
        return self.storages[key]


class _Pickle:
    """The machine that a pickle is a program of: a stack, marks in it, and a memo."""

    def __init__(
        self,
        data: bytes,
        storage: Callable[[str, str, int], _Storage],
        tensor: Callable[[NDArray[Any]], Any],
    ) -> None:
        self.data, self.at, self.storage, self.tensor = data, 0, storage, tensor
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Run the program, and return what it leaves."""
        operations, data = _OPERATIONS, self.data
        for _ in itertools.repeat(None, _MOST_OPERATIONS):
            if (code := data[self.at]) == ord("."):
                (content,) = self.stack
                return content
            self.at += 1
            operations[code](self)
        raise PlainFileError("it is of more operations than any checkpoint")

    def take(self, count: int) -> bytes:
        """The next bytes of the program."""
        self.at += count
        _require(self.at <= len(self.data))
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """The next number, in a format of ``struct``."""
        (number,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return number

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self.data.index(b"\n", self.at)
        return self.take(end + 1 - self.at)[:-1].decode("ascii")

    def pop_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack."""
        mark = self.marks.pop()
        _require(mark <= len(self.stack))
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def protocol(self) -> None:
        _require(self.number("B") == 2)

    def text(self) -> None:
        self.stack.append(self.take(self.number("<I")).decode("utf-8", "surrogatepass"))

    def long(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.number("B")), "little", signed=True))

    def group(self, count: int) -> None:
        _require(count <= len(self.stack))
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        _require(type(self.stack[-1]) is list)
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        table, keys = self.stack[-1], items[::2]
        _require(type(table) is dict and all(type(key) in _KEYS for key in keys))
        table.update(zip(keys, items[1::2], strict=True))

    def pop(self, count: int) -> list[Any]:
        """Take this many items off the stack."""
        self.marks.append(len(self.stack) - count)
        _require(self.marks[-1] >= 0)
        return self.pop_mark()

    def pop_typed(self, kind: type[Item]) -> Item:
        """Take an item of this type, and of none below it, off the stack."""
        item = self.stack.pop()
        _require(type(item) is kind)
        return item  # type: ignore[no-any-return]

    def name(self) -> None:
        name = f"{self.line()} {self.line()}"
        if name not in _NAMES:
            raise PlainFileError(f"it names {name!r}")
        self.stack.append(_Name(name))

    def persistent(self) -> None:
        what, kind, key, _, count = self.pop_typed(tuple)
        _require([type(part) for part in (what, kind, key, count)] == [str, _Name, str, int])
        _require(what == "storage")
        self.stack.append(self.storage(kind.text, key, count))

    def call(self) -> None:
        arguments, name = self.pop_typed(tuple), self.pop_typed(_Name).text
        if name == _TENSOR:
            self.stack.append(self.tensor(_array(*arguments[:4])))
        elif name == _ORDERED:
            _require(not arguments)
            self.stack.append({})
        elif name == _SIZE:
            (size,) = arguments
            _require(type(size) is tuple)
            self.stack.append(size)
        else:
            _require(name in _OTHER)
            self.stack.append(NoArray())

    def build(self) -> None:
        """Leave out the attributes of a state dict: they are the network's versions."""
        del self.stack[-1]
        _require(type(self.stack[-1]) is dict)


def _array(storage: _Storage, start: int, shape: Any, strides: Any) -> NDArray[Any]:
    """A view of a storage, all of it within; start and strides count numbers, not bytes."""
    _require([type(part) for part in (storage, shape, strides)] == [_Storage, tuple, tuple])
    _require(all(type(number) is int and number >= 0 for number in (start, *shape, *strides)))
    numbers, width = storage.numbers, storage.numbers.itemsize
    if 0 in shape:
        return np.empty(shape, numbers.dtype)
    last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    _require(start + last < len(numbers))
    return np.ndarray(shape, numbers.dtype, numbers, start * width, [s * width for s in strides])


def _require(condition: bool) -> None:
    if not condition:
        raise PlainFileError("it was not written by torch.save, or is damaged")


def _memorise(form: str) -> Callable[[_Pickle], None]:
    def operation(pickle: _Pickle) -> None:
        pickle.memo[pickle.number(form)] = pickle.stack[-1]

    return operation


def _recall(form: str) -> Callable[[_Pickle], None]:
    return lambda pickle: pickle.stack.append(pickle.memo[pickle.number(form)])


def _number(form: str) -> Callable[[_Pickle], None]:
    return lambda pickle: pickle.stack.append(pickle.number(form))


def _push(make: Callable[[], Any]) -> Callable[[_Pickle], None]:
    return lambda pickle: pickle.stack.append(make())


_OPERATIONS: dict[int, Callable[[_Pickle], Any]] = {
    ord(code): operation
    for code, operation in {
        "\x80": _Pickle.protocol,
        "(": lambda pickle: pickle.marks.append(len(pickle.stack)),
        "N": _push(lambda: None),
        "\x88": _push(lambda: True),
        "\x89": _push(lambda: False),
        "K": _number("<B"),
        "M": _number("<H"),
        "J": _number("<i"),
        "\x8a": _Pickle.long,
        "G": _number(">d"),
        "X": _Pickle.text,
        ")": _push(tuple),
        "]": _push(list),
        "}": _push(dict),
        "\x85": lambda pickle: pickle.group(1),
        "\x86": lambda pickle: pickle.group(2),
        "\x87": lambda pickle: pickle.group(3),
        "t": lambda pickle: pickle.stack.append(tuple(pickle.pop_mark())),
        "a": lambda pickle: pickle.extend(pickle.pop(1)),
        "e": lambda pickle: pickle.extend(pickle.pop_mark()),
        "s": lambda pickle: pickle.update(pickle.pop(2)),
        "u": lambda pickle: pickle.update(pickle.pop_mark()),
        "q": _memorise("<B"),
        "r": _memorise("<I"),
        "h": _recall("<B"),
        "j": _recall("<I"),
        "c": _Pickle.name,
        "Q": _Pickle.persistent,
        "R": _Pickle.call,
        "b": _Pickle.build,
    }.items()
}
