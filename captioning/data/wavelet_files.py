"""JPEG 2000: decoded small, for which its wavelets are made."""

import struct
from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL import Image, Jpeg2KImagePlugin

from captioning.data.photo_memory import pixel_memory, require_memory, require_short

_OVERHEAD = 14  # bytes a pixel besides the image: OpenJPEG's planes of 32 bits
_START = b"\xff\x4f\xff\x51"  # the markers SOC and SIZ
_SIZE, _CODING, _FIRST_TILE = 0x51, 0x52, 0x90  # the second bytes of SIZ, COD and SOT
# Bytes that OpenJPEG holds for each code block of a tile, and for each tile and its components.
_BLOCK, _TILE, _COMPONENT = 400, 7000, 2000


class _Codestream(NamedTuple):
    """What the headers of a codestream say, as far as they are there."""

    size: tuple[int, int] = (0, 0)
    tile: tuple[int, int] = (1, 1)
    components: int = 0
    halvings: int = 0  # how often the picture can be halved
    block: int = 64 * 64  # the pixels of a code block

    @property
    def held(self) -> int:
        """The bytes that OpenJPEG holds, at least, whatever the size of the result."""
        across, down = (
            -(-side // max(1, tile)) for side, tile in zip(self.size, self.tile, strict=True)
        )
        pixels = min(self.size[0], self.tile[0]) * min(self.size[1], self.tile[1])
        tiles = across * down * (_TILE + _COMPONENT * self.components)
        return tiles + pixels * self.components * _BLOCK // self.block


def decode(stream: BinaryIO, name: str, near: int | None) -> Image.Image:
    """Decode a JPEG 2000 at a half, a quarter and so on, but not below twice ``near`` a side.

    Without ``near``, at full size. Raises ImageError if it takes too much memory.
    """
    codestream = _headers(stream)
    held = require_short(stream, name)
    # Of a file that another program shortens meanwhile, OpenJPEG would end the process.
    image = Jpeg2KImagePlugin.Jpeg2KImageFile(BytesIO(stream.read()))
    times = min(image.size) // (2 * near) if near is not None else 1
    reduce = min(max(1, times).bit_length() - 1, codestream.halvings)
    image.reduce = reduce
    shrunk = image.width * image.height >> 2 * reduce
    pixels = shrunk * (pixel_memory(image.mode) + _OVERHEAD)
    require_memory(name, image.size, held + pixels + codestream.held)
    image.load()
    return image


def _headers(stream: BinaryIO) -> _Codestream:
    """Read the headers up to the first tile; what is damaged is left to the decoder to refuse."""
    stream.seek(0)
    head = stream.read(1 << 16)
    found = _Codestream()
    at = head.find(_START) + 2
    while at >= 2 and at + 9 < len(head) and head[at] == 0xFF and head[at + 1] != _FIRST_TILE:
        if head[at + 1] == _SIZE and at + 40 <= len(head):
            right, bottom, left, top, *tile = struct.unpack_from(">6I", head, at + 6)
            (components,) = struct.unpack_from(">H", head, at + 38)
            size = (max(0, right - left), max(0, bottom - top))
            found = found._replace(size=size, tile=(tile[0], tile[1]), components=components)
        if head[at + 1] == _CODING and at + 12 <= len(head):
            block = 1 << (head[at + 10] & 15) + (head[at + 11] & 15) + 4
            found = found._replace(halvings=head[at + 9], block=block)
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return found
