"""Pictures made with Pillow alone: thumbnails, attention laid over a photograph."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

_QUALITY = 80  # of JPEG: invisible at a page's sizes, and it keeps a gallery small
STRENGTH = 0.75  # share of its brightness that a photograph loses where attention is least


def overlay(
    photo: Image.Image, weights: NDArray[np.float32], strength: float = STRENGTH
) -> Image.Image:
    """Darken a photograph where the model did not look: attention weights (h, w) laid over it.

    The photograph keeps its brightness where the weight is greatest, and loses ``strength`` of it,
    from 0 (nothing) to 1 (all), where the weight is least; see ``brightness``.
    """
    mask = Image.fromarray(np.rint(255 * brightness(weights)).astype(np.uint8)).resize(
        photo.size, Image.Resampling.BICUBIC
    )
    dark = ImageEnhance.Brightness(photo).enhance(1 - strength)
    return Image.composite(photo, dark, mask)


def brightness(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """How brightly to show each location (h, w) of attention weights: 1 where they are greatest.

    Weights that differ by less than their mean get that much less contrast, so that nearly even
    attention leaves the whole photograph bright.
    """
    most, mean = float(weights.max()), float(weights.mean())
    contrast = max(most - float(weights.min()), mean, float(np.finfo(np.float32).tiny))
    shown: NDArray[np.float32] = 1 - (most - weights) / contrast  # (h, w), 0 to 1
    return shown


def thumbnail(photo: Image.Image, side: int) -> Image.Image:
    """Resize a photograph, in proportion, to ``side`` pixels on its longer side."""
    scale = side / max(photo.size)
    # The short side of a strip would round to 0, at which Pillow's ImageOps.contain fails.
    return photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))


def as_jpeg(photo: Image.Image) -> bytes:
    """A small RGB photograph as JPEG, for a page."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def data_url(kind: str, content: bytes) -> str:
    """An image of a kind ("jpeg", "svg+xml") as an address that holds the image itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
