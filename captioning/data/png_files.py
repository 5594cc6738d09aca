"""PNG: read past its texts and profiles, whatever their size, and at full depth where it matters.

Pillow refuses a PNG with a text, XMP or ICC chunk of more than 1 MB by limits that hold for the
whole process. Nothing in such a chunk changes the pixels, so Pillow is given a stream without
them. Two of the texts may say which way up the photograph is, and are read here.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from captioning.data.photo_memory import require_room_for
from captioning.data.photo_modes import bands, to_bytes, white_of_integers

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP, _RAW_EXIF = "XML:com.adobe.xmp", "Raw profile type exif"
_MOST_TEXT = 16_000_000  # bytes of a text that is read

_COLOURS_OF_16_BITS = {2: "RGB;16L", 6: "RGBA;16L"}  # by colour type: the low bytes


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode a PNG; of an animation the picture that stands for it.

    Raises ImageError if it takes too much memory.
    """
    chunks = list(_chunks(stream))
    image = _open(stream, chunks)
    require_room_for(image, name)
    image.load()
    for chunk in chunks:
        if chunk.kind in _TEXTS:
            _keep_text(image, chunk, stream)
    return _without_darkness(image, stream, chunks)


class _Chunk(NamedTuple):
    """A chunk of a PNG: ``start`` is where it begins in the file, ``size`` includes its frame."""

    kind: bytes
    start: int
    size: int


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of a PNG, the last perhaps torn."""
    stream.seek(8)
    start = 8
    while len(frame := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", frame)
        yield _Chunk(kind, start, length + 12)
        start = stream.seek(start + length + 12)


def _open(stream: BinaryIO, chunks: list[_Chunk]) -> PngImagePlugin.PngImageFile:
    # Chunks whose names begin with a capital are critical; of the others these two matter.
    kept = [c for c in chunks if c.kind[:1].isupper() or c.kind in (b"tRNS", b"eXIf")]
    parts = [(0, 8), *((chunk.start, chunk.size) for chunk in kept)]
    return PngImagePlugin.PngImageFile(cast(BinaryIO, _Parts(stream, parts)))


class _Parts:
    """A stream of parts of another stream, each a start and a size."""

    def __init__(self, stream: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self._stream = stream
        self._starts = [start for start, _ in parts]
        self._ends = np.cumsum([size for _, size in parts]).tolist()
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        pieces = []
        part = int(np.searchsorted(self._ends, self._at, side="right"))
        while size and part < len(self._ends):
            left = self._ends[part] - self._at
            begin = self._ends[part - 1] if part else 0
            self._stream.seek(self._starts[part] + self._at - begin)
            piece = self._stream.read(left if size < 0 else min(size, left))
            pieces.append(piece)
            self._at += len(piece)
            size -= len(piece) if size > 0 else 0
            if len(piece) < left:
                break
            part += 1
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._ends[-1]}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


# Texts that say which way up ------------------------------------------------------------------


def _keep_text(image: Image.Image, chunk: _Chunk, stream: BinaryIO) -> None:
    """Give the image a text from which Pillow can tell which way up it is."""
    stream.seek(chunk.start + 8)
    keyword, _, rest = stream.read(min(chunk.size - 12, _MOST_TEXT)).partition(b"\0")
    if keyword not in (_XMP.encode(), _RAW_EXIF.encode()):
        return
    is_compressed, text = chunk.kind == b"zTXt", rest[1:]
    if chunk.kind == b"tEXt":
        text = rest
    elif chunk.kind == b"iTXt":
        is_compressed = rest[:1] == b"\1"
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if is_compressed:
        try:
            text = zlib.decompressobj().decompress(text, _MOST_TEXT)
        except zlib.error:
            return
    key = "xmp" if keyword == _XMP.encode() else _RAW_EXIF
    image.info[key] = text if key == "xmp" else text.decode("latin-1")


# 12 bits in 16 --------------------------------------------------------------------------------


def _without_darkness(image: Image.Image, stream: BinaryIO, chunks: list[_Chunk]) -> Image.Image:
    """Colours of 8, 10 or 12 bits in 16 at their own depth; Pillow reads the high bytes alone."""
    stream.seek(24)
    depth, colours = stream.read(2)
    if depth != 16 or colours not in _COLOURS_OF_16_BITS:
        return image
    extremes = cast(tuple[tuple[int, int], ...], image.getextrema())
    if max(high for _, high in extremes[:3]) > 15:  # a value of more than 12 bits
        return image
    low = _open(stream, chunks)
    low.tile = [tile._replace(args=_COLOURS_OF_16_BITS[colours]) for tile in low.tile]
    low.load()
    _brighten(image, low)
    return image


def _brighten(high: Image.Image, low: Image.Image) -> None:
    """Scale colours, of which two images hold the high and the low bytes; alpha stays."""

    def values(rows: slice) -> npt.NDArray[np.uint16]:
        highs, lows = (
            np.asarray(image.crop((0, rows.start, image.width, rows.stop)))[..., :3]
            for image in (high, low)
        )
        whole: npt.NDArray[np.uint16] = highs.astype(np.uint16) << 8 | lows  # (rows, W, 3)
        return whole

    parts = list(bands(high.height, high.width * 3))
    white = float(white_of_integers(max(int(values(rows).max()) for rows in parts)))
    for rows in parts:
        bright = Image.fromarray(to_bytes(values(rows), 0.0, white))
        if high.mode == "RGBA":
            alpha = high.crop((0, rows.start, high.width, rows.stop)).getchannel("A")
            bright.putalpha(alpha)
        high.paste(bright, (0, rows.start))
