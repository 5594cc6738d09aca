"""Does novelty tell strange pictures from ordinary photographs? Measured by kind of picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.data.caption_files import DataError
from captioning.data.images import IMAGE_SUFFIXES, Source
from captioning.errors import SettingError
from captioning.evaluation.uncertainty import RESAMPLES, Array, Interval, ranks
from captioning.inference.captioner import Captioner
from captioning.network.novelty import UNUSUAL

_DIGITS = 4


@dataclass(frozen=True, eq=False)
class NoveltyResults:
    """How far pictures are from the training photographs: ordinary ones (M,), strange by kind.

    ``limit`` is the distance from which a picture is called unusual.
    """

    ordinary: Array
    strange: Mapping[str, Array]
    limit: float

    def to_json(self) -> dict[str, Any]:
        """The section "novelty" of a result, in plain types."""
        return {
            "level": UNUSUAL,
            "ordinary": len(self.ordinary),
            "ordinary called unusual": self._share(self.ordinary),
            "kinds": {kind: self._kind(distances) for kind, distances in self.strange.items()},
        }

    def _kind(self, distances: Array) -> dict[str, Any]:
        return {
            "pictures": len(distances),
            "AUROC": round(auroc(self.ordinary, distances), _DIGITS),
            "interval": [round(end, _DIGITS) for end in auroc_interval(self.ordinary, distances)],
            "called unusual": self._share(distances),
        }

    def _share(self, distances: Array) -> float:
        return round(float((distances >= self.limit).mean()), _DIGITS)


def auroc(ordinary: NDArray[np.floating], strange: NDArray[np.floating]) -> float:
    """How often a strange picture is farther than an ordinary one; a tie counts as half.

    The area under the ROC curve, from the rank sum (Mann and Whitney 1947). 0.5 is chance.
    """
    ranked = ranks(np.concatenate([ordinary, strange])[None])[0, len(ordinary) :]
    count = len(strange)
    return float((ranked.sum() - count * (count + 1) / 2) / (count * len(ordinary)))


def auroc_interval(
    ordinary: NDArray[np.floating],
    strange: NDArray[np.floating],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The 95 % bootstrap interval of ``auroc``; both groups are resampled."""
    random = np.random.default_rng(seed)
    values = [
        auroc(random.choice(ordinary, len(ordinary)), random.choice(strange, len(strange)))
        for _ in range(resamples)
    ]
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def measure_novelty(
    captioner: Captioner, ordinary: Sequence[Source], strange: Mapping[str, Sequence[Source]]
) -> NoveltyResults:
    """Compare ordinary photographs with strange pictures, by kind.

    Raises SettingError for a model without a novelty detector, and ImageError where a picture
    cannot be read.
    """
    if captioner.novelty is None:
        raise SettingError("this model cannot tell how unusual a picture is; leave --strange out")
    detector = captioner.novelty

    def distances(pictures: Sequence[Source]) -> Array:
        return detector.distance(captioner.mean_features(pictures)).astype(np.float64)

    return NoveltyResults(
        distances(ordinary),
        {kind: distances(pictures) for kind, pictures in strange.items()},
        detector.distance_at(UNUSUAL),
    )


def pictures_by_kind(folder: Path) -> dict[str, list[Source]]:
    """The pictures in each folder of ``folder``, by its name, which is their kind.

    Raises DataError where there are none.
    """
    kinds: dict[str, list[Source]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            kinds.setdefault(path.parent.name, []).append(path)
    if not kinds:
        raise DataError(
            f"{folder}: there is no folder of pictures in it; put those of each kind into one"
        )
    return kinds
