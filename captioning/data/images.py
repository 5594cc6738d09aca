"""From a photograph (a path, a file, or pixels) to the array the network sees.

Which formats are read is known to ``photo_kinds``, how much memory one may take to
``photo_memory``, and which way up it is to ``photo_modes``; here it becomes an array with the mean
and standard deviation that the network wants. All of it may be called from several threads at
once, and nothing changes Pillow for others in the same process.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from captioning.data.photo_kinds import (
    IMAGE_SUFFIXES,
    OTHER_PICTURE_SUFFIXES,
    READABLE,
    Decoded,
    decode,
)
from captioning.data.photo_memory import MEMORY_LIMIT, require_room_for, too_large
from captioning.data.photo_modes import upright_rgb
from captioning.data.photo_sources import (
    ImageError,
    Source,
    describe,
    from_array,
    is_path,
    open_source,
    printable,
    source_name,
)
from captioning.errors import SettingError

__all__ = [
    "DEFAULT_CONFIG",
    "IMAGE_SUFFIXES",
    "MEMORY_LIMIT",
    "OTHER_PICTURE_SUFFIXES",
    "READABLE",
    "ImageConfig",
    "ImageError",
    "Photo",
    "Source",
    "describe",
    "is_path",
    "load_image",
    "printable",
    "read_photo",
    "read_with_remark",
    "source_name",
    "to_array",
]

_LARGEST = 2048  # pixels a side: for more the network would take gigabytes
# The most that releases which still obey max_megapixels accept.
_MOST_MEGAPIXELS = 178.0


class Photo(NamedTuple):
    """A photograph, upright and RGB, and what people should know of its file, in a sentence."""

    image: Image.Image
    remark: str | None


@dataclass(frozen=True)
class ImageConfig:
    """How pixels are prepared for the network; a checkpoint stores one.

    ``size`` is the side in pixels of the square into which a photograph is squeezed (its aspect
    ratio is not kept), and ``mean`` and ``std`` are per channel (R, G, B) of values in 0..1.
    ``max_megapixels`` changes nothing any more: what a photograph may take is limited in bytes of
    memory (``MEMORY_LIMIT``). Checkpoints go on storing it, so that earlier releases can read them.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_megapixels: float = 100.0

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST:
            raise SettingError(
                f"size must be a whole number of pixels up to {_LARGEST:,}, not {self.size!r}"
            )
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
    than twice ``near`` on either side; without ``near``, at full size, or at the largest that
    fits into ``MEMORY_LIMIT``. The result carries no metadata, so reading it again does not turn
    it again. A PIL image is not modified, and a file that was given open stays open. ``config``
    changes nothing: it held a limit once, and callers still pass it.

    Raises ImageError if ``source`` cannot be read.
    """
    return read_with_remark(source, near).image


def read_with_remark(source: Source, near: int | None = None) -> Photo:
    """Read a photograph as ``read_photo`` does, with what people should know of its file.

    There is a remark on a JPEG that ends early but shows most of its picture.
    """
    if near is not None and near < 1:
        raise ValueError(f"near must be at least 1 pixel, not {near}")
    name = describe(source)
    with _without_warnings():
        if isinstance(source, Image.Image | np.ndarray):
            image = from_array(source) if isinstance(source, np.ndarray) else source
            with _one_sentence(name):
                require_room_for(image, name)
                image.load()
                return Photo(upright_rgb(image, name, owned=False), None)
        with open_source(source, name) as stream, _one_sentence(name):
            decoded: Decoded = decode(stream, name, near)
            return Photo(upright_rgb(decoded.image, name, owned=True), decoded.remark)


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
    array = np.asarray(photo).transpose(2, 0, 1).astype(np.float32, order="C")  # (3, H, W)
    mean, std = (np.array(x, dtype=np.float32)[:, None, None] for x in (config.mean, config.std))
    # In place: each array more would be written and read once.
    array /= 255
    array -= mean
    array /= std
    return array


# Errors in one sentence, and no warnings ------------------------------------------------------


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    """Turn whatever the decoders raise into ImageError.

    On damaged bytes they raise nearly anything: OSError, SyntaxError, struct.error, EOFError,
    zlib.error, MemoryError, KeyError. So this catches Exception, but only around the reading.
    """
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise too_large(name) from error
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
