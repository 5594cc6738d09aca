"""What a photograph's file shows, by ImageMagick, which shares no code of ours.

It has decoders of its own or of Debian, often other versions than Pillow's; it turns by EXIF,
scales deep samples, and composes transparency over white by its own rules.
"""

import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from captioning.data.images import read_photo
from tools.attacks.valid_photos import chunk, deep, encode, exif, photograph, png

PROGRAM = "convert-im6.q16"  # of Debian's package imagemagick; other programs are called convert
# Lossless: rounding from 16 bits, and once more where transparency is composed. Lossy: decoders
# may upsample colours and round their transforms as they like, which moves edges most.
MOST_LOSSLESS, MEAN_LOSSY, MOST_LOSSY = 1, 1.5, 24  # of 255; the last for 99 of 100 values


class Case(NamedTuple):
    """A file, and whether its kind loses something."""

    name: str
    content: bytes
    lossy: bool = False


def is_here() -> bool:
    """Whether ImageMagick is installed."""
    return shutil.which(PROGRAM) is not None


def shown(case: Case) -> NDArray[np.uint8]:
    """What ImageMagick shows of the first picture of a file: (H, W, 3)."""
    suffix = case.name.rpartition(".")[2]
    rules = "-auto-orient -background white -alpha remove -alpha off -colorspace sRGB -depth 8"
    command = [PROGRAM, f"{suffix}:-[0]", *rules.split(), "ppm:-"]
    done = subprocess.run(command, input=case.content, capture_output=True, check=True, timeout=60)
    with Image.open(io.BytesIO(done.stdout)) as image:
        return np.asarray(image.convert("RGB"))


def difference(case: Case) -> str:
    """How what is read differs from what the file shows; empty where it does not."""
    ours, theirs = np.asarray(read_photo(case.content)).astype(int), shown(case).astype(int)
    if ours.shape != theirs.shape:
        return f"{ours.shape} is read, {theirs.shape} is shown"
    apart = np.abs(ours - theirs)
    if not case.lossy:
        most = int(apart.max())
        return f"a value is {most} off" if most > MOST_LOSSLESS else ""
    mean, most = float(apart.mean()), int(np.quantile(apart, 0.99))
    return f"mean {mean:.2f}, {most}" if mean > MEAN_LOSSY or most > MOST_LOSSY else ""


def cases() -> Iterator[Case]:
    """Files of every kind, mode and layout that both programs know.

    ImageMagick 6 knows neither EXIF in PNG and WebP nor transparency in AVIF and HEIC.
    """
    for make in (_jpegs, _pngs, _tiffs, _layouts_of_tiff, _others, _boxed):
        yield from make()


def _photo() -> Image.Image:
    return photograph(72, 48)


def _clear() -> Image.Image:
    """A photograph that becomes transparent from left to right."""
    image = _photo().copy()
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    return image


def _jpegs() -> Iterator[Case]:
    photo = _photo()
    for turn in range(1, 9):
        yield Case(f"turn{turn}.jpg", encode(photo, "JPEG", exif=exif(turn)), True)
    forms: dict[str, dict[str, Any]] = {
        "progressive": {"progressive": True},
        "full_colour": {"subsampling": 0, "quality": 95},
        "restarts": {"restart_marker_rows": 1},
    }
    for name, options in forms.items():
        yield Case(f"{name}.jpg", encode(photo, "JPEG", **options), True)
    for mode in ("L", "CMYK"):
        yield Case(f"{mode}.jpg", encode(photo.convert(mode), "JPEG"), True)


def _pngs() -> Iterator[Case]:
    photo, clear = _photo(), _clear()
    for mode in ("1", "L", "P", "RGB"):
        yield Case(f"{mode}.png", encode(photo.convert(mode), "PNG"))
    for mode in ("LA", "RGBA"):
        yield Case(f"{mode}.png", encode(clear.convert(mode), "PNG"))
    palette = photo.quantize(32)
    yield Case("one_clear.png", encode(palette, "PNG", transparency=3))
    yield Case("clear_palette.png", encode(palette, "PNG", transparency=bytes(range(0, 256, 8))))
    yield Case("deep_grey.png", encode(Image.fromarray(deep(photo.convert("L"))), "PNG"))
    for colour, values in ((2, deep(photo)), (4, deep(clear.convert("LA"))), (6, deep(clear))):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        data = png(*photo.size, zlib.compress(rows), 16, colour=colour)
        yield Case(f"deep{colour}.png", data)
    grey = chunk(b"tRNS", struct.pack(">H", 100))
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(photo.convert("L")))
    yield Case("clear_grey.png", png(*photo.size, zlib.compress(rows), before=grey))
    for name, options in (("interlaced", ["-interlace", "PNG"]), ("few", ["-colors", "4"])):
        command = [PROGRAM, "ppm:-", *options, "png:-"]
        made = subprocess.run(command, input=encode(photo, "PPM"), capture_output=True, check=True)
        yield Case(f"{name}.png", made.stdout)


def _tiffs() -> Iterator[Case]:
    photo, clear = _photo(), _clear()
    for mode in ("1", "L", "P", "RGB", "CMYK", "I;16"):
        image = Image.fromarray(deep(photo.convert("L"))) if mode == "I;16" else photo.convert(mode)
        yield Case(f"{mode.replace(';', '')}.tif", encode(image, "TIFF"))
    yield Case("RGBA.tif", encode(clear, "TIFF"))
    yield Case("LA.tif", encode(clear.convert("LA"), "TIFF"))
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_deflate"):
        yield Case(f"{name}.tif", encode(photo, "TIFF", compression=name))
    yield Case("jpeg.tif", encode(photo, "TIFF", compression="jpeg"), True)
    for fax in ("group3", "group4", "tiff_ccitt"):
        yield Case(f"{fax}.tif", encode(photo.convert("1"), "TIFF", compression=fax))
    for turn in range(1, 9):
        yield Case(f"turn{turn}.tif", encode(photo, "TIFF", exif=exif(turn)))


def _layouts_of_tiff() -> Iterator[Case]:
    photo = _photo()
    values: dict[str, NDArray[Any]] = {"8": np.asarray(photo), "16": deep(photo)}
    layouts: dict[str, dict[str, Any]] = {
        "contig": {},
        "separate": {"planarconfig": "separate"},
        "tiles": {"tile": (16, 32)},
        "strips": {"rowsperstrip": 7},
        "lzw": {"compression": "zlib", "predictor": True},
    }
    for depth, pixels in values.items():
        for name, options in layouts.items():
            for order in ("<", ">"):
                stored = np.moveaxis(pixels, -1, 0) if name == "separate" else pixels
                stream = io.BytesIO()
                with tifffile.TiffWriter(
                    stream, byteorder=order, bigtiff=name == "tiles"
                ) as writer:
                    writer.write(stored, photometric="rgb", **options)
                ends = "little" if order == "<" else "big"
                yield Case(f"{name}{depth}_{ends}.tif", stream.getvalue())
    stream = io.BytesIO()
    grey = 255 - np.asarray(photo.convert("L"))
    tifffile.imwrite(stream, grey, photometric="miniswhite")
    yield Case("white_is_zero.tif", stream.getvalue())


def _others() -> Iterator[Case]:
    photo, clear = _photo(), _clear()
    frames = [photo.rotate(180)]
    palette = photo.quantize(64)
    yield Case("plain.gif", encode(palette, "GIF", interlace=0))
    yield Case("interlaced.gif", encode(palette, "GIF", interlace=1))
    yield Case("clear.gif", encode(palette, "GIF", transparency=5))
    yield Case("grey.gif", encode(photo.convert("L"), "GIF"))
    yield Case("frames.gif", encode(photo, "GIF", save_all=True, append_images=frames))
    yield Case("lossless.webp", encode(photo, "WEBP", lossless=True))
    yield Case("clear.webp", encode(clear, "WEBP", lossless=True, exact=True))
    yield Case("lossy.webp", encode(photo, "WEBP", quality=90), True)
    for mode in ("1", "L", "P", "RGB"):
        yield Case(f"{mode}.bmp", encode(photo.convert(mode), "BMP"))
    command = [PROGRAM, "gif:-", "-compress", "RLE", "bmp3:-"]
    data = subprocess.run(command, input=encode(palette, "GIF"), capture_output=True, check=True)
    yield Case("runs.bmp", data.stdout)


def _boxed() -> Iterator[Case]:
    photo, clear = _photo(), _clear()
    for mode in ("L", "RGB"):
        yield Case(f"{mode}.jp2", encode(photo.convert(mode), "JPEG2000"))
    yield Case("deep.jp2", encode(Image.fromarray(deep(photo.convert("L"))), "JPEG2000"))
    yield Case("raw.j2k", encode(photo, "JPEG2000", no_jp2=True))
    tiled = encode(photo, "JPEG2000", tile_size=(32, 32), irreversible=True)
    yield Case("tiled.jp2", tiled, True)
    yield Case("clear.jp2", encode(clear, "JPEG2000"))
    for kind in ("AVIF", "HEIC"):
        suffix = kind.lower()
        yield Case(f"photo.{suffix}", encode(photo, kind, quality=90), True)
        yield Case(f"grey.{suffix}", encode(photo.convert("L"), kind, quality=90), True)
    for turn in range(1, 9):
        yield Case(f"turn{turn}.avif", encode(photo, "AVIF", quality=90, exif=exif(turn)), True)
        yield Case(f"turn{turn}.heic", encode(photo, "HEIC", quality=90, exif=exif(turn)), True)
