"""Photographs that are small as files, and huge or endless when they are read."""

import struct
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import Image

from tools.attacks.avif_streams import Coded, avif
from tools.attacks.valid_photos import (
    chunk,
    deflated_zeros,
    directory,
    encode,
    grey_tiff,
    photograph,
    png,
    real,
    tiff,
)

Named = Iterator[tuple[str, bytes]]


def bombs() -> Named:
    """Every bomb, with a name."""
    for make in (_pngs, _texts_of_png, _gifs, _tiffs, _tags_of_tiff, _jpegs, _webps, _boxed, _bmps):
        yield from make()
    yield from _wavelets()


# PNG --------------------------------------------------------------------------------------------


def _pngs() -> Named:
    yield "grey30000.png", png(30_000, 30_000, deflated_zeros(900 << 20))
    yield "grey13000.png", png(13_000, 13_000, deflated_zeros(170 << 20))
    yield "colour10900.png", png(10_900, 10_900, deflated_zeros(340 << 20), colour=2)
    yield "deep7000.png", png(7_000, 7_000, deflated_zeros(400 << 20), 16, colour=6)
    yield "bits40000.png", png(40_000, 40_000, deflated_zeros(200 << 20), 1)
    yield "bits13000interlaced.png", png(13_000, 13_000, deflated_zeros(30 << 20), 1, interlaced=1)
    yield "short.png", png(13_000, 13_000, deflated_zeros(1 << 20))
    yield "long.png", png(8, 8, deflated_zeros(1 << 30))
    yield "largest.png", png(2**31 - 1, 2**31 - 1, deflated_zeros(1 << 20))
    yield "square65535.png", png(65_535, 65_535, deflated_zeros(1 << 20), 8, colour=6)


def _texts_of_png() -> Named:
    billion = deflated_zeros(1 << 30)
    small = zlib.compress(bytes(9 * 8))
    inside = {
        "iccp": chunk(b"iCCP", b"profile\0\0" + billion),
        "ztxt": chunk(b"zTXt", b"Comment\0\0" + billion),
        "itxt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + billion),
        "rawexif": chunk(b"zTXt", b"Raw profile type exif\0\0" + billion),
    }
    many = chunk(b"zTXt", b"Raw profile type exif\0\0" + deflated_zeros(15 << 20)) * 500
    inside["manytexts"] = many
    inside["manychunks"] = chunk(b"teXt", b"") * 3_000_000
    inside["manyparts"] = chunk(b"IDAT", b"") * 1_500_000
    inside["manykinds"] = (chunk(b"teXt", b"") + chunk(b"tRNS", b"\0\0")) * 700_000
    inside["exif"] = chunk(b"eXIf", overlapping(20_000, 1 << 18))
    inside["palette"] = chunk(b"PLTE", bytes(30_000_000))
    for name, before in inside.items():
        yield f"{name}.png", png(8, 8, small, before=before)


@cache
def overlapping(count: int, size: int) -> bytes:
    """EXIF of which each of ``count`` tags claims the same ``size`` bytes."""
    entries = [(1000 + number, 7, size, 8) for number in range(count)]
    return tiff(entries, bytes(size))


# GIF --------------------------------------------------------------------------------------------


def _lzw_zeros(count: int) -> bytes:
    """Zeros as GIF has them: two codes of 0 between clear codes, in sub-blocks."""
    unit = sum(code << 9 * at for at, code in enumerate([256, 0, 0, 0, 0, 0, 0, 0])).to_bytes(9)
    data = unit[::-1] * (count // 7 + 1)
    blocks = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _gif(screen: tuple[int, int], *bodies: bytes) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0xF0, 0, 0) + bytes(6)
    return head + b"".join(bodies) + b";"


def _frame(width: int, height: int, pixels: int, flags: int = 0) -> bytes:
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, flags) + _lzw_zeros(pixels)


def _gifs() -> Named:
    control = b"!\xf9\x04\x09" + struct.pack("<HB", 10, 0) + b"\0"
    yield "square65535.gif", _gif((65_535, 65_535), _frame(65_535, 65_535, 100))
    yield "frame65535.gif", _gif((8, 8), _frame(65_535, 65_535, 100))
    yield "screen65535.gif", _gif((65_535, 65_535), _frame(8, 8, 64))
    yield "restored.gif", _gif((13_000, 13_000), control, _frame(13_000, 13_000, 100))
    yield "whole4000.gif", _gif((4_000, 4_000), _frame(4_000, 4_000, 16_000_000))
    yield "whole4000interlaced.gif", _gif((4000, 4000), _frame(4000, 4000, 16_000_000, 0x40))
    yield "frames.gif", _gif((2, 2), (control + _frame(2, 2, 4)) * 1_000_000)
    yield "comment.gif", _gif((2, 2), b"!\xfe" + (b"\xff" + bytes(255)) * 200_000 + b"\0")
    comments = b"!\xfe\x01a\0" * 4_000_000
    yield "comments.gif", _gif((2, 2), comments, _frame(2, 2, 4))
    yield "application.gif", _gif((2, 2), b"!\xff" + b"\x01a" * 10_000_000 + b"\0")


# TIFF -------------------------------------------------------------------------------------------


def _tiffs() -> Named:
    huge = deflated_zeros(1 << 30)
    yield "deflate.tif", grey_tiff(30_000, 30_000, 8, huge)
    yield "deflate12000.tif", grey_tiff(12_000, 12_000, 8, huge)
    yield "deflate_strip.tif", grey_tiff(64, 64, 8, huge)
    yield "lzw.tif", grey_tiff(40_000, 40_000, 5, bytes(1000))
    yield "lzw12000.tif", grey_tiff(12_000, 12_000, 5, _tiff_lzw_zeros(12_000 * 12_000))
    yield "packbits.tif", grey_tiff(12_000, 12_000, 32773, b"\x81\0" * (12_000 * 12_000 // 128 + 9))
    yield "rows.tif", grey_tiff(64, 64, 8, deflated_zeros(1 << 20), (278, 4, 1, 2**32 - 1))
    for side in (16_384, 32_768, 65_520, 2**31 - 16):
        tile = [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, len(huge))]
        yield f"tile{side}.tif", grey_tiff(64, 64, 8, huge, *tile)
        yield f"deep_tile{side}.tif", grey_tiff(64, 64, 8, huge, *tile, (258, 3, 1, 16))
    yield "samples.tif", grey_tiff(3_000, 3_000, 8, huge, (277, 3, 1, 65_535), (258, 3, 1, 16))
    yield "largest.tif", grey_tiff(2**32 - 1, 2**32 - 1, 1, bytes(100))


def _tiff_lzw_zeros(count: int) -> bytes:
    """Zeros as LZW in TIFF has them, between clear codes."""
    unit = "".join(f"{code:09b}" for code in [256, *[0] * 7])
    return int(unit, 2).to_bytes(9) * (count // 7 + 1)


def _tags_of_tiff() -> Named:
    pixels = bytes(64)
    # A chain of directories of nothing, each behind the other.
    empty = b"".join(directory([], 8 + 6 * (i + 1)) for i in range(1_000_000))
    yield "directories.tif", struct.pack("<2sHI", b"II", 42, 8) + empty
    sizes = [(256, 4, 1, 8), (257, 4, 1, 8)]
    full = b"".join(directory(sizes, 8 + 30 * (i + 1)) for i in range(200_000))
    yield "pictures.tif", struct.pack("<2sHI", b"II", 42, 8) + full
    yield "loop.tif", struct.pack("<2sHI", b"II", 42, 8) + directory([], 8)
    yield (
        "overlapping.tif",
        grey_tiff(8, 8, 1, bytes(1 << 18), *((1000 + n, 7, 1 << 18, 8) for n in range(20_000))),
    )
    yield "inner.tif", grey_tiff(8, 8, 1, bytes(40_000_000), (330, 4, 10_000_000, 8))
    many = 5_000_000
    listed = struct.pack("<I", 8) * many
    strips = [(273, 4, many, 8), (279, 4, many, 8), (278, 4, 1, 1)]
    yield "strips.tif", grey_tiff(1, many, 1, listed, *strips)
    yield "packed_strips.tif", grey_tiff(1, many, 5, listed, *strips)
    yield "deep_strips.tif", grey_tiff(1, many, 5, listed, *strips, (258, 3, 1, 16))
    tiles = [(322, 4, 1, 16), (323, 4, 1, 16), (324, 4, many, 8), (325, 4, many, 8)]
    yield "tiles.tif", grey_tiff(32_000, 16_000, 1, listed, *tiles)
    for tag in (258, 277, 282, 296, 338, 339, 700, 34675, 274, 320):
        for kind, size in ((3, 2), (5, 8), (12, 8)):
            entry = (tag, kind, 4_000_000 // size, 8)
            yield f"tag{tag}_{kind}.tif", grey_tiff(8, 8, 1, listed[:4_000_000] + pixels, entry)


# JPEG -------------------------------------------------------------------------------------------


def jpeg_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG that says in each of many scans that nothing changes."""
    small = encode(Image.new("L", (8, 8), 128), "JPEG", progressive=True)
    start, scan = small.index(b"\xff\xc2"), small.index(b"\xff\xda")
    head = bytearray(small[:scan])
    head[start + 5 : start + 9] = struct.pack(">HH", height, width)
    # One AC table: a code of one bit, 0, for runs of 2**14 blocks without anything.
    table = b"\xff\xc4" + struct.pack(">H", 20) + b"\x10" + bytes([1] + [0] * 15) + b"\xe0"
    blocks = -(-width // 8) * -(-height // 8)
    runs = -(-blocks // (1 << 14)) * 15  # bits: the code, and 14 of how many more
    data = int("0" * runs + "1" * (-runs % 8), 2).to_bytes(-(-runs // 8))
    one = b"\xff\xda" + struct.pack(">H", 8) + b"\1\1\x10\1\5\0" + data.replace(b"\xff", b"\xff\0")
    return bytes(head) + table + one * scans + b"\xff\xd9"


def _jpegs() -> Named:
    small = encode(Image.new("RGB", (8, 8)), "JPEG")
    start = small.index(b"\xff\xc0")
    for side in (30_000, 65_500):
        head = small[: start + 5] + struct.pack(">HH", side, side) + small[start + 9 :]
        yield f"square{side}.jpg", head
    yield "scans.jpg", jpeg_scans(8_000, 8_000, 20_000)
    yield "scans_small.jpg", jpeg_scans(64, 64, 500_000)
    before, after = small[:2], small[2:]
    yield "segments.jpg", before + b"\xff\xe5\0\2" * 5_000_000 + after
    yield "comments.jpg", before + b"\xff\xfe\0\2" * 5_000_000 + after
    yield "padding.jpg", before + b"\xff" * 60_000_000 + after
    yield "junk.jpg", before + b"\xff\0" * 30_000_000 + after
    exif = b"Exif\0\0" + overlapping(4_000, 10_000)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    yield "exif.jpg", before + segment + after
    yield "exifs.jpg", before + segment * 500 + after
    icc = b"ICC_PROFILE\0\1\1" + bytes(65_000)
    yield "icc.jpg", before + (b"\xff\xe2" + struct.pack(">H", len(icc) + 2) + icc) * 400 + after
    yield "tables.jpg", before + b"\xff\xdb\0\2" * 5_000_000 + after


# WebP, AVIF, HEIC -------------------------------------------------------------------------------


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _extended(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def _webps() -> Named:
    lossless = encode(Image.new("RGB", (8, 8), "red"), "WEBP", lossless=True)[20:]
    bits = 16_382 | 16_382 << 14
    wide = lossless[:1] + struct.pack("<I", bits) + lossless[5:]
    yield "lossless16383.webp", riff((b"VP8L", wide))
    lossy = encode(Image.new("RGB", (8, 8), "red"), "WEBP")[20:]
    yield (
        "lossy16383.webp",
        riff((b"VP8 ", lossy[:6] + struct.pack("<HH", 16_383, 16_383) + lossy[10:])),
    )
    yield "canvas.webp", riff(_extended(1 << 24, 1 << 8, 0), (b"VP8L", lossless))
    head = bytes(6) + (7).to_bytes(3, "little") * 2 + bytes(4)
    frame = (b"ANMF", head + riff((b"VP8L", lossless))[12:])
    yield "frames.webp", riff(_extended(8, 8, 2), (b"ANIM", bytes(6)), *[frame] * 200_000)
    yield "animated16383.webp", riff(_extended(16_383, 16_383, 2), (b"ANIM", bytes(6)), frame)
    for flag, name, data in (
        (8, b"EXIF", overlapping(20_000, 1 << 18)),
        (4, b"XMP ", b"<" * 20_000_000),
        (32, b"ICCP", bytes(20_000_000)),
    ):
        chunks = [(name, data), (b"VP8L", lossless)]
        yield f"{name.strip().decode().lower()}.webp", riff(_extended(8, 8, flag), *chunks)


def _patched(data: bytes, name: bytes, at: int, values: bytes) -> bytes:
    """The data with bytes replaced behind every occurrence of a box's name."""
    parts = data.split(name)
    return name.join([parts[0], *(p[:at] + values + p[at + len(values) :] for p in parts[1:])])


def _boxed() -> Named:
    sized = {
        "1": (1, 1),
        "16384": (16_384, 16_384),
        "12000": (12_000, 12_000),
        "65535": (65_535, 65_535),
        "most": (2**32 - 1, 2**32 - 1),
        "0": (0, 0),
    }
    black = photograph(320, 240)
    for suffix, kind in ((".avif", "AVIF"), (".heic", "HEIC")):
        data = real()[suffix]
        for name, size in sized.items():
            yield f"says{name}{suffix}", _patched(data, b"ispe", 4, struct.pack(">II", *size))
        large = encode(black.resize((800, 600)), kind, quality=30, **_QUICK[kind])
        yield f"large{suffix}", large
        yield f"large_says64{suffix}", _patched(large, b"ispe", 4, struct.pack(">II", 64, 64))
        deepest = b"".join(struct.pack(">I4s", 8 * (20_000 - i), b"meta") for i in range(20_000))
        yield f"boxes{suffix}", data[: int.from_bytes(data[:4])] + deepest
    film = encode(Image.new("RGB", (16, 16)), "AVIF", save_all=True, speed=10)
    yield "film.avif", film
    yield from _streams_of_avif()


def _streams_of_avif() -> Named:
    """What the streams of AV1 in a file say, and its boxes do not."""
    small, large, phone = (64, 64), (16_384, 16_384), (6_000, 4_000)
    yield "stream16384.avif", avif([Coded(*large, is_deep=True).stream()], small, 10)
    yield "frame16384.avif", avif([Coded(*small, True, override=large).stream()], small, 10)
    yield "hidden.avif", avif([Coded(*phone, True, hidden=8).stream()], phone, 10)
    yield "hidden64.avif", avif([Coded(*small, True, phone, 8).stream()], small, 10)
    cells = [Coded(*small).stream()] * 4096
    yield "cells.avif", avif(cells, small, grid=(64, 64))
    yield "cells_apart.avif", avif(cells, small, grid=(64, 64), are_apart=True)
    yield "cell16384.avif", avif([*cells[1:256], Coded(*large).stream()], small, grid=(16, 16))
    yield "units.avif", avif([b"\x12\0" * 2_000_000 + cells[0]], small)
    yield "empty_boxes.avif", avif(cells[:1], small) + b"\0\0\0\x08free" * 1_500_000


_QUICK: dict[str, dict[str, object]] = {"AVIF": {"speed": 10}, "HEIC": {}}


# JPEG 2000, BMP ---------------------------------------------------------------------------------


def _size_marker(data: bytes, size: tuple[int, int], tile: tuple[int, int], parts: int) -> bytes:
    """The codestream with another SIZ: sizes of the picture and its tiles, components."""
    start = data.index(b"\xff\x51")
    length = int.from_bytes(data[start + 2 : start + 4])
    body = struct.pack(">HIIIIIIIIH", 0, *size, 0, 0, *tile, 0, 0, parts) + b"\x07\1\1" * parts
    marker = b"\xff\x51" + struct.pack(">H", len(body) + 2) + body
    return data[:start] + marker + data[start + 2 + length :]


def _wavelets() -> Named:
    whole = encode(photograph(64, 48), "JPEG2000")
    raw = encode(photograph(64, 48), "JPEG2000", no_jp2=True)
    for name, data in (("boxed.jp2", whole), ("raw.j2k", raw)):
        for size in (16_000, 60_000, 2**31 - 1):
            square = (size, size)
            yield f"one_tile{size}_{name}", _size_marker(data, square, square, 3)
        yield f"tiles_{name}", _size_marker(data, (255, 255), (1, 1), 3)
        yield f"tiles_parts_{name}", _size_marker(data, (255, 255), (1, 1), 16_000)
        yield f"parts_{name}", _size_marker(data, (3_000, 3_000), (3_000, 3_000), 16_000)
        yield f"tiles60000_{name}", _size_marker(data, (60_000, 60_000), (256, 256), 3)
    yield "flat.jp2", encode(Image.new("L", (9_000, 6_000)), "JPEG2000")
    head = struct.pack(">II", 60_000, 60_000)
    yield "says60000.jp2", _patched(whole, b"ihdr", 0, head)
    yield "says1.jp2", _patched(whole, b"ihdr", 0, struct.pack(">II", 1, 1))


def _bmp(width: int, height: int, compression: int, pixels: bytes) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 0, 0, 256, 0)
    offset = 14 + len(head) + 1024
    return struct.pack("<2sIHHI", b"BM", offset, 0, 0, offset) + head + bytes(1024) + pixels


def _bmps() -> Named:
    yield "square.bmp", _bmp(2**31 - 1, 2**31 - 1, 0, b"")
    yield "rle.bmp", _bmp(13_000, 13_000, 1, b"\xff\0" * 2_000_000)
    yield "rle_lines.bmp", _bmp(13_000, 13_000, 1, b"\1\0\0\0" * 13_000)
    yield "rle_lines5000.bmp", _bmp(5_000, 5_000, 1, b"\1\0\0\0" * 5_000)
    yield "rle_jumps5000.bmp", _bmp(5_000, 5_000, 1, b"\0\2\1\0" * 2_000_000)
    yield "rle_jumps.bmp", _bmp(13_000, 13_000, 1, b"\0\2\xff\xff" * 100)
    yield "rle_nothing.bmp", _bmp(13_000, 13_000, 1, b"\0\0" * 20_000_000)
