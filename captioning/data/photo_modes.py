"""Any mode of Pillow to upright RGB, and which values of deep pixels are black and white."""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.data.photo_sources import ImageError
from captioning.data.tiff_directories import ORIENTATION, orientation

_RAW_EXIF = "Raw profile type exif"  # how old programs name EXIF in a PNG
_BAND = 1 << 18  # values that are converted at a time
_SAMPLE = 1 << 20  # values of which quantiles are taken

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Cameras and microscopes of 8, 10 or 12 bits store their values in 16: nothing in the file says
# so, and the picture would come out nearly black. See white_of_integers.
_NARROW = (255, 1023, 4095)


def upright_rgb(image: Image.Image, name: str, owned: bool) -> Image.Image:
    """A new RGB image without metadata, upright by its EXIF, transparency composed over white.

    An image that is ``owned`` is closed as soon as it is not needed. Raises ImageError for a mode
    that cannot be converted.
    """
    if owned:
        _shorten_exif(image)
    if (turn := _turn(image)) is not None:
        # Turned first: then an image of one byte a pixel takes two, not eight.
        turned = image.transpose(turn)
        if owned:
            image.close()
        image, owned = turned, True
    if image.mode == "F" or image.mode.startswith("I"):
        grey = _deep_grey_to_8_bits(image)
        if owned:
            image.close()
        image = grey
    try:
        photo = _over_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{name} has the colour mode {image.mode}, which cannot be read: save it again as RGB."
        ) from error
    photo.info.clear()
    return photo


def white_of_integers(highest: int) -> int:
    """The value of white in unsigned integers of 16 bits of which none exceeds ``highest``.

    Where not a single value exceeds 4095, they are taken for 8, 10 or 12 bits, the
    fewest that hold them all. As 16 bits, the brightest pixel would be 16 of 255, so dark that
    neither people nor the model see anything: a photograph that was meant to be that dark loses
    nothing. Values up to 16383 may be a night photograph and stay as they are.
    """
    return next((white for white in _NARROW if highest <= white), 65535)


def range_of(values: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Which values are black and white in floats, or in integers of 32 bits or with a sign.

    ``low`` and ``high`` are the lowest and highest finite value. Black is 0 and white the first
    of 1, 255, 1023, 4095 and 65535 that no value exceeds, or, of floats, that at most 1 in 100
    does, as highlights do. If there is none, or if values are negative, black is the lowest
    and white the highest value.
    """
    if low >= 0:
        most = high
        if values.dtype.kind == "f":
            sample = values.reshape(-1)[:: max(1, values.size // _SAMPLE)]
            most = float(np.quantile(np.nan_to_num(sample, posinf=0.0), 0.99))
        for white in (1.0, *_NARROW, 65535.0):
            if most <= white:
                return 0.0, white
    return low, high if high > low else low + 1


def to_bytes(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Scale values to 0..255, ``low`` to 0 and ``high`` to 255; NaN and infinity become black."""
    wide = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    with np.errstate(over="ignore"):
        scaled = (np.nan_to_num(wide, posinf=low, neginf=low, nan=low) - low) * (255 / (high - low))
    narrow: npt.NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return narrow


def bands(height: int, row: int) -> Iterator[slice]:
    """Slices of rows that hold a quarter of a million values each, of ``row`` values a row."""
    step = max(1, _BAND // max(1, row))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes an image upright by its EXIF; None if it has none or is damaged."""
    try:
        return _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels are intact, and probably upright: better than to refuse them
        return None


def _shorten_exif(image: Image.Image) -> None:
    """Leave of EXIF only which way up the image is.

    Pillow would read all of its tags, and thousands may claim the same bytes.
    """
    exif, text = image.info.pop("exif", None), image.info.pop(_RAW_EXIF, None)
    with suppress(ValueError, IndexError, OverflowError, struct.error):  # damaged
        if exif is None and text:
            exif = bytes.fromhex("".join(text.split("\n")[3:]))
        if exif and (turn := orientation(exif.removeprefix(b"Exif\0\0"))) is not None:
            image.getexif()[ORIENTATION] = turn


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # grey premultiplied by its alpha, which Pillow converts only to LA
        image = image.convert("LA")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    photo = Image.new("RGB", layer.size, "white")
    photo.paste(layer, mask=layer)
    return photo


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 or 32 bits or of floats to mode L; Pillow's convert would clip it."""
    values = np.asarray(image)  # (H, W)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode.startswith("I;16"):
        black, white = 0.0, float(white_of_integers(int(high)))
    else:
        black, white = range_of(values, low, high)
    grey = np.empty(values.shape, np.uint8)
    for rows in bands(*values.shape):
        grey[rows] = to_bytes(values[rows], black, white)
    if (clear := image.info.get("transparency")) is not None:  # of a PNG: one value of grey
        grey[values == clear] = 255
    return Image.fromarray(grey)
