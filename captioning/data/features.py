"""Features that are computed once and kept on disk, and those of control experiments."""

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from captioning import processes
from captioning.data.array_files import open_array
from captioning.data.caption_files import Photograph
from captioning.data.dataset import Pixels
from captioning.data.images import ImageConfig
from captioning.data.photo_changes import digest_of
from captioning.data.photo_sources import describe
from captioning.errors import CaptioningError, SettingError
from captioning.files import disk_errors, remove_leftovers, write_atomically

_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)
_BLOCK = 2**20  # bytes


class FeatureError(CaptioningError):
    """Features that are of no use; the message says what to do."""


class Features:
    """Reads what is cached of an index: features (L, C) or anything else, float16.

    A process that is started anew opens the cache's file for itself, instead of getting all that
    is in it.
    """

    def __init__(self, cached: NDArray[np.float16]) -> None:
        self.cached = cached

    def __getstate__(self) -> dict[str, Any]:
        if isinstance(self.cached, np.memmap) and self.cached.filename is not None:
            return {"path": self.cached.filename}
        return {"cached": self.cached}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path = state.get("path")
        self.cached = np.load(path, mmap_mode="r")["features"] if path else state["cached"]

    def __call__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.cached[index]))  # a copy


def cached_features(
    folder: Path,
    photographs: Sequence[Photograph],
    config: ImageConfig,
    weights_hash: str,
    encode: Callable[[Tensor], Tensor],
    batch_size: int = 32,
) -> NDArray[np.float16]:
    """Features (M, L, C) of M photographs, float16 and memory-mapped, computed once.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C), or into anything else that has a
    row for each photograph. The file is named by a hash of ``weights_hash``, the image settings and
    the photographs' names and contents. Rows that an interrupted run had finished are not computed
    again; a row that is damaged or belongs to another cache, and a file that is none of these
    photographs, is made anew. Several processes share the work and the file. Raises WriteError
    where the disk has no room for all of it, before anything is encoded, ImageError for a
    photograph that cannot be read, and FeatureError where ``encode`` gives what are not numbers.
    """
    # The content tells a photograph from another one that has taken its name.
    files = [(photograph.name, digest_of(photograph.path)) for photograph in photographs]
    key = hashlib.sha256(repr((weights_hash, config, files)).encode()).hexdigest()[:16]
    path = folder / f"{key}.npy"
    pixels = Pixels(photographs, config)
    todo: list[range] = []
    if processes.is_first():
        todo = _prepare(path, pixels, encode, batch_size)
    todo = processes.broadcast(todo)
    cache = _open(path, len(files))
    if cache is None:
        raise OSError(f"{path}: this file has just been made, and is not there any more")
    with disk_errors(path):
        _fill(path, cache, pixels, encode, processes.share(todo))
    processes.wait()
    features: NDArray[np.float16] = cache["features"]
    return features


def _prepare(
    path: Path, pixels: Pixels, encode: Callable[[Tensor], Tensor], batch_size: int
) -> list[range]:
    """Make the cache where there is none; returns the batches of rows that are not done."""
    count = len(pixels.photographs)
    cache = _open(path, count)
    if cache is None or not cache["done"].all():
        row = _row_type(encode(pixels(0).unsqueeze(0)).shape[1:])
        with disk_errors(path):
            if cache is None or cache.dtype != row:
                remove_leftovers(path, abandoned=True)
                cache = _create(path, count, row)
            else:
                _reserve(path)  # an earlier version may have left holes
    done = _is_done(path, cache)
    # Whole batches: what a row becomes depends, in its last bits, on the others of its batch.
    batches = [range(count)[start : start + batch_size] for start in range(0, count, batch_size)]
    return [rows for rows in batches if not done[rows.start : rows.stop].all()]


def _is_done(path: Path, cache: np.memmap) -> NDArray[np.bool_]:
    """Which rows (M,) hold what was computed for them, by their marks."""
    marked = np.flatnonzero(cache["done"])
    done = np.zeros(len(cache), np.bool_)
    done[marked] = [cache["done"][row] == _mark(path, cache["features"][row]) for row in marked]
    return done


def _mark(path: Path, features: NDArray[np.float16]) -> int:
    """A row's mark when it is done: a sum of its bytes, other for each cache, and never 0.

    So neither a disk's errors nor the rows of a file that was renamed pass for features.
    """
    return zlib.crc32(features.tobytes(), zlib.crc32(path.stem.encode())) % 65535 + 1


def _row_type(shape: tuple[int, ...]) -> np.dtype[np.void]:
    """A row's mark and its features, in one file: neither can be lost without the other."""
    return np.dtype([("done", "<u2"), ("features", "<f2", shape)])


def _open(path: Path, count: int) -> np.memmap | None:
    """Open a cache of ``count`` rows; None where there is none, or what is there is not one."""
    # To read only at first: to write, numpy fills a file that is too short with zeros.
    cache = open_array(path)
    if cache is None:
        return None
    features = cache.dtype.fields and cache.dtype.fields.get("features")
    if not features or cache.dtype != _row_type(features[0].shape) or cache.shape != (count,):
        return None
    return np.lib.format.open_memmap(path, mode="r+")


def _create(path: Path, count: int, row: np.dtype[np.void]) -> np.memmap:
    """Make a cache of zeros, none of its rows done."""

    def write(temporary: Path) -> None:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=row, shape=(count,)).flush()
        _reserve(temporary)

    write_atomically(path, write)
    return np.lib.format.open_memmap(path, mode="r+")


def _reserve(path: Path) -> None:
    """Take the room of a whole file on the disk; what is in the file stays.

    A file of zeros has holes. The system would look for room for them only when features are
    written through memory, and where there is none it can but end the process (SIGBUS).
    """
    reserve = getattr(os, "posix_fallocate", None)  # Linux and BSD have it
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if reserve is not None:
            try:
                reserve(file.fileno(), 0, size)
                return
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
        _fill_holes(file, size)


def _fill_holes(file: BinaryIO, size: int) -> None:
    """Write every block of a file again, with what is in it."""
    for start in range(0, size, _BLOCK):
        file.seek(start)
        block = file.read(_BLOCK)
        file.seek(start)
        file.write(block)
    file.flush()
    os.fsync(file.fileno())


def _fill(
    path: Path,
    cache: np.memmap,
    pixels: Pixels,
    encode: Callable[[Tensor], Tensor],
    todo: Sequence[range],
) -> None:
    """Compute the features of batches of rows."""
    off = None if processes.is_first() else True
    for rows in tqdm(todo, desc="encoding", unit="batch", disable=off):
        encoded = encode(torch.stack([pixels(row) for row in rows])).to(torch.float16)  # (B, L, C)
        _require_numbers(encoded, rows, pixels)
        cache["features"][rows.start : rows.stop] = encoded.cpu().numpy()
        cache.flush()
        # Only features that are safely in the file count as done.
        cache["done"][rows.start : rows.stop] = [_mark(path, cache["features"][r]) for r in rows]
        cache.flush()


def _require_numbers(encoded: Tensor, rows: range, pixels: Pixels) -> None:
    """Raise FeatureError where the features of a batch are not numbers."""
    for row, features in zip(rows, encoded, strict=True):
        if not features.isfinite().all():
            name = describe(pixels.photographs[row].path)
            raise FeatureError(
                f"{name}: what the encoder makes of this photograph are not numbers that fit "
                "float16; start from other encoder weights"
            )


class MeanFeatures:
    """Each photograph's mean feature at every location (L, C), so that attention has no effect."""

    def __init__(self, visual: Callable[[int], Tensor]) -> None:
        self.visual = visual

    def __call__(self, index: int) -> Tensor:
        features = self.visual(index)
        return features.float().mean(dim=0, keepdim=True).to(features.dtype).expand_as(features)


class OtherFeatures:
    """The features of another of ``count`` photographs, the same one every time.

    A model trained on them learns captions without their photographs. Raises SettingError for
    fewer than two photographs.
    """

    def __init__(self, visual: Callable[[int], Tensor], count: int, seed: int = 0) -> None:
        if count < 2:
            raise SettingError("with a single photograph there is no other one to show")
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
        self.visual = visual
        # A cycle through all of them.
        self.other = dict(zip(order, [*order[1:], order[0]], strict=True))

    def __call__(self, index: int) -> Tensor:
        return self.visual(self.other[index])
