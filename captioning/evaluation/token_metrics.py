"""Accuracy and F1 of the next word under teacher forcing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TokenStatistics:
    """How often the next word was foretold, the words before it given; statistics add up.

    Teacher-forced, over the targets that are not padding. Accuracy is the part of the targets that
    are the first (``accuracy``) or among the first five predictions (``accuracy_top5``). With one
    prediction a target, F1 micro is that accuracy, so F1 is reported as the plain mean over the
    words that occur in the targets (``f1_macro``) and as the mean weighted by how often they do
    (``f1_weighted``). All are 0 to 1, and 0 without targets.
    """

    count: int  # targets
    correct: int
    correct_top5: int
    true_positives: NDArray[np.int64]  # (V,) how often a word was foretold and came
    predicted: NDArray[np.int64]  # (V,) how often it was foretold
    actual: NDArray[np.int64]  # (V,) how often it came

    @classmethod
    def zero(cls, vocabulary_size: int) -> "TokenStatistics":
        """Nothing counted yet: what a sum starts from."""
        empty = np.zeros(vocabulary_size, dtype=np.int64)
        return cls(0, 0, 0, empty, empty, empty)

    @classmethod
    def from_predictions(
        cls, targets: NDArray[np.integer], top5: NDArray[np.integer], vocabulary_size: int
    ) -> "TokenStatistics":
        """Count targets (M,), padding left out, and their five likeliest words (M, 5), best first.

        Raises ValueError when the shapes do not fit or an id is not below ``vocabulary_size``.
        """
        _require_ids(targets, top5, vocabulary_size)
        hits = top5 == targets[:, None]  # (M, 5)

        def histogram(ids: NDArray[np.integer]) -> NDArray[np.int64]:
            return np.bincount(ids, minlength=vocabulary_size).astype(np.int64)

        return cls(
            count=len(targets),
            correct=int(hits[:, 0].sum()),
            correct_top5=int(hits.any(axis=1).sum()),
            true_positives=histogram(targets[hits[:, 0]]),
            predicted=histogram(top5[:, 0]),
            actual=histogram(targets),
        )

    def __add__(self, other: "TokenStatistics") -> "TokenStatistics":
        """Count both together. Raises ValueError when their vocabularies differ in size."""
        if len(self.actual) != len(other.actual):
            raise ValueError("statistics over vocabularies of different sizes cannot be added")
        return TokenStatistics(
            self.count + other.count,
            self.correct + other.correct,
            self.correct_top5 + other.correct_top5,
            self.true_positives + other.true_positives,
            self.predicted + other.predicted,
            self.actual + other.actual,
        )

    @property
    def accuracy(self) -> float:
        """The part of the targets that were the likeliest word."""
        return self.correct / max(1, self.count)

    @property
    def accuracy_top5(self) -> float:
        """The part of the targets that were among the five likeliest words."""
        return self.correct_top5 / max(1, self.count)

    @property
    def f1_macro(self) -> float:
        """F1 averaged over the words that occur in the targets."""
        f1, _ = self._f1_of_words()
        return float(f1.mean()) if self.count else 0.0

    @property
    def f1_weighted(self) -> float:
        """F1 averaged over the words that occur in the targets, weighted by how often they do."""
        f1, occurrences = self._f1_of_words()
        return float(np.average(f1, weights=occurrences)) if self.count else 0.0

    def _f1_of_words(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """F1 and occurrences of the words that occur in the targets."""
        occur = self.actual > 0
        actual = self.actual[occur]
        return 2 * self.true_positives[occur] / (self.predicted[occur] + actual), actual


def _require_ids(
    targets: NDArray[np.integer], top5: NDArray[np.integer], vocabulary_size: int
) -> None:
    if targets.ndim != 1 or top5.shape != (len(targets), 5):
        raise ValueError(
            f"targets must be (M,) and predictions (M, 5), not {targets.shape} and {top5.shape}"
        )
    for ids in (targets, top5):
        if ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size:
            raise ValueError(f"word ids must be from 0 to {vocabulary_size - 1}")
