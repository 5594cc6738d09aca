"""Valid photographs of every kind and mode as bytes, which attacks then damage."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from captioning.app.examples import examples

Bytes = dict[str, bytes]


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of a format that Pillow writes, or of HEIC."""
    stream = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF that says which way up a photograph is."""
    tags = Image.Exif()
    tags[274] = orientation
    made: bytes = tags.tobytes()
    return made


@cache
def photograph(width: int, height: int) -> Image.Image:
    """An example photograph of this size; not to be changed."""
    with Image.open(examples()[1].path) as image:
        return image.convert("RGB").resize((width, height))


@cache
def real() -> Bytes:
    """A real photograph in each kind, by suffix: of some tens of kilobytes each."""
    photo, small = photograph(320, 240), photograph(120, 90)
    return {
        ".jpg": encode(photo, "JPEG", quality=90, exif=exif(1)),
        ".progressive.jpg": encode(photo, "JPEG", quality=90, progressive=True),
        ".png": encode(small, "PNG"),
        ".webp": encode(photo, "WEBP", quality=95),
        ".gif": encode(photo.resize((200, 150)), "GIF"),
        ".tif": encode(small, "TIFF", compression="tiff_lzw"),
        ".avif": encode(photo, "AVIF", quality=90, speed=10),
        ".heic": encode(photo, "HEIC", quality=80),
        ".jp2": encode(photo, "JPEG2000", quality_mode="rates", quality_layers=[8]),
        ".bmp": encode(small, "BMP"),
    }


# What no library writes ---------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes, depth: int = 8, **parts: Any) -> bytes:
    """A PNG of pixels that are deflated already.

    ``parts`` are ``colour``, its colour type (0, grey); ``interlaced``; ``before``, chunks before
    the pixels.
    """
    colour, interlaced = parts.get("colour", 0), parts.get("interlaced", 0)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    before: bytes = parts.get("before", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + body


def deflated_zeros(count: int) -> bytes:
    """At least so many bytes of 0, deflated to a thousandth; the check sum is that of none."""
    packer = zlib.compressobj(9)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece + again * (count >> 20) + b"\x03\x00\0\0\0\1"


Entry = tuple[int, int, int, int]  # tag, type (3 SHORT, 4 LONG), count, value or offset


def directory(entries: list[Entry], following: int = 0) -> bytes:
    """A directory of a little-endian TIFF."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def tiff(entries: list[Entry], data: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF: header, data from byte 8, one directory behind them."""
    data += bytes(len(data) % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + directory(entries, following)


def grey_tiff(width: int, height: int, compression: int, data: bytes, *more: Entry) -> bytes:
    """A TIFF of grey in one strip; ``more`` replaces entries or adds some."""
    entries = {
        256: (256, 4, 1, width),
        257: (257, 4, 1, height),
        258: (258, 3, 1, 8),
        259: (259, 3, 1, compression),
        262: (262, 3, 1, 1),
        273: (273, 4, 1, 8),
        277: (277, 3, 1, 1),
        278: (278, 4, 1, height),
        279: (279, 4, 1, len(data)),
    }
    return tiff(list((entries | {entry[0]: entry for entry in more}).values()), data)


def deep(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """An image's bytes as 16 bits: (H, W) or (H, W, channels)."""
    return np.asarray(image).astype(np.uint16) * 257
