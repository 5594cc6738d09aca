"""Features that are computed once and kept on disk."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph
from captioning.data.dataset import Pixels
from captioning.data.images import ImageConfig
from captioning.errors import SettingError
from captioning.files import write_atomically


class Features:
    """Reads the cached features of an index (L, C), float16."""

    def __init__(self, cached: NDArray[np.float16]) -> None:
        self.cached = cached

    def __call__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.cached[index]))  # a copy: (L, C)


def with_mean_features(visual: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
    """Features (L, C) with their mean at every place: with them attention has no choice."""

    def mean(index: int) -> Tensor:
        features = visual(index)
        return features.float().mean(dim=0, keepdim=True).to(features.dtype).expand_as(features)

    return mean


def with_other_features(
    visual: Callable[[int], Tensor], count: int, seed: int = 0
) -> Callable[[int], Tensor]:
    """What belongs to another of ``count`` photographs, always the same one: learning it is blind.

    Raises ValueError for fewer than two photographs.
    """
    if count < 2:
        raise SettingError("with a single photograph there is no other one to show")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    other = dict(zip(order, [*order[1:], order[0]], strict=True))  # one circle of all
    return lambda index: visual(other[index])


def cached_features(
    folder: Path,
    photographs: Sequence[Photograph],
    config: ImageConfig,
    weights_hash: str,
    encode: Callable[[Tensor], Tensor],
    batch_size: int = 32,
) -> NDArray[np.float16]:
    """Features (M, L, C) of M photographs, float16 and memory-mapped, computed once.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C). The files are named by a hash of
    ``weights_hash``, the image settings and the photographs' names and sizes; rows that an
    interrupted run had done are not computed again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The size tells a photograph from another one that has taken its name.
    files = [(photograph.name, photograph.path.stat().st_size) for photograph in photographs]
    key = hashlib.sha256(repr((weights_hash, config, files)).encode()).hexdigest()[:16]
    done = _open_array(folder / f"{key}.done.npy", (len(files),), "uint8")
    pixels = Pixels(photographs, config)
    # Whole batches: what a row becomes depends, in its last bits, on those beside it.
    chunks = list(_chunks(np.arange(len(files)), batch_size))
    todo = [rows for rows in chunks if not done[rows].all()]
    probe = encode(pixels(0).unsqueeze(0)) if todo else None
    shape = (len(files), *probe.shape[1:]) if probe is not None else None
    features = _open_array(folder / f"{key}.npy", shape, "float16")
    for rows in tqdm(todo, desc="encoding", unit="batch", disable=None):
        encoded = encode(torch.stack([pixels(row) for row in rows]))  # (B, L, C)
        features[rows] = encoded.to(torch.float16).cpu().numpy()
        features.flush()
        # Only what is safely in the file counts as done.
        done[rows] = 1
        done.flush()
    return features


def _chunks(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _open_array(path: Path, shape: tuple[int, ...] | None, dtype: str) -> np.memmap:
    """Open the memory-mapped array at ``path``, or make one of zeros."""
    if path.exists():
        return np.load(path, mmap_mode="r+")  # type: ignore[no-any-return]
    if shape is None:
        raise DataError(f"{path}: this file of the feature cache is gone; delete the cache folder")
    whole = shape

    def write(temporary: Path) -> None:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=whole).flush()

    write_atomically(path, write)
    return np.load(path, mmap_mode="r+")  # type: ignore[no-any-return]
