"""Evidence: what each word of a caption rests on.

A part of the photograph is hidden, and the word loses support: the more it loses, the more it rests
on that part (occlusion sensitivity; Zeiler and Fergus, ECCV 2014, section 4.2, on the encoder's
features). Unlike attention, which says where the decoder looked, this says what made a difference.

A word's support is its logit minus 0.6 times the log of the summed exponentials of all logits. That
lies between the word's own score (0 times) and its log-probability (1 times). Log-probability falls
also where other words gain, which says more of them than of this one: on mosaics
(``evaluation.mosaics``) its maps point less well. With 0.6 the ranks of the locations agree with
those by log-probability to more than 0.9 (docs/experiments.md).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captioning.errors import SettingError
from captioning.inference.engine import Engine, Features, Floats, OccludingEngine

# Neighbours of a location that are hidden with it, in each direction. Features of neighbours
# overlap: without one alone, its neighbours still show most of what it showed.
REACH = 1
COMPETITION = 0.6  # how much the gain of other words counts


def require_occlusion(engine: Engine) -> OccludingEngine:
    """The engine, if it can hide parts of a photograph; raises SettingError if it cannot."""
    if not isinstance(engine, OccludingEngine):
        raise SettingError(
            f"evidence needs an engine that can hide parts of a photograph, which "
            f"{type(engine).__name__} cannot; caption without evidence"
        )
    return engine


def evidence_maps(
    engine: Engine, features: Features, captions: Sequence[Sequence[int]]
) -> list[Floats]:
    """The evidence for the words of B captions: for each caption maps (T, h, w).

    Features (B, L, C) come from the engine, captions are word ids without ``<end>``. A map has, for
    each location, how much more support the word loses, in nats, when the location and its
    neighbours are hidden, than in the median over all locations: positive where the word rests on
    what is there, negative where that speaks against it. Raises SettingError for an engine that
    cannot hide locations.
    """
    locations = features.shape[1]
    side = math.isqrt(locations)  # photographs are squares to the network
    hidden = neighbourhoods(side)
    lost = require_occlusion(engine).occlude(features, captions, hidden, COMPETITION)
    return [_relative(each).reshape(-1, side, side) for each in lost]


def _relative(lost: Floats) -> Floats:
    """Losses (T, L) above their median: to hide anything at all costs most words a little."""
    middle = (lost.shape[1] - 1) // 2  # of an even number, the lower of the two in the middle
    relative: Floats = lost - np.sort(lost, axis=1)[:, middle : middle + 1]
    return relative


def neighbourhoods(side: int, reach: int = REACH) -> NDArray[np.bool_]:
    """Each location of a square grid together with its neighbours: a mask (L, L)."""
    if side < 2 * reach + 2:  # the neighbours of the middle would be everything
        reach = 0
    position = np.arange(side)
    distance = np.abs(position[:, None] - position[None, :])  # (side, side), of rows or columns
    near = distance <= reach
    mask: NDArray[np.bool_] = near[:, None, :, None] & near[None, :, None, :]
    return mask.reshape(side**2, side**2)
