"""Hundreds of bad and odd photographs as files, made the same way each time.

``write_all`` writes them into a folder; each belongs to a group, and the groups are what the table
of SECURITY.md counts. Bombs are in ``bombs``, and what is no ordinary file in ``special_files``.
"""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from tools.attacks.valid_photos import (
    chunk,
    deep,
    directory,
    encode,
    exif,
    grey_tiff,
    photograph,
    png,
    real,
    tiff,
)

STEP = 1024  # bytes between the lengths at which files are cut
FLIPS = 25  # damaged copies of each file


class BadPhoto(NamedTuple):
    """A file: the group that it belongs to, its name in bytes, and what is in it."""

    group: str
    name: bytes
    content: bytes


def bad_photos(canary: Path) -> Iterator[BadPhoto]:
    """All but bombs; loading one of them as what it is would create the file ``canary``."""
    for suffix, data in real().items():
        for size in range(0, len(data), STEP):
            yield BadPhoto("truncated", f"cut{size:06}{suffix}".encode(), data[:size])
        for seed in range(FLIPS):
            yield BadPhoto("flipped", f"flip{seed}{suffix}".encode(), flipped(data, seed))
    for name, data in no_photographs(canary):
        yield BadPhoto("not photographs", name.encode(), data)
    for name, data in wrong_suffixes():
        yield BadPhoto("wrong extensions", name.encode(), data)
    for name, data in shapes():
        yield BadPhoto("odd shapes", name.encode(), data)
    for name, data in modes():
        yield BadPhoto("modes and depths", name.encode(), data)
    for name, data in metadata():
        yield BadPhoto("metadata", name.encode(), data)
    for spelt in names():
        yield BadPhoto("names", spelt, _SMALL)


def write_all(folder: Path, photos: Iterator[BadPhoto]) -> dict[str, list[bytes]]:
    """Write photographs; returns the paths of each group."""
    groups: dict[str, list[bytes]] = {}
    for photo in photos:
        path = bytes(folder) + b"/" + photo.name
        with open(path, "xb") as file:
            file.write(photo.content)
        groups.setdefault(photo.group, []).append(path)
    return groups


def flipped(data: bytes, seed: int) -> bytes:
    """The data with one to sixteen bits flipped, half of the time in its first kilobyte."""
    rng = np.random.default_rng(seed)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    reach = bits.size if seed % 2 else min(bits.size, 8 * 1024)
    bits[rng.integers(0, reach, 1 + seed % 16)] ^= 1
    return np.packbits(bits).tobytes()


# What is no photograph --------------------------------------------------------------------------


class _Canary:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def no_photographs(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Text, archives, programs and documents by the names of photographs."""
    command = f"#!/bin/sh\ntouch '{canary}'\n".encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("photo.jpg"), _SMALL)
    inside: dict[str, bytes] = {
        "empty": b"",
        "one_byte": b"\xff",
        "text": "No photograph, but words: é 写真.\n".encode() * 50,
        "zip": archive.getvalue(),
        "pickle": pickle.dumps(_Canary(canary)),
        "old_pickle": pickle.dumps(_Canary(canary), protocol=0),
        "shell": command,
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "svg_file": b'<svg><image href="file:///etc/passwd"/></svg>',
        "html": b"<html><script>alert(1)</script><img src=x onerror=alert(1)></html>",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file\n",
        "magick": b"push graphic-context\nfill 'url(https://example.org/|touch x)'\n",
        "xpm": b'/* XPM */ static char *x[]={"1 1 1 1","a c red","a"};',
        "elf": b"\x7fELF" + bytes(500),
        "pdf": b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
        "ppm": encode(photograph(64, 48), "PPM"),
        "ico": encode(photograph(64, 48), "ICO"),
        "tga": encode(photograph(64, 48), "TGA"),
        "film": b"\0\0\0\x18ftypisom\0\0\0\1isommp42" + bytes(500),
        "jpeg_xl": b"\xff\x0a" + bytes(500),
        "json": b'{"caption": "a dog"}',
        "zeros": bytes(100_000),
        "noise": np.random.default_rng(0).bytes(100_000),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }
    for name, data in inside.items():
        for suffix in (".jpg", ".png", ".webp"):
            yield f"{name}{suffix}", data
    for suffix, data in real().items():
        yield f"polyglot{suffix}", data + archive.getvalue()
        yield f"header_alone{suffix}", data[:16]


def wrong_suffixes() -> Iterator[tuple[str, bytes]]:
    """Every kind by the name of every other."""
    kinds = {suffix: data for suffix, data in real().items() if "progressive" not in suffix}
    for suffix, data in kinds.items():
        yield from ((f"is{suffix[1:]}{other}", data) for other in kinds if other != suffix)


# Sizes, modes, depths ---------------------------------------------------------------------------


_SIZES = (
    (1, 1),
    (1, 2),
    (2, 1),
    (3, 3),
    (7, 1000),
    (1, 30_000),
    (30_000, 1),
    (65_500, 1),
    (1, 65_500),
)


def shapes() -> Iterator[tuple[str, bytes]]:
    """Very small, very long and very wide photographs of each kind that has them."""
    for width, height in _SIZES:
        noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        kinds = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "tif": "TIFF", "bmp": "BMP"}
        kinds |= {"jp2": "JPEG2000"}
        if max(width, height) <= 16_383:
            kinds |= {"webp": "WEBP"}
        if max(width, height) <= 1000:
            kinds |= (
                {"avif": "AVIF", "heic": "HEIC"} if min(width, height) > 1 else {"avif": "AVIF"}
            )
        for suffix, kind in kinds.items():
            yield f"{width}x{height}.{suffix}", encode(image, kind)
    yield "0x0.png", png(0, 0, zlib.compress(b""))
    yield "0x9.tif", grey_tiff(0, 9, 1, b"")
    yield "65535wide.png", png(65_535, 4, zlib.compress(bytes(65_536 * 4)))
    yield "65535high.png", png(4, 65_535, zlib.compress(bytes(5 * 65_535)))


_MODES = {
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "AVIF": ("RGB", "RGBA"),
    "HEIC": ("RGB", "RGBA", "L"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
}
_SUFFIX = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}


def modes() -> Iterator[tuple[str, bytes]]:
    """Every mode that Pillow writes of every kind, every depth of TIFF and PNG, animations."""
    photo = photograph(64, 48)
    for kind, each in _MODES.items():
        for mode in each:
            suffix = _SUFFIX.get(kind, kind.lower())
            yield f"{mode.replace(';', '_')}.{suffix}", encode(_in_mode(photo, mode), kind)
    frames = [photo, photo.transpose(Image.Transpose.ROTATE_180)]
    for kind, suffix in (("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp"), ("AVIF", "avif")):
        data = encode(photo, kind, save_all=True, append_images=frames)
        yield f"animated.{suffix}", data
    yield "pages.tif", encode(photo, "TIFF", save_all=True, append_images=frames)
    for depth in (1, 2, 4, 8, 16):
        rows = b"".join(b"\0" + bytes([77] * (8 * depth)) for _ in range(64))
        for colour in (0, 2, 3, 4, 6):
            palette = chunk(b"PLTE", bytes(range(6))) if colour == 3 else b""
            made = png(8, 8, zlib.compress(rows), depth, colour=colour, before=palette)
            yield f"depth{depth}_{colour}.png", made
    yield from _deep_tiffs(photo)


def _in_mode(photo: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(deep(photo.convert("L")))
    if mode == "PA":
        return photo.convert("P").convert("PA")
    if mode == "LAB":
        return Image.merge("LAB", photo.split())
    return photo.convert(mode)


def _deep_tiffs(photo: Image.Image) -> Iterator[tuple[str, bytes]]:
    values = np.asarray(photo)
    for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8", "u8", "c8"):
        for layout in ("contig", "separate"):
            pixels = values if layout == "contig" else np.moveaxis(values, -1, 0)
            stream = io.BytesIO()
            with tifffile.TiffWriter(stream, bigtiff=kind == "u4") as writer:
                writer.write(pixels.astype(kind), photometric="rgb", planarconfig=layout)
            yield f"{layout}_{kind}.tif", stream.getvalue()
    for number in range(10):
        yield f"photometric{number}.tif", grey_tiff(8, 8, 1, bytes(256), (262, 3, 1, number))
    for number in (*range(11), 32_773, 34_712, 34_925, 50_000, 50_001, 65_000):
        yield f"compression{number}.tif", grey_tiff(8, 8, number, bytes(256))


# Metadata ---------------------------------------------------------------------------------------


def broken_exif() -> Iterator[tuple[str, bytes]]:
    """EXIF that loops, points nowhere, claims too much or says nonsense."""
    head = b"Exif\0\0"
    for value in (0, 9, 255, 65_535):
        yield f"orientation{value}", head + tiff([(274, 3, 1, value)])
    for kind in range(14):
        yield f"type{kind}", head + tiff([(274, kind, 1, 6)])
    yield "loop", head + struct.pack("<2sHI", b"II", 42, 8) + directory([], 8)
    yield "inner_loop", head + tiff([(34_665, 4, 1, 8), (34_853, 4, 1, 8), (40_965, 4, 1, 8)])
    yield "nowhere", head + tiff([(274, 3, 9, 2**32 - 1)])
    yield "huge", head + tiff([(274, 3, 2**32 - 1, 8), (270, 2, 2**31, 8)])
    yield "many", head + tiff([(number, 3, 1, 1) for number in range(5000)])
    yield "cut", exif(6)[:-8]
    yield "no_header", b"Exif\0\0"
    yield "text", b"Exif\0\0" + b"A" * 500
    yield "big_tiff", head + b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63)


def metadata() -> Iterator[tuple[str, bytes]]:
    """Broken EXIF, profiles and XMP in photographs that are whole."""
    photo = photograph(64, 48)
    for name, data in broken_exif():
        for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
            yield f"exif_{name}.{suffix}", encode(photo, kind, exif=data)
    for name, profile in (
        ("empty", b"\0"),
        ("noise", np.random.default_rng(1).bytes(3000)),
        ("claims", struct.pack(">I", 2**31) + bytes(124) + struct.pack(">I", 2**31)),
        ("large", bytes(2_000_000)),
    ):
        kinds = (
            ("JPEG", "jpg"),
            ("PNG", "png"),
            ("WEBP", "webp"),
            ("TIFF", "tif"),
            ("AVIF", "avif"),
        )
        for kind, suffix in kinds:
            yield f"icc_{name}.{suffix}", encode(photo, kind, icc_profile=profile)
    for name, text in (
        ("entities", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'),
        ("turns", b'<a tiff:Orientation="99"/>'),
        ("noise", np.random.default_rng(2).bytes(3000)),
    ):
        yield f"xmp_{name}.webp", encode(photo, "WEBP", xmp=text)
        yield f"xmp_{name}.jpg", encode(photo, "JPEG", xmp=text)


# Names ------------------------------------------------------------------------------------------

_SMALL = encode(photograph(32, 24), "JPEG")
_ENDING = b".jpg"


def names() -> Iterator[bytes]:
    """Names with spaces, line breaks, dashes, any script, and bytes that are no UTF-8."""
    texts = [" ", "  two  ", "line\nbreak", "\n", "tab\there", "return\r", "-", "--output", "-rf *"]
    texts += ["'", '"', "$(touch x)", "`touch x`", ";touch x", "&", "|", "*", "?", "[a-z]", "{a,b}"]
    texts += [
        "<b>bold",
        "<script>alert(1)<",
        "%s%n",
        "%00",
        "\\",
        "\\x41",
        "~",
        "#",
        "!",
    ]
    texts += ["caf\u00e9", "cafe\u0301", "写真", "😀", "\u202egpj.exe", "\ufeff", "\u200b", "שלום"]
    texts += [
        "عربى",
        "\u2028",
        "\u0085",
        "\x1b[31mred",
        "\x07",
        "\x7f",
        "\x01",
        "CON",
        "a.",
        "a.png",
    ]
    texts += ["a" * 251, "é" * 125, "{'a': 1}", "=1+1", "https:__example.org", "@file", "con:"]
    yield from (text.encode() + _ENDING for text in texts)
    yield from (raw + _ENDING for raw in (b"latin\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3"))
    yield from (b"upper" + ending for ending in (b".JPG", b".JpEg", b".PNG", b".jpe", b".mpo"))
