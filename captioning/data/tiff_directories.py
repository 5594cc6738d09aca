"""TIFF: its directories, of which only those tags are read that say what its pixels are.

A tag may claim millions of values, a file have millions of directories, and all of them may mean
the same bytes. So few are looked at, and whoever decodes the pixels sees no others.
"""

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, BinaryIO, Literal, NamedTuple, cast

Tags = Mapping[int, Any]

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS, STRIP_SIZES = 266, 273, 274, 277, 278, 279
MOST_VALUE, PLANAR, PREDICTOR, EXTRA_SAMPLES, SAMPLE_FORMAT = 281, 284, 317, 338, 339
TILE_WIDTH, TILE_LENGTH, TILES, TILE_SIZES = 322, 323, 324, 325
OLD_SUBFILE, SUB_DIRECTORIES, DNG = 255, 330, 50706

_LISTS = {BITS, STRIPS, STRIP_SIZES, MOST_VALUE, SUB_DIRECTORIES, TILES, TILE_SIZES}
_LISTS |= {EXTRA_SAMPLES, SAMPLE_FORMAT}
_KNOWN = {SUBFILE, OLD_SUBFILE, WIDTH, LENGTH, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION}
_KNOWN |= {SAMPLES, ROWS, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, DNG, *_LISTS}
# What decoders need besides: of fax, palettes, inks, JPEG and YCbCr, LERC.
_OF_DECODERS = {263, 292, 293, 320, 332, 334, 340, 341, 347, *range(512, 522), *range(529, 533)}
_OF_DECODERS |= {50674}
_SEEN = (_KNOWN | _OF_DECODERS) - {SUB_DIRECTORIES, DNG}

_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
_CODES |= {16: "Q", 17: "q", 18: "Q"}  # of the types that are numbers
_SIZES = {2: 1, 5: 8, 7: 1, 10: 8, **{kind: struct.calcsize(c) for kind, c in _CODES.items()}}
_MOST_VALUES = 1 << 18  # four planes of 65,536 strips
_MOST_VISITED, _MOST_DIRECTORIES = 1000, 100


class Header(NamedTuple):
    """How a TIFF is written: its byte order, whether it is a BigTIFF; and its first directory."""

    order: Literal["<", ">"]
    is_big: bool
    first: int

    @property
    def pointer(self) -> str:
        """The code of an offset or a count."""
        return f"{self.order}{'Q' if self.is_big else 'I'}"


class Directory(NamedTuple):
    """One picture of a TIFF: where its directory is, its tags, the entries decoders may see."""

    start: int
    tags: Tags
    entries: tuple[bytes, ...]


def read_header(stream: BinaryIO) -> Header:
    """Read the header; raises struct.error where it is not whole."""
    stream.seek(0)
    head = stream.read(16)
    order: Literal["<", ">"] = "<" if head[:1] == b"I" else ">"
    is_big = 43 in head[2:4]
    (first,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", head, 8 if is_big else 4)
    return Header(order, is_big, first)


def directories(stream: BinaryIO, header: Header) -> list[Directory]:
    """The pictures of a TIFF and, behind each, those within it; damaged ones are left out."""
    found: list[Directory] = []
    waiting = deque([header.first])
    seen = {0}
    while waiting and len(found) < _MOST_DIRECTORIES and len(seen) < _MOST_VISITED:
        start = waiting.popleft()
        if start in seen:
            continue
        seen.add(start)
        try:
            directory, following = _directory(stream, header, start)
        except (ValueError, OverflowError, struct.error):
            continue
        if WIDTH in directory.tags and LENGTH in directory.tags:
            found.append(directory)
        waiting.extend(directory.tags.get(SUB_DIRECTORIES, ())[:_MOST_DIRECTORIES])
        waiting.append(following)
    return found


def orientation(exif: bytes) -> int | None:
    """Which way up the photograph of some EXIF is, by its first directory; None where unsaid.

    Raises ValueError, OverflowError or struct.error where it is damaged.
    """
    header = read_header(stream := BytesIO(exif))
    value = _directory(stream, header, header.first)[0].tags.get(ORIENTATION)
    return value if isinstance(value, int) else None


def _directory(stream: BinaryIO, header: Header, start: int) -> tuple[Directory, int]:
    """The directory at ``start``, and where the next is."""
    stream.seek(start)
    size, count_code = (20, "Q") if header.is_big else (12, "H")
    (count,) = _unpack(header.order + count_code, stream)
    tags, seen = dict[int, Any](), list[bytes]()
    raw = stream.read(size * min(count, 1 << 16))
    if len(raw) < size * count:
        raise ValueError("a directory beyond the end of the file")
    (following,) = _unpack(header.pointer, stream) or (0,)
    for at in range(0, len(raw), size):
        entry = raw[at : at + size]
        (tag,) = struct.unpack_from(f"{header.order}H", entry)
        if tag in _KNOWN | _OF_DECODERS and tag not in tags:
            values = _values(stream, header, entry)
            if values:
                tags[tag] = values if tag in _LISTS else values[0]
            if tag in _SEEN:
                seen.append(entry)
    return Directory(start, tags, tuple(seen)), following


def _values(stream: BinaryIO, header: Header, entry: bytes) -> tuple[Any, ...]:
    """The values of an entry; empty where they are no numbers."""
    kind, count = struct.unpack_from(f"{header.order}H{header.pointer[1]}", entry, 2)
    if count > _MOST_VALUES:
        raise ValueError("too many values")
    size = _SIZES.get(kind, 0) * count
    room = entry[-struct.calcsize(header.pointer) :]
    if size > len(room):
        stream.seek(struct.unpack(header.pointer, room)[0])
        room = stream.read(size)
    if len(room) < size:
        raise ValueError("values beyond the end of the file")
    if kind not in _CODES:
        return ()
    return struct.unpack_from(f"{header.order}{count}{_CODES[kind]}", room)


def _unpack(code: str, stream: BinaryIO) -> tuple[Any, ...]:
    """One number; nothing at the end of the file."""
    raw = stream.read(struct.calcsize(code))
    return struct.unpack(code, raw) if len(raw) == struct.calcsize(code) else ()


class OneDirectory:
    """A TIFF with a single directory, of few tags, in its place: as decoders are to see it."""

    def __init__(self, stream: BinaryIO, header: Header, directory: Directory) -> None:
        self._stream = stream
        pointer = struct.pack(header.pointer, directory.start)
        count_code = header.order + ("Q" if header.is_big else "H")
        count = struct.pack(count_code, len(directory.entries))
        entries = count + b"".join(directory.entries) + bytes(len(pointer))
        # It has at most as many tags as the one that was there, so it covers nothing else.
        self._patches = sorted([(len(pointer), pointer), (directory.start, entries)])
        self._at = 0

    def binary(self) -> BinaryIO:
        """The stream, as a type that decoders take."""
        return cast(BinaryIO, self)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; all that are left where it is negative."""
        data = b"".join(self._pieces(self._at, size))
        self._at += len(data)
        return data

    def _pieces(self, at: int, size: int) -> Iterator[bytes]:
        """What is there from ``at``, at most ``size`` bytes: in turn of the file and of ours."""
        for start, patch in self._patches:
            if start + len(patch) <= at:
                continue
            if at < start:
                self._stream.seek(at)
                piece = self._stream.read(start - at if size < 0 else min(size, start - at))
                yield piece
                at, size = at + len(piece), size - len(piece) if size > 0 else size
            if at < start or not size:
                return
            piece = patch[at - start :][: None if size < 0 else size]
            yield piece
            at, size = at + len(piece), size - len(piece) if size > 0 else size
        if size:
            self._stream.seek(at)
            yield self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place."""
        self._at = offset + {0: 0, 1: self._at, 2: self._stream.seek(0, 2)}[whence]
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at
