"""HEIC, as iPhones store photographs, by pillow-heif where that is installed.

It is not a requirement: its wheels contain an encoder under the GPL, which never runs here but
which not everybody can pass on. Nothing is registered with Pillow.
"""

from typing import BinaryIO

from PIL import Image

from captioning.data.photo_memory import pixel_memory, require_memory, require_short
from captioning.data.photo_sources import ImageError

# Bytes a pixel besides the image: planes of YCbCr, and the RGB that libheif makes of them.
_OVERHEAD, _DEEP_OVERHEAD = 4, 10


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the main picture of a HEIF file, upright, in 8 bits a channel.

    libheif turns and mirrors it as the file says, and EXIF then has nothing to add: so the result
    carries no EXIF. Raises ImageError where pillow-heif is missing, or if the picture takes too
    much memory.
    """
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(
            f"{name} is a HEIC photograph, which only pillow-heif can read: run pip install "
            "pillow-heif, or export the photograph as JPEG."
        ) from None
    held = require_short(stream, name)
    file = pillow_heif.open_heif(stream, convert_hdr_to_8bit=True)
    width, height = file.size
    overhead = _OVERHEAD if file.info["bit_depth"] <= 8 else _DEEP_OVERHEAD
    pixels = width * height * (pixel_memory(file.mode) + overhead)
    require_memory(name, file.size, pixels + held)
    image: Image.Image = file.to_pillow()
    image.info.clear()
    return image
