"""Photographs as files, and files that no library writes, for the tests of reading."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def gradient(width=64, height=48):
    """A smooth photograph whose turns and flips all differ: uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = x / max(width - 1, 1), y / max(height - 1, 1)
    pixels = np.stack([red, green, red * green], axis=-1)  # (H, W, 3), 0..1
    return np.rint(pixels * 255).astype(np.uint8)


def encode(image, kind, **options):
    """The bytes of a file of format ``kind``."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name, data):
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples, colour, bits=16, extra=b""):
    """A PNG of samples (H, W) or (H, W, channels); colour type as in the specification."""
    height, width = samples.shape[:2]
    kind = ">u2" if bits == 16 else "u1"
    rows = b"".join(b"\0" + row.astype(kind).tobytes() for row in samples)
    return flat_png(width, height, colour, bits, zlib.compress(rows), extra)


def flat_png(width, height, colour, bits, pixels=None, extra=b""):
    """A PNG of one colour, black, however large; or of compressed pixels that are given."""
    if pixels is None:
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        row = bytes(1 + (width * channels * bits + 7) // 8)
        packer = zlib.compressobj(1)
        pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body


def flat_jpeg(width, height, channels=1, progressive=False):
    """A JPEG of mid grey, however large: by the tables of the standard (ITU T.81, annex K).

    Every block says that nothing changes: 00 for DC, then 1010 or 00 for no AC. A progressive one
    has a single scan, of DC.
    """
    mode = "L" if channels == 1 else "RGB"
    small = encode(
        Image.new(mode, (8, 8), (128,) * channels if channels > 1 else 128), "JPEG", subsampling=0
    )
    start, scan = small.index(b"\xff\xc0"), small.index(b"\xff\xda")
    head = bytearray(small[: scan + 2 + struct.unpack(">H", small[scan + 2 : scan + 4])[0]])
    head[start + 5 : start + 9] = struct.pack(">HH", height, width)
    if progressive:
        head[start + 1] = 0xC2
        head[-3:] = bytes(3)  # coefficients 0 to 0, all bits
    blocks = ["00"] * channels if progressive else ["001010", "0000", "0000"][:channels]
    unit = "".join(blocks) * 4  # of whole bytes
    count = -(-width // 8) * -(-height // 8)
    whole = int(unit, 2).to_bytes(len(unit) // 8, "big") * -(-count // 4)
    return bytes(head) + whole + b"\xff\xd9"


def tiff(data, width, height, bits, photometric, channels=1, **tags):
    """A little-endian TIFF: header, one uncompressed strip, BitsPerSample, table of tags.

    ``tags`` are others of one value, by number, as in ``t284=2``.
    """
    depths = struct.pack(f"<{channels}H", *[bits] * channels) + bytes(channels % 2 * 2)
    table = 8 + len(data) + len(depths)
    every = {
        256: width,
        257: height,
        258: bits if channels == 1 else 8 + len(data),
        259: 1,
        262: photometric,
        273: 8,
        277: channels,
        278: height,
        279: len(data),
    }
    every |= {int(name[1:]): value for name, value in tags.items()}
    counts = {258: channels}
    entries = [
        struct.pack("<HHII", tag, 4 if tag != 258 else 3, counts.get(tag, 1), value)
        for tag, value in sorted(every.items())
    ]
    end = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", table) + data + depths + end
