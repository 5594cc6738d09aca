"""JPEG 2000: decoded small, for which its wavelets are made."""

from typing import BinaryIO

from PIL import Image, Jpeg2KImagePlugin

from captioning.data.photo_memory import pixel_memory, require_memory

_OVERHEAD = 14  # bytes a pixel besides the image: OpenJPEG's planes of 32 bits
_START = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ
_CODING, _FIRST_TILE = 0x52, 0x90  # the second bytes of COD and SOT


def decode(stream: BinaryIO, name: str, near: int | None) -> Image.Image:
    """Decode a JPEG 2000 at a half, a quarter and so on, but not below twice ``near`` a side.

    Without ``near``, at full size. Raises ImageError if it takes too much memory.
    """
    halvings = _halvings(stream)
    length = stream.seek(0, 2)
    stream.seek(0)
    image = Jpeg2KImagePlugin.Jpeg2KImageFile(stream)
    times = min(image.size) // (2 * near) if near is not None else 1
    reduce = min(max(1, times).bit_length() - 1, halvings)
    image.reduce = reduce
    shrunk = image.width * image.height >> 2 * reduce
    require_memory(name, image.size, 3 * length + shrunk * (pixel_memory(image.mode) + _OVERHEAD))
    image.load()
    return image


def _halvings(stream: BinaryIO) -> int:
    """How often the picture can be halved; 0 where the headers do not say."""
    stream.seek(0)
    head = stream.read(1 << 16)
    at = head.find(_START) + 2
    while at >= 2 and at + 9 < len(head) and head[at] == 0xFF and head[at + 1] != _FIRST_TILE:
        if head[at + 1] == _CODING:
            return head[at + 9]
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0
