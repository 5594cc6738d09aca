"""Photographs with encoded captions: data sets and batches of them."""

import os
import re
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning.data.caption_files import Photograph
from captioning.data.images import ImageConfig, load_image
from captioning.data.vocab import END, PAD, Vocabulary, swap_sides
from captioning.errors import CaptioningError
from captioning.processes import share

Value = TypeVar("Value")
_LOST_WORKER = re.compile(r"DataLoader worker \(pid")  # how torch's message begins
_DRAWN = 0x5BD1E995  # so that the numbers are others than those that the photograph is changed by
_SORTED_AT_ONCE = 32  # batches: enough for similar lengths, few enough to stay random


class WorkerError(CaptioningError):
    """A process that reads photographs has ended; the message says what to do."""


class Item(NamedTuple):
    """What a dataset yields for one photograph."""

    visual: Tensor  # pixels (3, H, W) or features (L, C)
    captions: list[list[int]]  # ids with the start token, and <end> unless cut
    classes: Tensor | None = None  # (O,), log-probabilities of a classifier's classes
    seed: int | None = None  # of what is drawn for it


class Batch(NamedTuple):
    """B photographs with N captions; caption n belongs to photograph n // (N / B).

    Of several processes each has its share of a batch. One for which nothing is left has another's,
    which does not ``count``.
    """

    visual: Tensor  # pixels (B, 3, H, W) or features (B, L, C)
    inputs: Tensor  # (N, T), from the start token on
    targets: Tensor  # (N, T), the token after each input; <pad> where there is none
    classes: Tensor | None = None  # (B, O), log-probabilities of a classifier's classes
    seeds: Tensor | None = None  # (B,), of what is drawn for each photograph, see ``draw``
    counts: bool = True

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """The batch on a device, what is visual in ``dtype``."""
        return self._replace(
            visual=self.visual.to(device, dtype),
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            classes=None if self.classes is None else self.classes.to(device),
        )


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

    ``classes(index)`` may give what a classifier says of the photograph (O,). Of each photograph's
    captions ``sampled`` are drawn by torch's global generator every time; 0 for all.

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
        classes: Callable[[int], Tensor] | None = None,
        sampled: int = 0,
    ) -> None:
        def encode(change: Callable[[list[str]], list[str]]) -> list[list[list[int]]]:
            return [
                [
                    encode_caption(change(tokens), vocabulary, max_words, photograph.manner)
                    for tokens in photograph.references
                ]
                for photograph in photographs
            ]

        self.visual, self.classes, self.sampled = visual, classes, sampled
        self.captions, self.mirrored = encode(list), encode(swap_sides)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Item:
        view, classes = self.visual(index), self.classes and self.classes(index)
        if isinstance(view, Tensor):
            return Item(view, self._sample(self.captions[index]), classes)
        captions = self.mirrored if view.mirrored else self.captions
        return Item(view.pixels, self._sample(captions[index]), classes)

    def _sample(self, captions: list[list[int]]) -> list[list[int]]:
        if not 0 < self.sampled < len(captions):
            return captions
        return [captions[i] for i in torch.randperm(len(captions))[: self.sampled].tolist()]


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
    known = [item.classes for item in items if item.classes is not None]
    classes = torch.stack(known) if known else None
    seeds = [item.seed for item in items if item.seed is not None]
    return Batch(
        visual, tokens[:, :-1], tokens[:, 1:], classes, torch.tensor(seeds) if seeds else None
    )


def draw(seeds: Tensor | None, count: int, size: int) -> Tensor:
    """Uniform random numbers from 0 to 1, float64 (count, size): a row for each photograph.

    What a row holds depends on the photograph's seed (count,) alone, and so neither on the other
    photographs of the batch nor on the number of processes. Without seeds torch's global generator
    draws.
    """
    if seeds is None:
        return torch.rand(count, size, dtype=torch.float64)
    generators = (torch.Generator().manual_seed(seed ^ _DRAWN) for seed in seeds.tolist())
    rows = [torch.rand(size, dtype=torch.float64, generator=each) for each in generators]
    return torch.stack(rows)


def batches(
    dataset: Dataset[Item],
    batch_size: int,
    shuffle_seed: int | None = None,
    workers: int = 0,
    skip: int = 0,
    chosen: Sequence[int] | None = None,
) -> DataLoader[Item]:
    """Batches of ``batch_size`` photographs, without the first ``skip`` batches.

    Of the photographs ``chosen`` by their indices; None for all. They are in order, or shuffled by
    the seed, on which augmentation then depends too. Of several processes each gets its share: of
    the batches that are in order whole ones, of those that are shuffled a part of each.
    """
    order = list(range(len(dataset)) if chosen is None else chosen)  # type: ignore[arg-type]
    if shuffle_seed is not None:
        order = _shuffled(order, shuffle_seed)
        dataset = _SeededItems(dataset, shuffle_seed)
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if shuffle_seed is None:
        return _loader(dataset, share(groups[skip:]), workers)
    return _shared(dataset, groups[skip:], workers)


def batches_by_length(
    dataset: Dataset[Item], lengths: Sequence[int], batch_size: int, shuffle_seed: int, skip: int
) -> DataLoader[Item]:
    """Shuffled batches of items of similar ``lengths``, which need little padding."""
    order, size = _shuffled(range(len(lengths)), shuffle_seed), _SORTED_AT_ONCE * batch_size
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    order = [item for part in parts for item in sorted(part, key=lengths.__getitem__)]
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return _shared(_SeededItems(dataset, shuffle_seed), _shuffled(groups, shuffle_seed)[skip:], 0)


def _shuffled(items: Sequence[Value], seed: int) -> list[Value]:
    generator = torch.Generator().manual_seed(seed)
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]


def _shared(dataset: Dataset[Item], groups: Sequence[list[int]], workers: int) -> DataLoader[Item]:
    """This process's share of each group; where that is nothing, an item that does not count."""
    shares = [[*share(group)] for group in groups]
    idle = {number for number, each in enumerate(shares) if not each}
    whole = [each or group[:1] for each, group in zip(shares, groups, strict=True)]
    loader = _loader(dataset, whole, workers)
    loader.idle = idle
    return loader


def _loader(dataset: Dataset[Item], groups: Iterable[list[int]], workers: int) -> "_Loader":
    return _Loader(
        _ErrorsAsItems(dataset),
        batch_sampler=groups,
        collate_fn=_collate_or_error,
        num_workers=workers,
        worker_init_fn=_leave_signals_alone,
        generator=torch.Generator(),  # otherwise each epoch draws a number from the global one
    )


def _leave_signals_alone(worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends the workers when it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "TORCHELASTIC_RUN_ID" in os.environ and hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # torchrun sends its signals to whole groups


class _ErrorsAsItems(Dataset[Item]):
    """A data set that returns what a user can fix instead of raising it.

    What a worker process raises arrives with the traceback of that process in its message.
    """

    def __init__(self, dataset: Dataset[Item]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> Item | CaptioningError:  # type: ignore[override]
        try:
            return self.dataset[index]
        except CaptioningError as error:
            return error


def _collate_or_error(items: Sequence[Item | CaptioningError]) -> Batch | CaptioningError:
    """One batch of items, or the first error among them."""
    errors = [item for item in items if isinstance(item, CaptioningError)]
    return errors[0] if errors else collate([i for i in items if isinstance(i, Item)])


class _Loader(DataLoader[Item]):
    """Raises the errors that come instead of batches, in the process that trains.

    The batches with the numbers ``idle`` do not count.
    """

    idle: Collection[int] = ()

    def __iter__(self) -> Any:
        try:
            for number, batch in enumerate(super().__iter__()):
                if isinstance(batch, CaptioningError):
                    raise batch
                yield batch._replace(counts=False) if number in self.idle else batch
        except RuntimeError as error:  # that a worker was killed
            if not (self.num_workers and _LOST_WORKER.match(str(error))):
                raise
            raise WorkerError(
                "a process that reads photographs ended, most likely for want of memory; give a "
                f"lower number than --workers {self.num_workers}, or 0"
            ) from error


class _SeededItems(Dataset[Item]):
    """A data set whose random numbers depend on a seed and the item alone.

    So neither the number of processes that read nor an interruption of the epoch changes them.
    """

    def __init__(self, dataset: Dataset[Item], seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, index: int) -> Item:
        seed = self.seed * 1_000_003 + index
        with torch.random.fork_rng(devices=()):
            # Not torch.manual_seed, which would seed a GPU too.
            torch.default_generator.manual_seed(seed)
            return self.dataset[index]._replace(seed=seed)
