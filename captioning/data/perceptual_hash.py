"""Photographs that look alike, whatever their files' names, sizes and compression.

A difference hash has one bit for each pair of neighbours in a row of a grey thumbnail: whether the
right one is brighter (N. Krawetz, "Kind of Like That", hackerfactor.com 2013).
"""

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from captioning.data.array_files import open_array
from captioning.data.caption_files import Photograph
from captioning.data.caption_rows import count_noun
from captioning.data.images import ImageError, Source, read_photo
from captioning.files import remove_leftovers, write_atomically

ROWS, COLUMNS = 16, 17  # of a thumbnail: 256 differences
# Of 256 bits. Between Flickr8k and 12,379 photographs of other sources, mirror images included, no
# two are nearer than 34, both of them nearly empty; half of all pairs are beyond 127. Of their
# copies in JPEG, of quality 30 to 90 and 128 to 1,024 pixels, 99.3 % are within 30; so are all
# of those that have lost 1 % at each edge, and most that have lost 2 %.
ALIKE = 30
_ROW = np.dtype([("key", "S32"), ("grey", "u1", (ROWS, COLUMNS))])
_CHUNK = 1024  # hashes compared with all others at a time, or photographs read


def grey_thumbnail(source: Source) -> NDArray[np.uint8]:
    """A photograph squeezed to 17 x 16 pixels of grey: uint8 (16, 17).

    Raises ImageError if ``source`` cannot be read.
    """
    photo = read_photo(source, near=COLUMNS).convert("L")
    return np.asarray(photo.resize((COLUMNS, ROWS), Image.Resampling.LANCZOS))


def difference_hashes(thumbnails: NDArray[np.uint8], mirrored: bool = False) -> NDArray[np.bool_]:
    """The 256-bit hashes (M, 256) of thumbnails (M, 16, 17), or of their mirror images."""
    grey = thumbnails[:, :, ::-1] if mirrored else thumbnails
    bits: NDArray[np.bool_] = grey[:, :, 1:] > grey[:, :, :-1]
    return bits.reshape(len(bits), math.prod(bits.shape[1:]))


def find_alike(thumbnails: NDArray[np.uint8], others: NDArray[np.uint8]) -> dict[int, int]:
    """Which photographs are copies of which others, mirrored or not, by thumbnails (M, 16, 17).

    Keys are indices of ``thumbnails``, in order; values that of the nearest of the ``others``.
    """
    if not len(others):
        return {}
    known = difference_hashes(others)
    best = np.full(len(thumbnails), ALIKE + 1)
    nearest = np.zeros(len(thumbnails), np.intp)
    for mirrored in (False, True):
        hashes = difference_hashes(thumbnails, mirrored)
        for start in range(0, len(hashes), _CHUNK):
            rows = slice(start, start + _CHUNK)
            distances = bit_distances(hashes[rows], known)  # (m, N)
            closest = distances.argmin(axis=1)
            least = distances.min(axis=1)
            nearest[rows] = np.where(least < best[rows], closest, nearest[rows])
            best[rows] = np.minimum(least, best[rows])
    return {int(row): int(nearest[row]) for row in np.flatnonzero(best <= ALIKE)}


def bit_distances(hashes: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The numbers of bits (M, N) in which hashes (M, bits) differ from others (N, bits)."""
    # The product of signs is the number of equal bits less that of the others.
    first, second = (each.astype(np.float32) * 2 - 1 for each in (hashes, others))
    distances: NDArray[np.intp] = ((hashes.shape[1] - first @ second.T) / 2).astype(np.intp)
    return distances


def cached_thumbnails(folder: Path, photographs: Sequence[Photograph]) -> NDArray[np.uint8]:
    """The grey thumbnails (M, 16, 17) of M photographs, each made once and kept in ``folder``.

    They are kept by path and size of the file. A cache that is damaged is made anew. Raises
    ImageError for a photograph that cannot be read.
    """

    def stop(path: Path, error: ImageError) -> None:
        raise error

    keys = [_key(photograph.path) for photograph in photographs]
    known = _complete(folder, keys, photographs, stop)
    return np.array([known[key] for key in keys], np.uint8).reshape(-1, ROWS, COLUMNS)


def unreadable(folder: Path, photographs: Sequence[Photograph]) -> dict[Path, ImageError]:
    """Which photographs cannot be read, and why.

    All others have their thumbnails in ``folder`` then, so that the next time they are not read.
    """
    errors: dict[Path, ImageError] = {}
    keys = [_key(photograph.path) for photograph in photographs]
    _complete(folder, keys, photographs, errors.__setitem__)
    return errors


def remark_on(errors: Mapping[Path, ImageError]) -> str:
    """What to tell people of photographs that were left out because they cannot be read."""
    first = str(next(iter(errors.values()))).removesuffix(".")
    return (
        f"left out {count_noun(len(errors), 'photograph')} that cannot be read, the first: {first}"
    )


def _complete(
    folder: Path,
    keys: Sequence[bytes],
    photographs: Sequence[Photograph],
    failed: Callable[[Path, ImageError], None],
) -> dict[bytes, NDArray[np.uint8]]:
    """The thumbnails of the cache by key, with those of photographs by ``keys`` that it lacked.

    ``failed`` is called for each photograph that cannot be read, in order.
    """
    path = folder / "thumbnails.npy"
    known = _read(path)
    files = {key: photo.path for key, photo in zip(keys, photographs, strict=True)}
    missing = [(key, file) for key, file in files.items() if key not in known]
    if not missing:
        return known
    before = len(known)
    with (
        ThreadPoolExecutor(_threads()) as pool,
        tqdm(total=len(missing), desc="reading", unit="photo", disable=None) as bar,
    ):
        try:
            for start in range(0, len(missing), _CHUNK):
                part = missing[start : start + _CHUNK]
                results = pool.map(_attempt, [file for _, file in part])
                for (key, file), made in zip(part, results, strict=True):
                    bar.update()
                    if isinstance(made, ImageError):
                        failed(file, made)
                    else:
                        known[key] = made
        finally:  # what an interrupted run has done is not lost
            pool.shutdown(cancel_futures=True)
            if len(known) > before:
                rows = np.array(list(known.items()), dtype=_ROW)
                remove_leftovers(path, abandoned=True)
                write_atomically(path, lambda temporary: _write(temporary, rows))
    return known


def _attempt(path: Path) -> NDArray[np.uint8] | ImageError:
    try:
        return grey_thumbnail(path)
    except ImageError as error:
        return error


def _threads() -> int:
    """As many as there are processors for this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _key(path: Path) -> bytes:
    """What tells a photograph from others: its path, and its size, for the file may change."""
    try:
        size = path.stat().st_size
    except OSError:  # what is wrong with it is said when it is read
        size = -1
    content = repr((str(path.resolve()), size))
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()[:32].encode()


def _read(path: Path) -> dict[bytes, NDArray[np.uint8]]:
    """The cached thumbnails by key; none where there is no cache of them."""
    rows = open_array(path)
    if rows is None or rows.dtype != _ROW or rows.ndim != 1:
        return {}
    # A copy, because where a file is mapped into memory it cannot be replaced in Windows.
    return dict(zip(rows["key"].tolist(), np.array(rows["grey"]), strict=True))


def _write(path: Path, rows: NDArray[np.void]) -> None:
    with path.open("wb") as file:  # to a path, np.save would add a suffix
        np.save(file, rows)
