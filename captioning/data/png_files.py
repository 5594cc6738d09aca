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
from captioning.data.stream_parts import MOST_STEPS, Parts

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEYS = {b"XML:com.adobe.xmp": "xmp", b"Raw profile type exif": "Raw profile type exif"}
_LONGEST_KEYWORD = 79  # bytes, by the specification
_MOST_TEXTS = 1000
_MOST_TEXT = 16_000_000  # bytes of a text that is read

_COLOURS_OF_16_BITS = {2: "RGB;16L", 6: "RGBA;16L"}  # by colour type: the low bytes


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode a PNG; of an animation the picture that stands for it.

    Raises ImageError if it takes too much memory.
    """
    parts, texts = _parts(stream)
    image = PngImagePlugin.PngImageFile(parts.binary())
    require_room_for(image, name)
    image.load()
    _keep_texts(image, texts, stream)
    return _without_darkness(image, stream, parts)


class _Chunk(NamedTuple):
    """A chunk of a PNG: ``start`` is where it begins in the file, ``size`` includes its frame."""

    kind: bytes
    start: int
    size: int


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """The chunks of a PNG to its end, the last perhaps torn; of far too many, ValueError."""
    start = 8
    for _ in range(MOST_STEPS):
        stream.seek(start)
        frame = stream.read(8)
        if len(frame) < 8:
            return
        length, kind = struct.unpack(">I4s", frame)
        yield _Chunk(kind, start, length + 12)
        if kind == b"IEND":
            return
        start += length + 12
    raise ValueError("too many chunks")


def _parts(stream: BinaryIO) -> tuple[Parts, list[_Chunk]]:
    """What Pillow is to see of a PNG, and the first of its texts."""
    parts, texts = Parts(stream, [(0, 8)]), list[_Chunk]()
    awaited = {b"tRNS", b"eXIf"}  # of the chunks that are not critical these two matter, once
    for chunk in _chunks(stream):
        if chunk.kind in _TEXTS:
            texts += [chunk] if len(texts) < _MOST_TEXTS else []
        elif chunk.kind[:1].isupper() or chunk.kind in awaited:  # a capital: it is critical
            awaited.discard(chunk.kind)
            parts.add(chunk.start, chunk.size)
    return parts, texts


# Texts that say which way up ------------------------------------------------------------------


def _keep_texts(image: Image.Image, chunks: list[_Chunk], stream: BinaryIO) -> None:
    """Give the image the texts from which Pillow can tell which way up it is, one of each."""
    for chunk in chunks:
        stream.seek(chunk.start + 8)
        keyword = stream.read(min(chunk.size - 12, _LONGEST_KEYWORD + 1)).partition(b"\0")[0]
        key = _KEYS.get(keyword)
        if key is None or key in image.info:
            continue
        stream.seek(chunk.start + 8 + len(keyword) + 1)
        text = _text(chunk.kind, stream.read(min(chunk.size - 12, _MOST_TEXT)))
        image.info[key] = text if key == "xmp" else text.decode("latin-1")


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk by what follows its keyword; empty where it is damaged."""
    is_compressed, text = kind == b"zTXt", rest[1:]
    if kind == b"tEXt":
        text = rest
    elif kind == b"iTXt":
        is_compressed = rest[:1] == b"\1"
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        return zlib.decompressobj().decompress(text, _MOST_TEXT) if is_compressed else text
    except zlib.error:
        return b""


# 12 bits in 16 --------------------------------------------------------------------------------


def _without_darkness(image: Image.Image, stream: BinaryIO, parts: Parts) -> Image.Image:
    """Colours of 8, 10 or 12 bits in 16 at their own depth; Pillow reads the high bytes alone."""
    stream.seek(24)
    depth, colours = stream.read(2)
    if depth != 16 or colours not in _COLOURS_OF_16_BITS:
        return image
    extremes = cast(tuple[tuple[int, int], ...], image.getextrema())
    if max(high for _, high in extremes[:3]) > 15:  # a value of more than 12 bits
        return image
    parts.seek(0)
    low = PngImagePlugin.PngImageFile(parts.binary())
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
