"""How far to trust a caption: what captions of the same confidence scored when it was measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OTHER_KINDS = (ValueError, TypeError, AttributeError, RecursionError)
UNSURE_SHARE = 0.2  # of the photographs measured: those with the lowest confidence


@dataclass(frozen=True)
class Calibration:
    """What captions of low confidence scored, and the others.

    A caption whose ``Caption.confidence`` is below ``threshold`` is as unsure as the least
    confident fifth of the photographs measured. These scored ``unsure_score`` on average and the
    others ``other_score``, both in ``metric``, x100.
    """

    metric: str
    threshold: float
    unsure_score: float
    other_score: float

    @classmethod
    def from_result(cls, result: dict[str, Any]) -> "Calibration | None":
        """Read from what the scorer wrote; None where that has no calibration."""
        section = result.get("calibration")
        if not section or len(section["bins"]) < 2:
            return None
        bins = sorted(section["bins"], key=lambda one: float(one["probability"]))
        wanted = UNSURE_SHARE * sum(one["images"] for one in bins)
        count, images = 0, 0
        while count < len(bins) - 1 and (count == 0 or images + bins[count]["images"] <= wanted):
            images += bins[count]["images"]
            count += 1
        low, high = bins[count - 1]["probability"], bins[count]["probability"]
        metric = str(section["of"])
        unsure, others = _mean(bins[:count], metric), _mean(bins[count:], metric)
        return cls(metric, (low + high) / 2, unsure, others)

    @classmethod
    def read(cls, path: Path, sha256: str) -> "Calibration | None":
        """Read the scorer's JSON if it is of the model with this hash, else None.

        None for a missing or damaged file too: the warning is an extra, never an obstacle.
        """
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            return cls.from_result(result) if result.get("sha256") == sha256 else None
        except (OSError, LookupError, ArithmeticError, *_OTHER_KINDS):
            return None

    def is_unsure(self, confidence: float) -> bool:
        """Whether a caption of this confidence should be checked."""
        return confidence < self.threshold


def _mean(bins: list[dict[str, Any]], metric: str) -> float:
    images = sum(one["images"] for one in bins)
    return float(sum(one[metric] * one["images"] for one in bins) / images)
