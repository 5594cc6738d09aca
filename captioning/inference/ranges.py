"""The file of the encoder's ranges, which belongs to one checkpoint."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captioning.errors import CaptioningError
from captioning.files import what_instead, write_atomically
from captioning.inference.quantisation import Ranges

VERSION = 1
_MOST_BYTES = 2**20  # a hundred times as many as ours has
_DO = "measure them again for this model"


class RangesError(CaptioningError):
    """A file of ranges that is not there, is damaged, or belongs to another checkpoint."""


@dataclass(frozen=True)
class MeasuredRanges:
    """The ranges of the inputs of convolutions, as measured on photographs.

    ``checkpoint`` is the SHA-256 of the checkpoint's file, ``photographs`` how many there were.
    """

    checkpoint: str
    photographs: int
    ranges: Ranges
    version: int = VERSION

    def save(self, path: Path) -> None:
        """Write the file: JSON with one range a line."""
        text = json.dumps({**asdict(self), "ranges": {n: list(r) for n, r in self.ranges.items()}})
        text = text.replace("], ", "],\n").replace('"ranges": {', '"ranges": {\n')
        write_atomically(path, lambda temporary: temporary.write_text(text + "\n", "utf-8"))

    @classmethod
    def load(cls, path: Path, checkpoint: str, names: Sequence[str]) -> "MeasuredRanges":
        """Read the ranges of the convolutions ``names`` of the checkpoint with this SHA-256.

        Raises RangesError for a file that has not just these.
        """
        content = _read(path)
        if content.get("version") != VERSION:
            raise RangesError(f"{path}: the ranges have another version than {VERSION}; {_DO}")
        if content.get("checkpoint") != checkpoint:
            raise RangesError(f"{path}: the ranges belong to another model; {_DO}")
        found, photographs = content.get("ranges"), content.get("photographs")
        if (
            not isinstance(found, dict)
            or found.keys() != set(names)
            or not all(map(_is_range, found.values()))
            or type(photographs) is not int
        ):
            raise RangesError(f"{path}: the ranges are damaged; {_DO}")
        ranges = {name: (float(low), float(high)) for name, (low, high) in found.items()}
        return cls(checkpoint, photographs, ranges)


def _read(path: Path) -> dict[str, Any]:
    try:
        if what_instead(path) or path.stat().st_size > _MOST_BYTES:
            raise ValueError("no file of ranges")
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RangesError(f"{path}: there are no measured ranges for int8; {_DO}") from None
    except (OSError, ValueError, RecursionError):  # not JSON, or no text
        content = None
    if not isinstance(content, dict):
        raise RangesError(f"{path}: this is not a file of ranges; {_DO}")
    return content


def _is_range(value: Any) -> bool:
    """Whether it is two numbers around 0, of which one differs from 0."""
    if not (isinstance(value, list) and len(value) == 2):
        return False
    if not all(type(end) in (int, float) and abs(end) < 1e30 for end in value):
        return False
    low, high = value
    return math.isfinite(high - low) and low <= 0 <= high and low < high
