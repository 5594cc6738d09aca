"""Photographs with encoded captions: data sets and batches of them."""

import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning.data.caption_files import Photograph
from captioning.data.images import ImageConfig, load_image
from captioning.data.vocab import END, PAD, Vocabulary, swap_sides


class Item(NamedTuple):
    """What a dataset yields for one photograph."""

    visual: Tensor  # pixels (3, H, W) or features (L, C)
    captions: list[list[int]]  # ids with the start token, and <end> unless cut


class Batch(NamedTuple):
    """B photographs with N captions; caption n belongs to photograph n // (N / B)."""

    visual: Tensor  # pixels (B, 3, H, W) or features (B, L, C)
    inputs: Tensor  # (N, T), from the start token on
    targets: Tensor  # (N, T), the token after each input; <pad> where there is none


def encode_caption(
    tokens: Sequence[str], vocabulary: Vocabulary, max_words: int | None, manner: str = ""
) -> list[int]:
    """Turn a caption into ids between the start token of its manner and ``<end>``.

    A caption of more than ``max_words`` (None for no limit) is cut, and then has no ``<end>``: the
    model must not learn to stop in the middle of a sentence. Raises SettingError for a manner that
    the vocabulary does not have.
    """
    start = vocabulary.tokens(manner).start
    ids = vocabulary.encode(tokens[:max_words])
    is_whole = max_words is None or len(tokens) <= max_words
    return [start, *ids, END] if is_whole else [start, *ids]


class View(NamedTuple):
    """Pixels (3, H, W) of an augmented photograph, and whether they are mirrored."""

    pixels: Tensor
    mirrored: bool


class CaptionDataset(Dataset[Item]):
    """Photographs with encoded captions; ``visual(index)`` gives pixels or features.

    Where it gives a ``View`` that is mirrored, the captions have left and right swapped. Captions
    start with the token of their photograph's manner and are cut to ``max_words``, see
    ``encode_caption``; None for no limit.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        vocabulary: Vocabulary,
        visual: Callable[[int], Tensor | View],
        max_words: int | None,
    ) -> None:
        def encode(change: Callable[[list[str]], list[str]]) -> list[list[list[int]]]:
            return [
                [
                    encode_caption(change(tokens), vocabulary, max_words, photograph.manner)
                    for tokens in photograph.references
                ]
                for photograph in photographs
            ]

        self.visual = visual
        self.captions, self.mirrored = encode(list), encode(swap_sides)

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


def collate(items: Sequence[Item]) -> Batch:
    """Make one batch of items; a photograph with fewer captions gets empty ones of padding."""
    captions_per_image = max(len(item.captions) for item in items)
    steps = max(len(ids) for item in items for ids in item.captions) - 1
    tokens = torch.full((len(items), captions_per_image, steps + 1), PAD)  # (B, N / B, T + 1)
    for row, item in enumerate(items):
        for column, ids in enumerate(item.captions):
            tokens[row, column, : len(ids)] = torch.tensor(ids)
    tokens = tokens.flatten(0, 1)  # (N, T + 1)
    visual = torch.stack([item.visual for item in items])
    return Batch(visual, tokens[:, :-1], tokens[:, 1:])


def batches(
    dataset: Dataset[Item],
    batch_size: int,
    shuffle_seed: int | None = None,
    workers: int = 0,
    skip: int = 0,
) -> DataLoader[Item]:
    """Batches of ``batch_size`` photographs, without the first ``skip`` batches.

    They are in order, or shuffled by the seed, on which augmentation then depends too.
    """
    count = len(dataset)  # type: ignore[arg-type]
    order = list(range(count))
    if shuffle_seed is not None:
        generator = torch.Generator().manual_seed(shuffle_seed)
        order = torch.randperm(count, generator=generator).tolist()
        dataset = _SeededItems(dataset, shuffle_seed)
    return DataLoader(
        dataset,
        batch_sampler=[
            order[start : start + batch_size]
            for start in range(skip * batch_size, count, batch_size)
        ],
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # otherwise each epoch draws a number from the global one
    )


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends the workers when it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _SeededItems(Dataset[Item]):
    """A data set whose random numbers depend on a seed and the item alone.

    So neither the number of processes that read nor an interruption of the epoch changes them.
    """

    def __init__(self, dataset: Dataset[Item], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, index: int) -> Item:
        with torch.random.fork_rng(devices=()):
            # Not torch.manual_seed, which would seed a GPU too.
            torch.default_generator.manual_seed(self.seed * 1_000_003 + index)
            return self.dataset[index]
