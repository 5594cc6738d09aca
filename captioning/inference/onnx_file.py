"""Writes ONNX models: as much of the format as the engines' graphs need.

A model is a protocol buffer: a row of fields, each a number, a kind and a value
(https://protobuf.dev/programming-guides/encoding). The numbers below are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). The package ``onnx`` writes the same, but
it would be a sixth of all that captioning installs; tests read with it what is written here.
"""

import io
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OPERATORS = 18  # the version of the set of operators: the oldest that has all we need
FORMAT = 8  # the version of the format that came with it

Attribute = float | int | str | Sequence[int]
# TensorProto.DataType
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10}
FLOAT = _TYPES["float32"]  # what Cast makes
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5  # kinds of fields
_ELSEWHERE = 1  # TensorProto.DataLocation.EXTERNAL
_LARGE = 2**12  # bytes of a weight that may be elsewhere; runtimes want small constants inside


class _Weight(NamedTuple):
    """An array that is made only when it is written, so that not all are in memory at once."""

    name: str
    described: bytes  # the fields of TensorProto without the numbers
    size: int  # bytes
    make: Callable[[], NDArray[Any]]

    def array(self) -> NDArray[Any]:
        array = np.ascontiguousarray(self.make())
        if array.nbytes != self.size:
            raise ValueError(f"a weight has {array.nbytes} bytes in place of {self.size}")
        return array

    def content(self) -> memoryview:
        """The numbers as bytes."""
        return self.array().reshape(-1).view(np.uint8).data

    def head(self) -> bytes:
        """What comes before the numbers in the field of GraphProto."""
        head = self.described + _head(9, _LENGTH) + _varint(self.size)
        return _head(5, _LENGTH) + _varint(len(head) + self.size) + head

    def elsewhere(self) -> bytes:
        """The field of GraphProto for numbers that are handed over beside the model."""
        places = {"location": self.name, "offset": "0", "length": str(self.size)}
        entries = [_bytes(13, _bytes(1, k) + _bytes(2, v)) for k, v in places.items()]
        return _bytes(5, self.described + b"".join(entries) + _int(14, _ELSEWHERE))


class Graph:
    """A graph of operators that grows from its inputs to its outputs.

    Values are known by their names. Operators are those of
    https://onnx.ai/onnx/operators/, version 18.
    """

    def __init__(self, name: str) -> None:
        self._parts: list[bytes | _Weight] = [_bytes(2, name)]  # of GraphProto
        self._values = 0

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        """Add an input; a dimension that is not fixed has a name."""
        self._parts.append(_bytes(11, _value_info(name, kind, shape)))
        return name

    def output(self, name: str, kind: str, shape: Sequence[int | str]) -> None:
        """Give out a value that an operator has made under this name."""
        self._parts.append(_bytes(12, _value_info(name, kind, shape)))

    def constant(self, value: Any) -> str:
        """Add a small constant: an array, or a number with a type of NumPy's."""
        array = np.asarray(value)
        return self.weight(array.dtype.name, array.shape, lambda: array)

    def weight(self, kind: str, shape: Sequence[int], make: Callable[[], NDArray[Any]]) -> str:
        """Add a constant of this type and shape, which ``make`` makes when it is written."""
        name = self._new_name()
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        fields = [*(_int(1, length) for length in shape), _int(2, _TYPES[kind]), _bytes(8, name)]
        self._parts.append(_Weight(name, b"".join(fields), size, make))
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        """Add an operator of one output, and return the output's name."""
        (name,) = self.ops(kind, *inputs, outputs=(output or self._new_name(),), **attributes)
        return name

    def ops(
        self, kind: str, *inputs: str, outputs: Sequence[str] | int, **attributes: Attribute
    ) -> list[str]:
        """Add an operator of several outputs, named or so many, and return their names."""
        if isinstance(outputs, int):
            outputs = [self._new_name() for _ in range(outputs)]
        node = [_bytes(1, name) for name in inputs]  # NodeProto
        node += [_bytes(2, name) for name in outputs]
        node += [_bytes(4, kind), *(_attribute(*each) for each in attributes.items())]
        self._parts.append(_bytes(1, b"".join(node)))
        return list(outputs)

    def to_bytes(self) -> bytes:
        """The model of this graph, as a file would hold it."""
        # To join bytes would need all weights at once; to let a file grow would copy it.
        parts = [part for each in self._parts for part in _with_content(each)]
        size = sum(part.size if isinstance(part, _Weight) else len(part) for part in parts)
        head = _model_head(size)
        file = io.BytesIO()
        file.seek(len(head) + size - 1)
        file.write(b"\0")
        file.seek(0)
        file.write(head)
        for part in parts:
            file.write(part if isinstance(part, bytes) else part.content())
        return file.getvalue()

    def without_weights(self) -> tuple[bytes, dict[str, NDArray[Any]]]:
        """The model with its large weights elsewhere, and these by name."""
        parts, weights = [], dict[str, NDArray[Any]]()
        for part in self._parts:
            if isinstance(part, _Weight) and part.size >= _LARGE:
                weights[part.name] = part.array()
                parts.append(part.elsewhere())
            else:
                inside = _with_content(part)
                parts += [p if isinstance(p, bytes) else bytes(p.content()) for p in inside]
        content = b"".join(parts)
        return _model_head(len(content)) + content, weights

    def _new_name(self) -> str:
        self._values += 1
        return f"v{self._values}"


def _with_content(part: "bytes | _Weight") -> "list[bytes | _Weight]":
    """A part of GraphProto as what is written: a weight has a head before its numbers."""
    return [part] if isinstance(part, bytes) else [part.head(), part]


def _model_head(size: int) -> bytes:
    """What comes before a GraphProto of ``size`` bytes in ModelProto."""
    return _int(1, FORMAT) + _bytes(8, _int(2, OPERATORS)) + _head(7, _LENGTH) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _int(field: int, value: int) -> bytes:
    return _head(field, _VARINT) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _head(field, _LENGTH) + _varint(len(value)) + value


def _value_info(name: str, kind: str, shape: Sequence[int | str]) -> bytes:
    """ValueInfoProto: a name, and the type of its tensor."""
    lengths = [_int(1, each) if isinstance(each, int) else _bytes(2, each) for each in shape]
    dimensions = b"".join(_bytes(1, each) for each in lengths)
    tensor = _int(1, _TYPES[kind]) + _bytes(2, dimensions)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    """A field of NodeProto with an AttributeProto."""
    if isinstance(value, float):
        content = _head(2, _FIXED32) + struct.pack("<f", value) + _int(20, 1)
    elif isinstance(value, int):
        content = _int(3, value) + _int(20, 2)
    elif isinstance(value, str):
        content = _bytes(4, value) + _int(20, 3)
    else:
        content = b"".join(_int(8, each) for each in value) + _int(20, 7)
    return _bytes(5, _bytes(1, name) + content)
