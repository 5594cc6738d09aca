"""How far a caption can be relied on, by how captions as sure as it did when it was measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOUBTFUL_SHARE = 0.2  # of the photographs measured: those whose captions were the least sure


@dataclass(frozen=True)
class Calibration:
    """What measuring said of unsure captions.

    A caption whose ``Caption.confidence`` is below ``threshold`` is as unsure as the least sure
    fifth of the photographs measured, which scored ``doubtful`` on average and the others
    ``others``, both in the metric ``of``, x100.
    """

    of: str
    threshold: float
    doubtful: float
    others: float

    @classmethod
    def from_figures(cls, figures: dict[str, Any]) -> "Calibration | None":
        """Of an evaluation's figures (``results.json``); None where they have no such section."""
        section = figures.get("calibration")
        if not section or len(section["bins"]) < 2:
            return None
        bins = sorted(section["bins"], key=lambda one: float(one["probability"]))
        wanted = DOUBTFUL_SHARE * sum(one["images"] for one in bins)
        count, seen = 0, 0
        while count < len(bins) - 1 and (count == 0 or seen + bins[count]["images"] <= wanted):
            seen += bins[count]["images"]
            count += 1
        low, high = bins[count - 1]["probability"], bins[count]["probability"]
        of = str(section["of"])
        return cls(of, (low + high) / 2, _mean(bins[:count], of), _mean(bins[count:], of))

    @classmethod
    def read(cls, path: Path, sha256: str) -> "Calibration | None":
        """Of an evaluation's file, if it is of the model with this hash; else None.

        A file that is missing or damaged is none: the warning is an extra, never an obstacle.
        """
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            return cls.from_figures(figures) if figures.get("sha256") == sha256 else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def doubts(self, confidence: float) -> bool:
        """Whether a caption this sure is one to check."""
        return confidence < self.threshold


def _mean(bins: list[dict[str, Any]], of: str) -> float:
    images = sum(one["images"] for one in bins)
    return float(sum(one[of] * one["images"] for one in bins) / images)
