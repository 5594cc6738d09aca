"""Metrics of the next word under teacher forcing: loss, accuracy, F1."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from captioning.evaluation.uncertainty import Array, Statistic, estimates, ratio


@dataclass(frozen=True, eq=False)
class TeacherForced:
    """How well the next word was predicted given the words before it: M targets, no padding.

    ``photographs`` (M,) are indices in the list of photographs; ``targets`` (M,) and ``top5``
    (M, 5), likeliest first, are word ids; ``losses`` (M,) are in nats. Raises ValueError when the
    shapes do not fit or a word id is not below ``vocabulary_size``.
    """

    vocabulary_size: int
    photographs: NDArray[np.int64]
    targets: NDArray[np.int64]
    top5: NDArray[np.int64]
    losses: NDArray[np.float64]

    def __post_init__(self) -> None:
        targets, top5 = self.targets, self.top5
        if targets.ndim != 1 or top5.shape != (len(targets), 5):
            raise ValueError(
                f"targets must be (M,) and predictions (M, 5), not {targets.shape} and {top5.shape}"
            )
        for ids in (targets, top5):
            if ids.size and not 0 <= ids.min() <= ids.max() < self.vocabulary_size:
                raise ValueError(f"word ids must be from 0 to {self.vocabulary_size - 1}")

    @classmethod
    def empty(cls, vocabulary_size: int) -> "TeacherForced":
        """Without any target."""
        none = np.zeros(0, dtype=np.int64)
        return cls(vocabulary_size, none, none, none.reshape(0, 5), none.astype(np.float64))

    @classmethod
    def join(cls, parts: Sequence["TeacherForced"]) -> "TeacherForced":
        """The targets of all parts."""
        names = [field.name for field in fields(cls)][1:]
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls(parts[0].vocabulary_size, *arrays)

    def statistics(self, images: int) -> dict[str, Statistic]:
        """The metrics of the next word as functions of sums over ``images`` photographs.

        ``loss`` is in nats per token, ``accuracy`` the share of targets that are the likeliest
        word, ``accuracy top-5`` that of targets among the five likeliest. F1 micro would equal the
        accuracy, so ``F1 macro`` is the plain mean over the words that occur in the targets, and
        ``F1 weighted`` the mean weighted by how often they occur. All but the loss are x100, and
        without targets 0.
        """

        def per_image(values: Array) -> Array:
            return np.bincount(self.photographs, values, images).astype(np.float64)

        hits = self.top5 == self.targets[:, None]  # (M, 5)
        count = per_image(np.ones(len(self.targets)))
        return {
            "loss": ratio(per_image(self.losses), count),
            "accuracy": ratio(per_image(hits[:, 0].astype(np.float64)), count, 100),
            "accuracy top-5": ratio(per_image(hits.any(axis=1).astype(np.float64)), count, 100),
            **self._f1(images, hits[:, 0]),
        }

    def metrics(self) -> dict[str, float]:
        """The metrics over all photographs."""
        # Sums over photographs are all that counts, and as a single one they need a single row.
        together = replace(self, photographs=np.zeros_like(self.photographs))
        return estimates(together.statistics(images=1))

    def _f1(self, images: int, correct: NDArray[np.bool_]) -> dict[str, Statistic]:
        size = self.vocabulary_size
        rows = np.zeros((images, 3, size))  # true positives, predictions, targets
        ids = (self.targets[correct], self.top5[:, 0], self.targets)
        owners = (self.photographs[correct], self.photographs, self.photographs)
        for column, pair in enumerate(zip(owners, ids, strict=True)):
            np.add.at(rows[:, column], pair, 1)
        # The words that all photographs have, also in a resample that lacks some of them: there the
        # mean over the remaining words would be higher.
        occurring = rows[:, 2].sum(axis=0) > 0  # (V,)

        def f1_and_targets(sums: Array) -> tuple[Array, Array]:
            true, predicted, actual = sums.reshape(-1, 3, size).transpose(1, 0, 2)  # (R, V) each
            return 2 * true / np.maximum(predicted + actual, 1), actual

        def macro(sums: Array) -> Array:
            f1, _ = f1_and_targets(sums)
            average: Array = 100 * (f1[:, occurring].sum(axis=1) / max(1, occurring.sum()))
            return average

        def weighted(sums: Array) -> Array:
            f1, actual = f1_and_targets(sums)
            average: Array = 100 * (f1 * actual).sum(axis=1) / np.maximum(actual.sum(axis=1), 1)
            return average

        flat = rows.reshape(images, 3 * size)
        return {"F1 macro": Statistic(flat, macro), "F1 weighted": Statistic(flat, weighted)}


def perplexity(loss: Statistic) -> Statistic:
    """The number of equally likely words that would have this loss, in nats per token."""
    return Statistic(loss.rows, lambda sums: np.exp(loss.value(sums)))
