"""How certain a corpus metric is: bootstrap intervals, paired tests, rank correlation.

A metric is a function of sums over images, so a resample of the images costs one row of a matrix
product and no caption is scored twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

RESAMPLES = 1000
PERMUTATIONS = 10_000
_CHUNK = 500  # permutations at a time, or the matrix of a wide statistic would not fit


@dataclass(frozen=True, eq=False)
class Statistic:
    """A corpus metric: ``value`` turns sums over images (R, k) into values (R,).

    ``rows`` (B, k) are what each image adds to the sums.
    """

    rows: Array
    value: Callable[[Array], Array]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.rows)

    def estimate(self) -> float:
        """The value for all images."""
        return float(self.value(self.rows.sum(axis=0, keepdims=True))[0])


def ratio(numerators: Array, denominators: Array, scale: float = 1.0) -> Statistic:
    """The sum of numerators (B,) divided by that of denominators (B,); 0 where that is 0."""

    def value(sums: Array) -> Array:
        divisor = sums[:, 1]
        quotient: Array = scale * sums[:, 0] / np.where(divisor == 0, 1.0, divisor)
        return quotient

    return Statistic(np.stack([numerators, denominators], axis=1).astype(np.float64), value)


def mean(values: Array, scale: float = 1.0) -> Statistic:
    """The mean over images of values (B,)."""
    return ratio(values, np.ones(len(values)), scale)


def averaged(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several metrics of the same images, resampled together."""
    edges = np.cumsum([statistic.rows.shape[1] for statistic in statistics])[:-1]

    def value(sums: Array) -> Array:
        parts = np.split(sums, edges, axis=1)
        values = [one.value(part) for one, part in zip(statistics, parts, strict=True)]
        return np.mean(values, axis=0)  # type: ignore[no-any-return]

    return Statistic(np.concatenate([one.rows for one in statistics], axis=1), value)


def estimates(statistics: Mapping[str, Statistic]) -> dict[str, float]:
    """The values for all images, by name."""
    return {name: statistic.estimate() for name, statistic in statistics.items()}


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def intervals(
    statistics: Mapping[str, Statistic], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Bootstrap percentile intervals over images (Efron 1979; for BLEU, Koehn 2004).

    Every metric sees the same resamples. Raises ValueError when they are of different numbers of
    images.
    """
    if not statistics:
        return {}
    weights = _resamples(_images(statistics.values()), resamples, seed)  # (R, B)
    return {
        name: _percentiles(statistic.value(weights @ statistic.rows))
        for name, statistic in statistics.items()
    }


class Comparison(NamedTuple):
    """Two systems on the same images: their values, the difference, and how certain it is.

    ``interval`` is of the difference (paired bootstrap); ``p`` the probability of a difference at
    least as great, in either direction, if the systems were interchangeable (approximate
    randomisation).
    """

    this: float
    other: float
    difference: float
    interval: Interval
    p: float


def compare(
    this: Mapping[str, Statistic],
    other: Mapping[str, Statistic],
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare two systems in the metrics that both have, image by image.

    Paired bootstrap (Koehn 2004) for the interval; approximate randomisation (Noreen 1989;
    Riezler and Maxwell 2005) for p, which is never below 1 / (permutations + 1). The images must
    be the same, in the same order; raises ValueError when their numbers differ.
    """
    shared = [name for name in this if name in other]
    if not shared:
        return {}
    count = _images([*(this[name] for name in shared), *(other[name] for name in shared)])
    weights = _resamples(count, resamples, seed)
    comparisons = {}
    for name in shared:
        a, b = this[name], other[name]
        differences = a.value(weights @ a.rows) - b.value(weights @ b.rows)
        difference = a.estimate() - b.estimate()
        p = _randomisation(a, b, abs(difference), permutations, seed)
        interval = _percentiles(differences)
        comparisons[name] = Comparison(a.estimate(), b.estimate(), difference, interval, p)
    return comparisons


def _randomisation(
    this: Statistic, other: Statistic, difference: float, permutations: int, seed: int
) -> float:
    """How often the systems differ so much when each image's captions are swapped at random."""
    step = other.rows - this.rows  # (B, k)
    totals = this.rows.sum(axis=0), other.rows.sum(axis=0)
    # Rounding must not make a swap of all images, or of none, differ less than the systems do.
    threshold = difference - 1e-9 * max(1.0, difference)
    at_least = 0
    for swaps in _swaps(len(this), permutations, seed):
        moved = swaps @ step  # (P, k)
        differences = this.value(totals[0] + moved) - other.value(totals[1] - moved)
        at_least += int((np.abs(differences) >= threshold).sum())
    return (at_least + 1) / (permutations + 1)


def _swaps(images: int, permutations: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed + 1)
    for start in range(0, permutations, _CHUNK):
        yield random.integers(0, 2, (min(_CHUNK, permutations - start), images)).astype(np.float64)


def _resamples(images: int, resamples: int, seed: int) -> Array:
    """How often each image is drawn (R, B)."""
    random = np.random.default_rng(seed)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=resamples)
    return drawn.astype(np.float64)


def _images(statistics: Iterable[Statistic]) -> int:
    counts = {len(statistic) for statistic in statistics}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"metrics must be of the same images, at least one, not of {counts}")
    return int(counts.pop())


def _percentiles(values: Array) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


class Correlation(NamedTuple):
    """Spearman's rank correlation with its 95 % interval."""

    value: float
    interval: Interval


def rank_correlation(
    first: Array, second: Array, resamples: int = RESAMPLES, seed: int = 0
) -> Correlation:
    """Spearman's rank correlation of two values per image (B,), with a bootstrap interval.

    It is 0 where one of them does not vary.
    """
    count = len(first)
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))  # (R, B)
    values = spearman(first[drawn], second[drawn])
    return Correlation(float(spearman(first[None], second[None])[0]), _percentiles(values))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Array:
    """Spearman's rank correlation row by row, of (R, B) and (R, B): (R,).

    It is 0 where a row does not vary.
    """
    a, b = (r - r.mean(axis=1, keepdims=True) for r in (ranks(first), ranks(second)))
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    correlation: Array = (a * b).sum(axis=1) / np.where(spread == 0, 1.0, spread)
    return correlation


def ranks(values: NDArray[np.floating]) -> Array:
    """The ranks of values (R, B) in their row, from 1; values that are equal share their mean."""
    result = np.empty(values.shape)
    for row, own in zip(values, result, strict=True):
        ascending = np.sort(row)
        ends = (np.searchsorted(ascending, row, side) for side in ("left", "right"))
        own[:] = (sum(ends) + 1) / 2
    return result


class Bin(NamedTuple):
    """Images of similar confidence: the means of confidence and of quality, with its interval."""

    confidence: float
    quality: float
    interval: Interval
    images: int


def reliability(confidence: Array, quality: Array, bins: int = 10) -> list[Bin]:
    """Group images by confidence (B,) into bins of equal size, and average their quality (B,)."""
    order = np.argsort(confidence, kind="stable")
    result = []
    for members in np.array_split(order, min(bins, len(order))):
        interval = intervals({"quality": mean(quality[members])})["quality"]
        means = float(confidence[members].mean()), float(quality[members].mean())
        result.append(Bin(*means, interval, len(members)))
    return result
