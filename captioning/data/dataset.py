"""Photographs with their captions: splits, datasets, batches, the feature cache."""

import hashlib
import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph
from captioning.data.images import ImageConfig, load_image
from captioning.data.vocab import END, PAD, START, Vocabulary, mirrored
from captioning.files import write_beside

SPLITS = ("train", "dev", "test")
_HELD_OUT_PERCENT = {"dev": 10, "test": 10}
_OFFICIAL_SHARE = 0.05  # of the photographs, for a set to count as Flickr8k


@dataclass(frozen=True)
class Splits:
    """The photographs to train on, to choose with, and to measure on; ``source`` says whose."""

    train: tuple[Photograph, ...]
    dev: tuple[Photograph, ...]
    test: tuple[Photograph, ...]
    source: str

    def limited(self, count: int | None) -> "Splits":
        """The first ``count`` photographs of each part; all for None."""
        return replace(self, **{name: getattr(self, name)[:count] for name in SPLITS})

    def describe(self) -> str:
        """One sentence that says what is used."""
        sizes = ", ".join(f"{len(getattr(self, name)):,} {name}" for name in SPLITS)
        return f"{self.source}: {sizes} photographs"


def split_photographs(photographs: Iterable[Photograph]) -> Splits:
    """Split as the caption file says, else by the official Flickr8k lists, else by a hash.

    The lists count where they hold out a twentieth of the photographs (a quarter, of Flickr8k as
    published); elsewhere a few photographs of Flickr8k among one's own change nothing for the
    others. The name decides alone, so a photograph stays where it is when others are added.
    Official lists: Hodosh et al. (2013), known here by hashes of the names.
    """
    photographs = tuple(photographs)
    if photographs and all(photograph.split in SPLITS for photograph in photographs):
        own = {name: tuple(p for p in photographs if p.split == name) for name in SPLITS}
        return Splits(own["train"], own["dev"], own["test"], "the caption file's own split")
    listed = sum(official_split(photograph.name) != "train" for photograph in photographs)
    official = listed >= _OFFICIAL_SHARE * len(photographs) > 0
    choose = official_split if official else _listed_or_hashed
    parts: dict[str, list[Photograph]] = {name: [] for name in SPLITS}
    for photograph in photographs:
        parts[choose(photograph.name)].append(photograph)
    source = "the official Flickr8k split" if official else "a split by the hash of each name"
    return Splits(tuple(parts["train"]), tuple(parts["dev"]), tuple(parts["test"]), source)


def name_hash(name: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an image's file name."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]


@cache
def _official() -> dict[str, str]:
    text = resources.files("captioning.data").joinpath("official_split.json").read_text("utf-8")
    lists = json.loads(text)
    return {digest: split for split in ("dev", "test") for digest in lists[split]}


def official_split(name: str) -> str:
    """The official Flickr8k split of an image's name; ``train`` for all that it does not list."""
    return _official().get(name_hash(name), "train")


def _listed_or_hashed(name: str) -> str:
    """Held out as the official lists say, else by the hash: of a set that is not Flickr8k."""
    listed = official_split(name)
    return hashed_split(name) if listed == "train" else listed


def hashed_split(name: str) -> str:
    """A split that depends on the name alone: 10 % dev, 10 % test, else train."""
    percent = int(name_hash(name), 16) % 100
    for split, share in _HELD_OUT_PERCENT.items():
        if percent < share:
            return split
        percent -= share
    return "train"


class Item(NamedTuple):
    """What a dataset yields for one photograph."""

    visual: Tensor  # pixels (3, H, W) or features (L, C)
    captions: list[list[int]]  # ids with <start>, and <end> unless cut


class Batch(NamedTuple):
    """B photographs with N captions; caption n belongs to photograph n // (N / B)."""

    visual: Tensor  # pixels (B, 3, H, W) or features (B, L, C)
    inputs: Tensor  # (N, T), from <start> on
    targets: Tensor  # (N, T), the token after each input; <pad> where there is none


def encode_caption(tokens: Sequence[str], vocabulary: Vocabulary, max_words: int) -> list[int]:
    """Turn a caption into ids between ``<start>`` and ``<end>``.

    A caption of more than ``max_words`` is cut, and then has no ``<end>``: the model must not
    learn to stop in the middle of a sentence.
    """
    ids = vocabulary.encode(tokens[:max_words])
    return [START, *ids] if len(tokens) > max_words else [START, *ids, END]


class CaptionDataset(Dataset[Item]):
    """Photographs with encoded captions; ``visual(index)`` gives pixels or cached features.

    Where it gives a ``View`` that is mirrored, the captions have left and right swapped.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        vocabulary: Vocabulary,
        visual: Callable[[int], "Tensor | View"],
        max_words: int,
    ) -> None:
        def encode(change: Callable[[list[str]], list[str]]) -> list[list[list[int]]]:
            return [
                [
                    encode_caption(change(tokens), vocabulary, max_words)
                    for tokens in photograph.references
                ]
                for photograph in photographs
            ]

        self.visual = visual
        self.captions, self.mirrored = encode(list), encode(mirrored)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Item:
        view = self.visual(index)
        if isinstance(view, Tensor):
            return Item(view, self.captions[index])
        return Item(view.pixels, (self.mirrored if view.mirrored else self.captions)[index])


class Pixels:
    """Reads the photograph of an index as normalised pixels (3, H, W)."""

    def __init__(self, photographs: Sequence[Photograph], config: ImageConfig) -> None:
        self.photographs, self.config = photographs, config

    def __call__(self, index: int) -> Tensor:
        return torch.from_numpy(load_image(self.photographs[index].path, self.config))


class View(NamedTuple):
    """Pixels (3, H, W) of a photograph as it was changed, and whether they are mirrored."""

    pixels: Tensor
    mirrored: bool


class Features:
    """Reads the cached features of an index (L, C), float16."""

    def __init__(self, cached: NDArray[np.float16]) -> None:
        self.cached = cached

    def __call__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self.cached[index]))  # a copy: (L, C)


def mean_everywhere(visual: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
    """Features (L, C) with their mean at every place: with them attention has no choice."""

    def mean(index: int) -> Tensor:
        features = visual(index)
        return features.float().mean(dim=0, keepdim=True).to(features.dtype).expand_as(features)

    return mean


def of_another(
    visual: Callable[[int], Tensor], count: int, seed: int = 0
) -> Callable[[int], Tensor]:
    """What belongs to another of ``count`` photographs, always the same one: learning it is blind.

    Raises ValueError for fewer than two photographs.
    """
    if count < 2:
        raise ValueError("with a single photograph there is no other one to show")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    other = dict(zip(order, [*order[1:], order[0]], strict=True))  # one circle of all
    return lambda index: visual(other[index])


def collate(items: Sequence[Item]) -> Batch:
    """Put items into one batch; a photograph with fewer captions gets empty ones of padding."""
    captions_per_image = max(len(item.captions) for item in items)
    steps = max(len(ids) for item in items for ids in item.captions) - 1
    tokens = torch.full((len(items), captions_per_image, steps + 1), PAD)  # (B, N / B, T + 1)
    for row, item in enumerate(items):
        for column, ids in enumerate(item.captions):
            tokens[row, column, : len(ids)] = torch.tensor(ids)
    tokens = tokens.flatten(0, 1)  # (N, T + 1)
    visual = torch.stack([item.visual for item in items])
    return Batch(visual, tokens[:, :-1], tokens[:, 1:])


class _Drawn(Dataset[Item]):
    """A data set whose chance depends on a seed and the item alone, not on what was read before.

    So it matters neither how many processes read, nor where an epoch was interrupted.
    """

    def __init__(self, dataset: Dataset[Item], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, index: int) -> Item:
        with torch.random.fork_rng(devices=()):
            # Not torch.manual_seed, which would seed a GPU too.
            torch.default_generator.manual_seed(self.seed * 1_000_003 + index)
            return self.dataset[index]


def batches(
    dataset: Dataset[Item],
    batch_size: int,
    shuffle_seed: int | None = None,
    workers: int = 0,
    skip: int = 0,
) -> DataLoader[Item]:
    """Batches of ``batch_size`` photographs, without the first ``skip`` batches.

    They are in order, or shuffled as the seed says, which decides about augmentation too.
    """
    count = len(dataset)  # type: ignore[arg-type]
    order = list(range(count))
    if shuffle_seed is not None:
        generator = torch.Generator().manual_seed(shuffle_seed)
        order = torch.randperm(count, generator=generator).tolist()
        dataset = _Drawn(dataset, shuffle_seed)
    return DataLoader(
        dataset,
        batch_sampler=[
            order[start : start + batch_size]
            for start in range(skip * batch_size, count, batch_size)
        ],
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_leave_interrupts,
        generator=torch.Generator(),  # or each epoch would draw a number from the global one
    )


def _leave_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends the workers when it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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

    write_beside(path, write)
    return np.load(path, mmap_mode="r+")  # type: ignore[no-any-return]
