"""JPEG: decoded small, within the limit of memory, and also where the end of the file is missing.

libjpeg decodes a JPEG at a half, a quarter or an eighth of its size, so that 200 megapixels take
no more memory than three. Where a file ends early, as a broken download does, the rest of the
picture is grey. Three quarters of its rows must be there; then people see what it shows, and so
does the model.
"""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from captioning.data.photo_memory import MEMORY_LIMIT, pixel_memory, require_memory
from captioning.data.photo_sources import ImageError
from captioning.data.stream_parts import MOST_STEPS, Parts

ENDS_EARLY = (
    "The file of this photograph ends early, so a part at its bottom may be missing or blurred: "
    "download or copy it again."
)
_LEAST_ROWS = 0.75  # of a photograph whose file ends early

_END = b"\xff\xd9"
# Data that says nothing about any picture, and holds no marker.
_NOISE = bytes((37 * i + i * i // 7) % 255 for i in range(1 << 16))

_START_OF_SCAN, _PROGRESSIVE = 0xDA, {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers that start a frame
_ALONE = {0x01, *range(0xD0, 0xD9)}  # the markers without a length
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)  # among the data of scans
_APPLICATION = {0xE1}  # where EXIF and XMP are
_INFO = {b"Exif": "exif", b"http://ns.adobe.com/xap/1.0/": "xmp"}  # by how their segments begin
# Comments, and what applications keep, save what says which colours there are: JFIF and Adobe.
_UNSEEN = {0xFE, *range(0xE1, 0xF0)} - {0xEE}
_MOST_TABLES = 10_000
_DATA_OF_PIXEL, _DATA = 16, 1 << 20  # the most bytes of all scans
_FEW_SCANS, _MOST_SCANS, _SCANNED_PIXELS = 64, 1000, 2_000_000_000


def decode(stream: BinaryIO, name: str, near: int | None) -> tuple[Image.Image, bool]:
    """Decode a JPEG, near to twice ``near`` pixels a side; and whether the file ends early.

    Without ``near`` at full size, or at the largest of a half, a quarter and an eighth that the
    limit of memory allows. Raises ImageError if it takes more, or if too much is missing.
    """
    image, is_early = _decode(stream, name, near, [_END])
    if not is_early:
        return image, False
    missing = _grey_rows(image)
    if missing > (1 - _LEAST_ROWS) * image.height:
        # The photograph may itself be grey there: then it is so whatever comes after the end.
        with _decode(stream, name, near, _noise(image))[0] as other:
            missing = min(missing, _different_rows(image, other))
    if missing > (1 - _LEAST_ROWS) * image.height:
        raise ImageError(f"{name} is damaged or incomplete: save or download it again.")
    return image, True


def _decode(
    stream: BinaryIO, name: str, near: int | None, tail: Iterator[bytes] | list[bytes]
) -> tuple[Image.Image, bool]:
    head = _head(stream)
    ended = _EndedStream(head.parts.binary())
    image = JpegImagePlugin.JpegImageFile(cast(BinaryIO, ended))
    image.info.update(head.info)
    # What stays in memory for as long as it is decoded, whatever the size of the result.
    full_size = image.size
    held = head.layout.held(*full_size)
    if near is not None:
        image.draft(None, (2 * near, 2 * near))
    elif (scale := _scale(image, held)) > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    needed = held + image.width * image.height * pixel_memory(image.mode)
    require_memory(name, full_size, needed)
    if head.layout.in_scans:
        _require_few_scans(stream, head.scan, full_size)
    ended.tail = iter(tail)
    image.load()
    return image, ended.is_early


def _scale(image: Image.Image, held: int) -> int:
    """The least of 1, 2, 4 and 8 by which an image must be shrunk to fit into memory."""
    full = image.width * image.height * pixel_memory(image.mode)
    return next((s for s in (1, 2, 4) if held + full / s**2 <= MEMORY_LIMIT), 8)


class _Layout(NamedTuple):
    """How a JPEG is coded: the sampling factors of its components, and in scans of what."""

    factors: tuple[tuple[int, int], ...] = ()
    in_scans: bool = False

    def held(self, width: int, height: int) -> int:
        """The bytes that libjpeg holds while it decodes: of several scans, every coefficient."""
        if not self.in_scans or not self.factors:
            return 0
        widest = max(1, *(h for h, _ in self.factors))
        tallest = max(1, *(v for _, v in self.factors))
        share = sum(h * v for h, v in self.factors) / (widest * tallest)
        return int(2 * share * (width + 8 * widest) * (height + 8 * tallest))


class _Head(NamedTuple):
    """A JPEG up to its first scan, which begins at ``scan``.

    ``parts`` are what decoders need of the file; ``info`` what Pillow would have said of the rest.
    """

    parts: Parts
    info: dict[str, bytes]
    layout: _Layout
    scan: int


def _head(stream: BinaryIO) -> _Head:
    """Read the headers; what is damaged is left to the decoder to refuse."""
    parts, info = Parts(stream, [(0, 2)]), dict[str, bytes]()
    factors: tuple[tuple[int, int], ...] = ()
    is_progressive = False
    for marker, start, size in _segments(stream):
        if marker == _START_OF_SCAN:
            components = (_body(stream, start, 5) or b"\0")[0]
            parts.add(start, stream.seek(0, 2) - start)
            in_scans = is_progressive or components < len(factors)
            return _Head(parts, info, _Layout(factors, in_scans), start)
        if marker in _APPLICATION:
            body = _body(stream, start, size)
            if (key := _INFO.get(body.partition(b"\0")[0])) is not None:
                info.setdefault(key, body.partition(b"\0")[2].removeprefix(b"\0"))
        if marker in _FRAMES:
            factors = tuple((x >> 4, x & 15) for x in _body(stream, start, size)[7::3])
            is_progressive = marker in _PROGRESSIVE
        if marker not in _UNSEEN:
            parts.add(start, size)
    return _Head(parts, info, _Layout(factors), 0)


def _segments(stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """The marker, the start and the size, frame included, of each segment to the first scan."""
    at, kept = 2, 0
    for _ in range(MOST_STEPS):
        stream.seek(at)
        frame = stream.read(4)
        if len(frame) < 4:
            return
        if frame[0] != 0xFF or frame[1] in (0, 0xFF) or frame[1] in _ALONE:
            at += 1  # junk, padding, or the first half of a marker without a length
            continue
        size = int.from_bytes(frame[2:], "big") + 2
        kept += frame[1] not in _UNSEEN
        if kept > _MOST_TABLES:
            break
        yield frame[1], at, size
        at += size
    raise ValueError("too many segments")


def _body(stream: BinaryIO, start: int, size: int) -> bytes:
    """What is in a segment behind its length."""
    stream.seek(start + 4)
    return stream.read(max(0, size - 4))


def _require_few_scans(stream: BinaryIO, first: int, size: tuple[int, int]) -> None:
    """Raise ValueError for a JPEG of so many scans that it was made to take time.

    libjpeg goes over all blocks of the picture for each of them. Encoders write some ten.
    """
    pixels = size[0] * size[1]
    most = max(_FEW_SCANS, _SCANNED_PIXELS // max(1, pixels))
    count, at, end = 0, first, first + _DATA + _DATA_OF_PIXEL * pixels
    for _ in range(_MOST_TABLES):
        marker, at = _next_marker(stream, at, end)
        if marker in (0, _END[1]):
            return
        count += marker == _START_OF_SCAN
        if count > min(most, _MOST_SCANS):
            break
        stream.seek(at)
        at += max(2, int.from_bytes(stream.read(2), "big"))
    raise ValueError("too many scans")


def _next_marker(stream: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """The next marker, and where the bytes behind it begin; 0 where the file has none.

    Raises ValueError where none begins before ``end``.
    """
    stream.seek(at)
    while len(piece := stream.read(1 << 16)) > 1:
        if match := _MARKER.search(piece):
            return piece[match.end() - 1], at + match.end()
        at = stream.seek(at + len(piece) - 1)  # its last byte may be the first of a marker
        if at > end:
            raise ValueError("too much data")
    return 0, at


class _EndedStream:
    """A stream that goes on with ``tail`` where it ends, and remembers that it had to.

    Pillow's switch for this, LOAD_TRUNCATED_IMAGES, is one for the whole process.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.tail: Iterator[bytes] = iter(())
        self.is_early = False

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if data or not size:
            return data
        data = next(self.tail, b"")
        self.is_early = self.is_early or bool(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _noise(image: Image.Image) -> Iterator[bytes]:
    """Noise for all that may be missing of an image (at most 6 bits a pixel), and an end."""
    for _ in range(64 + image.width * image.height * 64 // len(_NOISE)):
        yield _NOISE
    yield _END


def _grey_rows(image: Image.Image) -> int:
    """How many rows at the bottom are all of the mid grey with which libjpeg fills in."""
    count = 0
    for rows in _rows_from_below(image):
        drawn = np.flatnonzero((np.abs(rows.astype(np.int16) - 128) > 1).any(axis=1))
        if drawn.size:
            return count + len(rows) - 1 - int(drawn[-1])
        count += len(rows)
    return count


def _different_rows(image: Image.Image, other: Image.Image) -> int:
    """How many rows there are from the first that differs to the bottom."""
    pairs = list(zip(_rows_from_below(image), _rows_from_below(other), strict=True))
    height = image.height
    for mine, theirs in reversed(pairs):
        differs = (mine != theirs).any(axis=1)
        if differs.any():
            return height - int(differs.argmax())
        height -= len(mine)
    return 0


def _rows_from_below(image: Image.Image) -> Iterator[npt.NDArray[Any]]:
    """The rows of an image, 64 at a time from its bottom: (64, W * channels)."""
    for bottom in range(image.height, 0, -64):
        rows = np.asarray(image.crop((0, max(0, bottom - 64), image.width, bottom)))
        yield rows.reshape(len(rows), -1)
