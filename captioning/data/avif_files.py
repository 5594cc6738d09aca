"""AVIF: decoded by Pillow, after a look at how large the pictures in its streams of AV1 are.

The boxes of the file say how large a picture is, and so does its stream, and the decoder makes
room for what the stream says. Which items and tracks it will decode is not asked: all count.
"""

import math
import os
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL import Image

from captioning.data.avif_pictures import Picture, Steps, pictures
from captioning.data.photo_memory import pixel_memory, require_memory, require_short

_OVERHEAD = 6  # bytes a pixel besides the image and the planes of its streams: RGB, and its copy
_OF_THREAD = 300_000  # bytes that a decoder holds for each of its threads, whatever it decodes
_FEW_DECODERS = 4  # for colour and alpha, where all streams of a kind can share one
_PADDING = 64  # pixels by which a stream may exceed what the boxes say
_MOST_HELD = 10  # pictures that a decoder keeps: eight to refer to, one in work, one shown


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the main picture or the first of a film.

    Raises ImageError if it takes too much memory, or its streams are larger than it says.
    """
    from PIL import AvifImagePlugin

    held = require_short(stream, name)
    # Of a file that changes meanwhile, the decoder must see what was looked at.
    data = stream.read()
    contents = _Contents(data)
    image = AvifImagePlugin.AvifImageFile(BytesIO(data))
    contents.require_truth(image.size)
    size = max(image.size, contents.largest, key=math.prod)
    require_memory(name, size, held + _needed(contents, image))
    image.load()
    return image


def _needed(contents: "_Contents", image: Image.Image) -> int:
    """The bytes that decoding takes at most, but for the file."""
    streams = contents.streams
    needed = sum(sum(sorted(each.memory for each in one)[-_MOST_HELD:]) for one in streams)
    decoders = len(streams) if contents.has_choices else min(len(streams), _FEW_DECODERS)
    needed += decoders * _OF_THREAD * (1 + (os.cpu_count() or 1))
    # Put together of several streams, or scaled: in planes of its own.
    if len(streams) > 1 or contents.largest != image.size:
        needed += int(math.prod(image.size) * max(each.pixel for each in contents.pictures()))
    return needed + math.prod(image.size) * (pixel_memory(image.mode) + _OVERHEAD)


# Boxes ------------------------------------------------------------------------------------------


_CHOICES = (b"a1op", b"lsel")  # properties


class _Box(NamedTuple):
    kind: bytes
    body: memoryview


class _Contents:
    """The pictures of each stream, and the sizes that boxes say; ValueError for damaged ones.

    The boxes are those of ISO/IEC 14496-12 and 23008-12.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._steps = Steps()
        self._joined = 0  # bytes of items in several pieces
        self.sizes: list[tuple[int, int]] = []
        self.streams: list[list[Picture]] = []
        self.has_choices = False  # of layers, which differ from stream to stream
        for box in self._boxes(self._data):
            if box.kind == b"meta":
                self._read_items(box.body[4:])
            elif box.kind == b"moov":
                self._read_tracks(box.body)
            elif box.kind == b"mini":
                raise ValueError("a kind of header that is not known")
        if not any(self.pictures()):
            raise ValueError("no picture")

    def pictures(self) -> Iterator[Picture]:
        """The pictures of all streams."""
        return (picture for stream in self.streams for picture in stream)

    @property
    def largest(self) -> tuple[int, int]:
        """The size of the picture with the most pixels."""
        return max(((each.width, each.height) for each in self.pictures()), key=math.prod)

    def require_truth(self, size: tuple[int, int]) -> None:
        """ValueError for a picture that is larger than a file of this size and its boxes say."""
        width, height = (max(sides) + _PADDING for sides in zip(size, *self.sizes, strict=True))
        for each in self.pictures():
            if each.is_known and (each.width > width or each.height > height):
                raise ValueError("larger than it says")

    def _boxes(self, data: memoryview) -> Iterator[_Box]:
        at = 0
        while at + 8 <= len(data):
            self._steps.take()
            size, start = _number(data, at, 4), at + 8
            if size == 1:
                size, start = _number(data, at + 8, 8), at + 16
            end = at + size if size else len(data)
            if end < start:
                raise ValueError("a box shorter than its header")
            yield _Box(bytes(data[at + 4 : at + 8]), data[start:end])
            at = end

    def _inside(self, data: memoryview, *path: bytes) -> Iterator[memoryview]:
        """The bodies of the boxes at a path of kinds."""
        for box in self._boxes(data):
            if box.kind == path[0]:
                yield from self._inside(box.body, *path[1:]) if path[1:] else [box.body]

    def _read_items(self, meta: memoryview) -> None:
        for properties in self._inside(meta, b"iprp", b"ipco"):
            for box in self._boxes(properties):
                self.has_choices |= box.kind in _CHOICES
                if box.kind == b"ispe":
                    self.sizes.append((_number(box.body, 4, 4), _number(box.body, 8, 4)))
        coded = {number for body in self._inside(meta, b"iinf") for number in self._coded(body)}
        stored = next(self._inside(meta, b"idat"), memoryview(b""))
        for body in self._inside(meta, b"iloc"):
            for number, is_stored, extents in self._locations(body):
                if number in coded:
                    item = self._item(stored if is_stored else self._data, extents)
                    self.streams.append(pictures(item, self._steps))

    def _coded(self, iinf: memoryview) -> Iterator[int]:
        """The numbers of the items that are AV1."""
        for body in self._inside(iinf[8 if iinf[0] else 6 :], b"infe"):
            length = 2 if body[0] < 3 else 4
            if bytes(body[6 + length : 10 + length]) == b"av01":
                yield _number(body, 4, length)

    def _locations(self, iloc: memoryview) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
        """Each item's number, whether it is in the box idat, and its pieces: offset, length."""
        version, at = iloc[0], 6
        offset, length, base, index = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, iloc[5] & 15
        index = index if version else 0

        def read(size: int) -> int:
            nonlocal at
            at += size
            return _number(iloc, at - size, size)

        wide = 4 if version > 1 else 2
        for _ in range(read(wide)):
            self._steps.take()
            number = read(wide)
            is_stored = bool(version and read(2) & 15)
            read(2)
            begin, extents = read(base), []
            for _ in range(read(2)):
                self._steps.take()
                read(index)
                extents.append((begin + read(offset), read(length)))
            yield number, is_stored, extents

    def _item(self, data: memoryview, extents: list[tuple[int, int]]) -> memoryview:
        if len(extents) == 1:
            start, size = extents[0]
            return data[start : start + size]
        self._joined += sum(size for _, size in extents)
        if self._joined > len(self._data):
            raise ValueError("items in pieces that overlap")
        return memoryview(b"".join(data[start : start + size] for start, size in extents))

    def _read_tracks(self, moov: memoryview) -> None:
        """Of each track the first sample, which alone is decoded."""
        for table in self._inside(moov, b"trak", b"mdia", b"minf", b"stbl"):
            for body in self._inside(table, b"stsd"):
                for entry in self._inside(body[8:], b"av01"):
                    self.sizes.append((_number(entry, 24, 2), _number(entry, 26, 2)))
                    self.streams.append(pictures(self._first_sample(table), self._steps))

    def _first_sample(self, table: memoryview) -> memoryview:
        starts = [_number(body, 8, 4) for body in self._inside(table, b"stco")]
        starts += [_number(body, 8, 8) for body in self._inside(table, b"co64")]
        sizes = [
            _number(body, 4, 4) or _number(body, 12, 4) for body in self._inside(table, b"stsz")
        ]
        if len(starts) != 1 or len(sizes) != 1:
            raise ValueError("not one table of samples")
        return self._data[starts[0] : starts[0] + sizes[0]]


def _number(data: memoryview, at: int, size: int) -> int:
    """A big-endian number; ValueError where the data end before it does."""
    if at + size > len(data):
        raise ValueError("ends early")
    return int.from_bytes(data[at : at + size], "big")
