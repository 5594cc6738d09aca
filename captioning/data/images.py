"""From a photograph (a path, the bytes of a file, or a PIL image) to the array the network sees.

Only this module knows which formats are read, which way up a photograph is, and with which mean
and standard deviation its pixels are normalised. All of it may be called from several threads at
once.
"""

import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

# The six plugins that are needed, imported by name, or Pillow would import its forty others on the
# first TIFF or WebP.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from captioning.errors import CaptioningError, SettingError

Source = str | os.PathLike[str] | bytes | Image.Image

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"}
)

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
_READABLE = "JPEG, PNG, WebP, GIF, TIFF or BMP"

_ORIENTATION = 0x0112  # the EXIF and TIFF tag
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags
_WHITE_IS_ZERO = 0  # a value of _PHOTOMETRIC

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow refuses more than twice its MAX_IMAGE_PIXELS, and raising that would affect every user of
# Pillow in this process.
_MOST_MEGAPIXELS = 178.0


class ImageError(CaptioningError):
    """A photograph that cannot be read; the message says which, why, and what to do."""


@dataclass(frozen=True)
class ImageConfig:
    """How pixels are prepared for the network; a checkpoint stores one.

    ``size`` is the side in pixels of the square into which a photograph is squeezed (its aspect
    ratio is not kept), ``mean`` and ``std`` are per channel (R, G, B) of values in 0..1, and
    photographs of more than ``max_megapixels`` million pixels are refused before decoding.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_megapixels: float = 100.0

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise SettingError(f"size must be a whole number of pixels, not {self.size!r}")
        for name in ("mean", "std"):
            # A list, as JSON gives it, must compare equal to the same tuple.
            object.__setattr__(self, name, tuple(float(x) for x in getattr(self, name)))
            if len(getattr(self, name)) != 3 or not np.isfinite(getattr(self, name)).all():
                raise SettingError(f"{name} must be three numbers, not {getattr(self, name)}")
        if min(self.std) <= 0:
            raise SettingError(f"std must be above 0, not {self.std}")
        if not 0 < self.max_megapixels <= _MOST_MEGAPIXELS:
            raise SettingError(
                f"max_megapixels must be above 0 and at most {_MOST_MEGAPIXELS:g}, "
                f"not {self.max_megapixels}"
            )


DEFAULT_CONFIG = ImageConfig()


def load_image(source: Source, config: ImageConfig = DEFAULT_CONFIG) -> npt.NDArray[np.float32]:
    """Read and normalise a photograph: float32 (3, size, size).

    Raises ImageError if ``source`` cannot be read.
    """
    return to_array(read_photo(source, config, near=config.size), config)


def read_photo(
    source: Source, config: ImageConfig = DEFAULT_CONFIG, near: int | None = None
) -> Image.Image:
    """Read a photograph as people see it: RGB, upright, transparency over white.

    ``near`` is the side in pixels to which the caller will shrink the photograph. A JPEG is then
    decoded at a half, a quarter or an eighth of its size, many times faster, but never to less
    than twice ``near`` on either side; without ``near``, at full size. The result carries no
    metadata, so reading it again does not turn it again. A PIL image is not modified.

    Raises ImageError if ``source`` cannot be read.
    """
    if near is not None and near < 1:
        raise ValueError(f"near must be at least 1 pixel, not {near}")
    name = describe(source)
    with _one_sentence(name, config), _without_warnings(), _opened(source, name) as image:
        _check_size(image, name, config)
        if near is not None and not isinstance(source, Image.Image):
            image.draft(None, (2 * near, 2 * near))
        image.load()
        photo = _flatten(image, name)
        # After load(): Pillow turns a TIFF itself then, and a PNG may have its EXIF at the end.
        turn = _turn(image)
    return photo if turn is None else photo.transpose(turn)


def to_array(photo: Image.Image, config: ImageConfig = DEFAULT_CONFIG) -> npt.NDArray[np.float32]:
    """Squeeze an RGB photograph into the square and normalise it: float32 (3, size, size).

    Raises ValueError for another mode than RGB; read_photo converts every mode.
    """
    if photo.mode != "RGB":
        raise ValueError(
            f"to_array needs an RGB photograph, as read_photo gives it, not mode {photo.mode}"
        )
    square = (config.size, config.size)
    if photo.size != square:
        photo = photo.resize(square, Image.Resampling.BICUBIC, reducing_gap=3.0)
    mean, std = (np.array(x, dtype=np.float32) for x in (config.mean, config.std))  # (3,)
    pixels = np.asarray(photo, dtype=np.float32) / 255  # (H, W, 3)
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))  # (3, H, W)


def describe(source: Source) -> str:
    """Name ``source`` in a message: its path on one line, or "the image".

    Raises TypeError for anything that is not a Source.
    """
    if isinstance(source, bytes | Image.Image):
        return "the image"
    path = os.fsdecode(os.fspath(source))
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path) or "the empty path"


# Opening -------------------------------------------------------------------------------------


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    """Yield ``source`` as a PIL image with its header read; close it if it was opened here."""
    if isinstance(source, Image.Image):
        yield source
        return
    # Pillow gets a stream even for a path: from a path it maps a BMP into memory, and a mapped
    # file that another program shortens kills the process.
    stream = BytesIO(source) if isinstance(source, bytes) else _open_file(source, name)
    with stream:
        if not stream.read(1):
            raise ImageError(f"{name} is empty: save or download it again.")
        with Image.open(stream, formats=_FORMATS) as image:
            yield image


def _open_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file, or raise ImageError that says why not."""
    try:
        # Checked first: opening a named pipe waits for a writer, perhaps for ever.
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist: check the path.") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read: change its permissions.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name} cannot be opened ({reason}): check the path.") from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"{name} is a folder: give the path of a photograph in it.")
    raise ImageError(f"{name} is not an ordinary file: give the path of a photograph.")


def _check_size(image: Image.Image, name: str, config: ImageConfig) -> None:
    """Raise ImageError for no pixels or too many, going by the header alone."""
    if 0 in image.size:
        raise ImageError(f"{name} has no pixels: give one that is at least 1 x 1.")
    if image.width * image.height > config.max_megapixels * 1e6:
        raise _too_large(name, config, f" ({image.width} x {image.height})")


def _too_large(name: str, config: ImageConfig, size: str = "") -> ImageError:
    return ImageError(
        f"{name} has more than {config.max_megapixels:g} megapixels{size}: make it smaller first."
    )


# Errors in one sentence, and no warnings ------------------------------------------------------


@contextmanager
def _one_sentence(name: str, config: ImageConfig) -> Iterator[None]:
    """Turn whatever the decoders raise into ImageError.

    On damaged bytes they raise nearly anything: OSError, SyntaxError, struct.error, EOFError,
    zlib.error, MemoryError, KeyError. So this catches Exception, but only around the reading.
    """
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image of a kind that can be read ({_READABLE}), or its beginning "
            "is damaged: save it again as JPEG or PNG."
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, config) from error
    except Exception as error:
        raise ImageError(f"{name} is damaged or incomplete: save or download it again.") from error


class _Reading(threading.local):
    """Used as the pattern of a warning filter; matches in threads that are reading a photograph.

    warnings.catch_warnings does not work here: it swaps the filters of the whole process, so two
    threads that overlap can leave each other's in place for good.
    """

    active = False

    def match(self, text: str) -> bool:
        return self.active


_READING = _Reading()
_FILTER = ("ignore", cast(Any, _READING), Warning, None, 0)
_FILTER_LOCK = threading.Lock()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence this thread's warnings: Pillow's are about metadata, and sizes checked here."""
    _put_filter_first()
    _READING.active = True
    try:
        yield
    finally:
        _READING.active = False


def _put_filter_first() -> None:
    """Put the filter first, if it is not there yet or others have been put before it."""
    filters = cast(list[Any], warnings.filters)
    if filters[:1] == [_FILTER]:
        return
    with _FILTER_LOCK:
        while _FILTER in filters:
            filters.remove(_FILTER)
        filters.insert(0, _FILTER)


# Any mode to upright RGB ----------------------------------------------------------------------


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes an image upright by its EXIF; None if it has none or is damaged."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the pixels are intact, and probably upright: better than to refuse them
        return None


def _flatten(image: Image.Image, name: str) -> Image.Image:
    """A new RGB image without metadata, transparency composed over white."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _deep_grey_to_8_bits(image)
    try:
        photo = _over_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{name} has the colour mode {image.mode}, which cannot be read: save it again as RGB."
        ) from error
    photo.info.clear()
    return photo


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # grey premultiplied by its alpha, which Pillow converts only to LA
        image = image.convert("LA")
    layer = image.convert("RGBA")
    photo = Image.new("RGB", layer.size, "white")
    photo.paste(layer, mask=layer)
    return photo


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 12, 16 or 32 bits or of floats to mode L; Pillow's convert would clip it."""
    tags = getattr(image, "tag_v2", {})  # a TIFF has them
    values = np.asarray(image, dtype=np.float32)  # (H, W)
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        bits = min(16, max(tags.get(_BITS_PER_SAMPLE, (16,))))
        low, high = 0.0, 2.0**bits - 1
    else:
        low, high = _range(values)
    grey = (values - low) * (255 / (high - low))  # (H, W), 0..255
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts it for 8 bits only
        grey = 255 - grey
    if (clear := image.info.get("transparency")) is not None:  # of a PNG: one value of grey
        grey[values == clear] = 255
    return Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8))


def _range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Guess which values are black and white, where the mode does not say.

    0 and the first of 1, 255 and 65535 that no value exceeds; if there is none, or if values are
    negative, the lowest and the highest value.
    """
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        for white in (1.0, 255.0, 65535.0):
            if high <= white:
                return 0.0, white
    return low, high if high > low else low + 1
