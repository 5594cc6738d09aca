"""Pictures made with Pillow alone: maps as heat over a photograph, their scale, thumbnails.

The colours are those of matplotlib's "inferno": perceptually uniform, so that equal steps of a
value look equal, and ordered by lightness, so that colour-blind readers and greyscale prints show
the same order (Smith and van der Walt, SciPy 2015).
"""

import base64
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 80  # of JPEG: invisible at a page's sizes, and it keeps a gallery small
STRENGTH = 0.6  # opacity of heat over a photograph: the photograph remains recognisable
LEAST_EVIDENCE = 0.1  # share of its support: a word that loses less is shown with little heat
# Evenly spaced samples of inferno, from its least to its greatest; between them is interpolated.
_SAMPLES = """
    000004 040312 0b0724 150b37 210c4a 2e0a5a 3c0965 4a0c6b 57106d 63146e 70196e 7d1e6d 89226a
    962766 a32b61 af315c bb3755 c63e4d d14644 db4f3b e35932 eb6528 f1711e f67f14 f98d0a fb9c06
    fcab0f fbba1f f9ca32 f5d949 f2e865 f3f586 fcffa4
"""
COLOURS = tuple(f"#{sample}" for sample in _SAMPLES.split())


class Heat(NamedTuple):
    """A map to be shown: ``values`` (h, w), of which 0 is the coldest and ``top`` the hottest.

    Both are shares from 0 to 1.
    """

    values: NDArray[np.float32]
    top: float

    def share(self) -> NDArray[np.float32]:
        """How hot each location is: (h, w), 0 to 1."""
        shares: NDArray[np.float32] = np.clip(self.values / self.top, 0, 1).astype(np.float32)
        return shares


def attention_heat(weights: NDArray[np.floating]) -> Heat:
    """The attention of a word (h, w), each location's share of it, from 0 to the greatest."""
    values = np.clip(weights, 0, None).astype(np.float32)
    return Heat(values, max(float(values.max(initial=0)), float(np.finfo(np.float32).tiny)))


def evidence_heat(losses: NDArray[np.floating]) -> Heat:
    """The evidence for a word (h, w), in nats, as the share of its support that is lost.

    Support is multiplied by e to the power of minus the loss. Where it would be gained, nothing is
    lost. The scale ends at the
    greatest loss, but not below ``LEAST_EVIDENCE``.
    """
    values = -np.expm1(-np.clip(losses, 0, None)).astype(np.float32)
    return Heat(values, max(float(values.max(initial=0)), LEAST_EVIDENCE))


def heat_of(kind: str, values: NDArray[np.floating]) -> Heat:
    """A map (h, w) of a kind, "evidence" or "attention"."""
    return evidence_heat(values) if kind == "evidence" else attention_heat(values)


def overlay(photo: Image.Image, heat: Heat, strength: float = STRENGTH) -> Image.Image:
    """Lay heat over a photograph in grey: RGB, of the photograph's size.

    ``strength`` is the opacity of the heat, from 0 (only the photograph) to 1 (only the heat).
    """
    share = Image.fromarray(heat.share()).resize(photo.size, Image.Resampling.BICUBIC)
    colours = colourise(np.asarray(share))
    return Image.blend(photo.convert("L").convert("RGB"), Image.fromarray(colours), strength)


def scale_picture(width: int, height: int) -> Image.Image:
    """The scale of the colours as a bar, from cold at the left to hot at the right: RGB."""
    shares = (np.arange(width, dtype=np.float32) + 0.5) / width
    return Image.fromarray(colourise(np.broadcast_to(shares, (height, width))))


def colourise(shares: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The colours (..., 3) of shares (...) from 0 to 1; what is beyond counts as the end."""
    samples = np.array([list(bytes.fromhex(sample)) for sample in _SAMPLES.split()], np.float32)
    positions = np.linspace(0, 1, len(samples))
    channels = [np.interp(shares, positions, channel) for channel in samples.T]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


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
