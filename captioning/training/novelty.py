"""Fits the novelty detector of a trained checkpoint: see ``network.novelty``."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from captioning import processes
from captioning.data.caption_files import Photograph
from captioning.inference.captioner import Captioner
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import build_network

MOST_TRAINING = 4000  # photographs; more change little, and each has to be encoded
MOST_HELD_OUT = 2000
# With fewer, the most unusual one in fifty is no photograph, and the density fits nothing.
FEWEST = 100
BATCH = 16  # photographs

Item = TypeVar("Item")


def with_novelty(
    checkpoint: Checkpoint,
    training: Sequence[Photograph],
    held_out: Sequence[Photograph],
    device: str = "cpu",
    seed: int = 0,
) -> Checkpoint:
    """The checkpoint with a detector of pictures unlike the training photographs.

    ``held_out`` are ordinary photographs of the same kinds that no weights were trained on. Of
    both, some are drawn by ``seed`` where there are many; with too few of either the checkpoint
    has no detector, not even one that it had: that belongs to other weights. Several processes
    share the encoding. Raises ImageError where a photograph cannot be read.
    """
    parts = [_some(training, MOST_TRAINING, seed), _some(held_out, MOST_HELD_OUT, seed)]
    if min(map(len, parts)) < FEWEST:
        return replace(checkpoint, novelty=None)
    engine = TorchEngine(build_network(checkpoint).to(device), take_over=True)
    captioner = Captioner(engine, checkpoint.images, checkpoint.vocabulary, checkpoint.decoding)
    means = [_mean_features(captioner, part) for part in parts]
    if not processes.is_first():  # only that one keeps the result
        return replace(checkpoint, novelty=None)
    return replace(checkpoint, novelty=NoveltyDetector.fit(*means))


def _mean_features(captioner: Captioner, photographs: Sequence[Photograph]) -> NDArray[np.float32]:
    """The mean features (M, C) of photographs, of which each process encodes its share."""
    starts = processes.share(range(0, len(photographs), BATCH))
    groups = [[photo.path for photo in photographs[start : start + BATCH]] for start in starts]
    return np.concatenate(processes.interleave([captioner.mean_features(each) for each in groups]))


def _some(items: Sequence[Item], most: int, seed: int) -> Sequence[Item]:
    """All items, or ``most`` of them drawn by ``seed``."""
    return items if len(items) <= most else random.Random(seed).sample(items, most)
