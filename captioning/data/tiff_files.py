"""TIFF: which of a file's pictures is the photograph, and who decodes it."""

from typing import BinaryIO

from PIL import Image, TiffImagePlugin

from captioning.data import tiff_samples
from captioning.data.photo_memory import pixel_memory, require_memory
from captioning.data.photo_sources import ImageError
from captioning.data.tiff_directories import (
    BITS,
    COMPRESSION,
    DNG,
    OLD_SUBFILE,
    ORIENTATION,
    PHOTOMETRIC,
    SAMPLES,
    STRIPS,
    SUBFILE,
    TILE_LENGTH,
    TILE_WIDTH,
    TILES,
    OneDirectory,
    Tags,
    directories,
    read_header,
)

_COLOUR_FILTER, _LINEAR_RAW = 32803, 34892  # values of the tag of photometric interpretation
_RAW_COMPRESSION = {32767, 34713, 65000, 65535}  # Sony, Nikon, Kodak, Pentax
_PIECE = 500  # bytes that Pillow holds for each strip or tile


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the first picture of a TIFF that is no smaller copy of another.

    Raises ImageError for a camera's raw file, of which other readers show the preview, and for a
    picture that takes too much memory or is stored in a way that cannot be read.
    """
    header = read_header(stream)
    found = directories(stream, header)
    if any(_is_raw(each.tags) for each in found):
        raise raw_file(name)
    if not found:
        raise ValueError("no directory")
    main = next((each for each in found if not _is_small_copy(each.tags)), found[0])
    # Pillow knows no BigTIFF that is big-endian.
    is_odd = header.is_big and header.order == ">"
    if is_odd or not tiff_samples.is_for_pillow(main.tags):
        image = tiff_samples.decode(stream, main.tags, header.order, name)
        image.getexif()[ORIENTATION] = main.tags.get(ORIENTATION, 1)
        return image
    length = stream.seek(0, 2)
    image = TiffImagePlugin.TiffImageFile(OneDirectory(stream, header, main).binary())
    needed = image.width * image.height * pixel_memory(_mode(image))
    require_memory(name, image.size, needed + _overhead(main.tags, image.size, length))
    image.load()
    return image


def raw_file(name: str) -> ImageError:
    """What to say of what a sensor saw."""
    return ImageError(
        f"{name} is a camera's raw file, of which only a small preview could be read: export it "
        "as JPEG."
    )


def _is_raw(tags: Tags) -> bool:
    """Whether a picture holds what a sensor saw."""
    return (
        tags.get(PHOTOMETRIC) in (_COLOUR_FILTER, _LINEAR_RAW)
        or tags.get(COMPRESSION) in _RAW_COMPRESSION
        or DNG in tags
    )


def _is_small_copy(tags: Tags) -> bool:
    """Whether a picture is a smaller copy of another picture, or a mask."""
    kind = tags.get(SUBFILE, 0)
    return bool(isinstance(kind, int) and kind & 0b101) or tags.get(OLD_SUBFILE) == 2


def _mode(image: Image.Image) -> str:
    return "PA" if image.mode == "P" and image.has_transparency_data else image.mode


def _overhead(tags: Tags, size: tuple[int, int], length: int) -> int:
    """Bytes besides the image: what is kept of its pieces, and what libtiff decompresses.

    libtiff gets the file as a whole, and has a buffer of a piece, at worst of the whole picture.
    """
    pieces = _PIECE * len(tags.get(TILES, tags.get(STRIPS, ())))
    if tags.get(COMPRESSION, 1) == 1:
        return pieces
    width, height = (tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)) if TILES in tags else size
    bits = max(8, *tags.get(BITS, (1,))) * tags.get(SAMPLES, 1)
    return int(pieces + width * height * bits // 8 + 2 * length)
