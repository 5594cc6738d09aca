"""GIF: the first picture of it, past its comments, of which there may be millions."""

import struct
from typing import BinaryIO

from PIL import GifImagePlugin, Image

from captioning.data.photo_memory import require_room_for
from captioning.data.stream_parts import MOST_STEPS, Parts

_EXTENSION, _PICTURE = b"!", b","
_CONTROL = b"\xf9"  # says which colour is transparent
_HAS_PALETTE = 0x80
# The most bytes that a picture has: two codes of 12 bits a pixel, in blocks; a palette.
_DATA_OF_PIXEL, _DATA = 4, 4096


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the first picture; raises ImageError if it takes too much memory."""
    image = GifImagePlugin.GifImageFile(_parts(stream).binary())
    require_room_for(image, name)
    image.load()
    return image


def _parts(stream: BinaryIO) -> Parts:
    """The header, the last control before the first picture, and all from there on."""
    stream.seek(0)
    head = stream.read(13)
    flags = head[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & _HAS_PALETTE else 0)
    parts, control = Parts(stream, [(0, at)]), (0, 0)
    end = stream.seek(0, 2)
    for _ in range(MOST_STEPS):
        stream.seek(at)
        kind = stream.read(2)
        if kind[:1] != _EXTENSION:
            if kind[:1] not in (b"", _PICTURE):  # junk, or the end
                at += 1
                continue
            parts.add(*control)
            stream.seek(at + 5)
            width, height = struct.unpack("<HH", stream.read(4))
            parts.add(at, min(end - at, _DATA_OF_PIXEL * width * height + _DATA))
            return parts
        start, at = at, _behind_blocks(stream, at + 2)
        if kind[1:] == _CONTROL:
            control = (start, at - start)
    raise ValueError("too many extensions")


def _behind_blocks(stream: BinaryIO, at: int) -> int:
    """Where the blocks that begin here end, each after a byte of its length, the last empty."""
    for _ in range(MOST_STEPS):
        stream.seek(at)
        length = stream.read(1)
        at += 1 + (length or b"\0")[0]
        if length in (b"", b"\0"):
            return at
    raise ValueError("too many blocks")
