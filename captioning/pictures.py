"""Pictures made with Pillow alone: thumbnails, attention laid over a photograph."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

_QUALITY = 80  # of JPEG: at a page's sizes no difference is seen, and a gallery stays small
STRENGTH = 0.75  # the part of its brightness that a photograph loses where nobody looked


def overlay(
    photo: Image.Image, weights: NDArray[np.float32], strength: float = STRENGTH
) -> Image.Image:
    """Darken a photograph where the model did not look: attention weights (h, w) laid over it.

    The photograph keeps its brightness where the weight is greatest, and loses ``strength`` of it,
    from 0 (none) to 1 (black), where it is least; see ``light``.
    """
    mask = Image.fromarray(np.rint(255 * light(weights)).astype(np.uint8)).resize(
        photo.size, Image.Resampling.BICUBIC
    )
    dark = ImageEnhance.Brightness(photo).enhance(1 - strength)
    return Image.composite(photo, dark, mask)


def light(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """How brightly to show each place of attention weights (h, w): 1 where the weight is greatest.

    Weights that differ by less than an even share get that much less contrast: where the model
    looked everywhere alike, everything is light.
    """
    most, even = float(weights.max()), float(weights.mean())
    contrast = max(most - float(weights.min()), even, float(np.finfo(np.float32).tiny))
    shown: NDArray[np.float32] = 1 - (most - weights) / contrast  # (h, w), 0 to 1
    return shown


def thumbnail(photo: Image.Image, side: int) -> Image.Image:
    """Resize a photograph, in proportion, to ``side`` pixels on its longer side."""
    scale = side / max(photo.size)
    # A side would round to 0 in a strip, which Pillow's own ImageOps.contain does not survive.
    return photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))


def as_jpeg(photo: Image.Image) -> bytes:
    """A small RGB photograph as JPEG, for a page."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """An image of a kind ("jpeg", "svg+xml") as an address that holds the image itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
