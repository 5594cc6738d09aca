"""How much memory a photograph may take, and how much decoding it will.

A photograph may take 1 GB, whatever its kind: what Pillow or another decoder holds at the same
time until the photograph is upright RGB. The estimates are per pixel of the decoded picture, and
tests measure that real processes stay below them.
"""

from typing import BinaryIO

from PIL import Image

from captioning.data.photo_sources import ImageError

MEMORY_LIMIT = 1_000_000_000  # bytes

# What an image takes, and with it its upright copy, its RGBA and its RGB, whichever is the most.
# Pillow keeps 4 bytes a pixel for every mode of two bands or more.
_PIXEL = {"1": 5, "L": 5, "P": 5, "I;16": 6, "I;16L": 6, "I;16B": 6, "I;16N": 6}
_PIXEL |= {"LA": 12, "PA": 12, "RGBa": 12, "La": 16}
_OTHER_PIXEL = 8

_COPIES = 3  # of a file's bytes, which decoders make that read it as a whole


def pixel_memory(mode: str) -> int:
    """Bytes a pixel from an image of this mode to upright RGB, the image included."""
    return _PIXEL.get(mode, _OTHER_PIXEL)


def require_memory(name: str, size: tuple[int, int], needed: int) -> None:
    """Refuse a picture of (width, height) whose decoding takes more bytes than the limit.

    Raises ImageError, also for a picture without pixels.
    """
    if 0 in size:
        raise ImageError(f"{name} has no pixels: give one that is at least 1 x 1.")
    if needed > MEMORY_LIMIT:
        raise too_large(name, size)


def too_large(name: str, size: tuple[int, int] | None = None) -> ImageError:
    """What to say of a picture that takes more memory than the limit."""
    pixels = f" ({size[0]} x {size[1]} pixels)" if size else ""
    return ImageError(
        f"{name} would take more than {MEMORY_LIMIT / 1e9:g} GB of memory{pixels}: make it smaller "
        "first."
    )


def require_room_for(image: Image.Image, name: str, overhead: int = 0, held: int = 0) -> None:
    """Refuse an image that is not yet loaded, by its header.

    ``overhead`` is bytes a pixel, ``held`` bytes whatever its size.
    """
    mode = "PA" if image.mode == "P" and image.has_transparency_data else image.mode
    pixels = image.width * image.height
    require_memory(name, image.size, pixels * (pixel_memory(mode) + overhead) + held)


def require_short(stream: BinaryIO, name: str) -> int:
    """Refuse a file that its decoder cannot hold, of whatever is in it; returns what it holds.

    For decoders that read a file as a whole, and copy it.
    """
    held = _COPIES * stream.seek(0, 2)
    stream.seek(0)
    if held > MEMORY_LIMIT:
        raise too_large(name)
    return held
