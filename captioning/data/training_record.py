"""Which photographs a model was trained on, as its checkpoint records them.

An entry is the hash of a photograph's name and, after a colon, a 64-bit perceptual hash of the
photograph in hexadecimal digits. Models of earlier versions have recorded the names alone.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.data.images import ImageError
from captioning.data.perceptual_hash import (
    bit_distances,
    cached_thumbnails,
    difference_hashes,
    grey_thumbnail,
)
from captioning.data.splits import name_hash

_SIDE = 8  # of the thumbnail whose 64 differences are recorded
# Of 64 bits, and only for photographs of the same name: of the copies that ``ALIKE`` in
# ``perceptual_hash`` tells of 99.96 % are within 10, of pairs of different photographs 0.001 %.
# Without the name it would be too many: of 12,379 photographs of the web dozens are within 3.
_ALIKE = 10


def record(photographs: Sequence[Photograph], cache: Path) -> frozenset[str]:
    """The entries of photographs; ``cache`` is the folder that keeps their thumbnails."""
    hashes = _hashes(cached_thumbnails(cache, photographs))  # (M, 64)
    return frozenset(
        f"{name_hash(photo.name)}:{np.packbits(bits).tobytes().hex()}"
        for photo, bits in zip(photographs, hashes, strict=True)
    )


def recorded_among(entries: Collection[str], photographs: Iterable[Photograph]) -> list[Photograph]:
    """The photographs that a model with these ``entries`` was trained on.

    They have the name of an entry and, where it has a perceptual hash, look like it too: another
    photograph may have the same name. Where the photograph cannot be read, the name alone decides.
    """
    known: dict[str, list[str]] = {}
    for entry in entries:
        name, _, digits = entry.partition(":")
        known.setdefault(name, []).append(digits)
    return [photo for photo in photographs if _looks_like(photo, known.get(name_hash(photo.name)))]


def count_recorded(entries: Collection[str]) -> int:
    """How many photographs there are in a record; a name without a hash may repeat one with."""
    with_hash = {entry.partition(":")[0] for entry in entries if ":" in entry}
    return sum(":" in entry or entry not in with_hash for entry in entries)


def _looks_like(photograph: Photograph, known: Sequence[str] | None) -> bool:
    """Whether a photograph looks like one of the recorded hashes of its name, if there are any."""
    if not known:
        return False
    hashes = [_bits(digits) for digits in known]
    if any(bits is None for bits in hashes):
        return True
    try:
        own = _hashes(grey_thumbnail(photograph.path)[np.newaxis])
    except ImageError:
        return True
    others = np.array(hashes, np.bool_)  # (N, 64)
    return bool(bit_distances(own, others).min() <= _ALIKE)


def _hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The 64-bit hashes (M, 64) of thumbnails (M, 16, 17)."""
    size, box = (_SIDE + 1, _SIDE), Image.Resampling.BOX
    small = [np.asarray(Image.fromarray(grey).resize(size, box)) for grey in thumbnails]
    return difference_hashes(np.array(small, np.uint8).reshape(-1, _SIDE, _SIDE + 1))


def _bits(digits: str) -> NDArray[np.bool_] | None:
    """The bits (64,) that are written in hexadecimal; None for an entry that has no such hash."""
    try:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8))
    except ValueError:
        return None
    return bits.astype(np.bool_) if len(bits) == _SIDE**2 else None
