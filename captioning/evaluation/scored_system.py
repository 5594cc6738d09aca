"""A system with its captions, ready to be assessed and published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.evaluation.assessment import System
from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.other_sets import CaptionedGroup
from captioning.network.checkpoint import Checkpoint


@dataclass(frozen=True, eq=False)
class ScoredSystem:
    """A system under a short ``name``, ``about`` it in a sentence, and ``facts`` for the result.

    Of a model also, per photograph, the caption's ``words``, its ``attention`` and its ``evidence``
    (T, h, w), ``mosaics`` to show, the captions of other beam widths (``sweep``), those of other
    data sets' photographs (``groups``), and the checkpoint.
    """

    name: str
    about: str
    facts: Mapping[str, Any]
    system: System
    words: Sequence[tuple[str, ...]] | None = None
    attention: Sequence[NDArray[np.float32]] | None = None
    evidence: Sequence[NDArray[np.float32]] | None = None
    mosaics: Sequence[MosaicExample] = ()
    sweep: Mapping[int, Sequence[str]] = field(default_factory=dict)
    groups: Sequence[CaptionedGroup] = ()
    checkpoint: Checkpoint | None = None
