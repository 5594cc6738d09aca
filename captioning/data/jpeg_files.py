"""JPEG: decoded small, within the limit of memory, and also where the end of the file is missing.

libjpeg decodes a JPEG at a half, a quarter or an eighth of its size, so that 200 megapixels take
no more memory than three. Where a file ends early, as a broken download does, the rest of the
picture is grey. Three quarters of its rows must be there; then people see what it shows, and so
does the model.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from captioning.data.photo_memory import MEMORY_LIMIT, pixel_memory, require_memory
from captioning.data.photo_sources import ImageError

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
    stream.seek(0)
    layout = _layout(stream)
    stream.seek(0)
    ended = _EndedStream(stream)
    image = JpegImagePlugin.JpegImageFile(cast(BinaryIO, ended))
    # What stays in memory for as long as it is decoded, whatever the size of the result.
    full_size = image.size
    held = layout.held(*full_size)
    if near is not None:
        image.draft(None, (2 * near, 2 * near))
    elif (scale := _scale(image, held)) > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    needed = held + image.width * image.height * pixel_memory(image.mode)
    require_memory(name, full_size, needed)
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


def _layout(stream: BinaryIO) -> _Layout:
    """Read the headers up to the first scan; what is damaged is left to the decoder to refuse."""
    factors: tuple[tuple[int, int], ...] = ()
    is_progressive = False
    stream.read(2)
    while len(mark := stream.read(2)) == 2 and mark[0] == 0xFF:
        if mark[1] == 0xFF:  # padding
            stream.seek(-1, 1)
        elif mark[1] not in _ALONE:
            length = int.from_bytes(stream.read(2), "big") - 2
            if mark[1] == _START_OF_SCAN:
                components = stream.read(1) or b"\0"
                return _Layout(factors, is_progressive or components[0] < len(factors))
            if mark[1] in _FRAMES:
                body = stream.read(max(0, length))
                factors = tuple((x >> 4, x & 15) for x in body[7::3])
                is_progressive = mark[1] in _PROGRESSIVE
            else:
                stream.seek(max(0, length), 1)
    return _Layout(factors)


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
