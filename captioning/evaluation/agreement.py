"""Do maps agree with occlusion? Rank correlation on ordinary photographs.

The occlusion map of a word is how much log-probability it loses when a location and its neighbours
are hidden. Evidence is nearly that, but counts the gain of other words only in part, so that its
maps point better; how far it still puts the locations in the same order is measured here, and how
far attention does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captioning.evaluation.agreement_results import AgreementResults
from captioning.evaluation.uncertainty import spearman
from captioning.inference.decode import Hypothesis
from captioning.inference.engine import Features, OccludingEngine
from captioning.inference.evidence import evidence_maps, neighbourhoods

PHOTOGRAPHS = 200  # enough for a narrow interval


@dataclass(eq=False)
class EvidenceProbe:
    """Computes, batch by batch, the evidence of all captions, and for some the occlusion maps.

    ``maps`` has the evidence (T, h, w) of each photograph's best caption.
    """

    engine: OccludingEngine
    photographs: int = PHOTOGRAPHS
    maps: list[NDArray[np.float32]] = field(default_factory=list)
    _words: list[int] = field(default_factory=list)
    _correlations: dict[str, list[float]] = field(
        default_factory=lambda: {"evidence": [], "attention": []}
    )

    def __call__(self, features: Features, beams: Sequence[Sequence[Hypothesis]]) -> None:
        """Measure the best captions of features (B, L, C)."""
        best = [hypotheses[0] for hypotheses in beams]
        captions = [one.tokens for one in best]
        maps = evidence_maps(self.engine, features, captions)
        self.maps += maps
        count = max(0, min(len(best), self.photographs - len(self._words)))
        if not count:
            return
        hidden = neighbourhoods(math.isqrt(features.shape[1]))
        occlusion = self.engine.occlude(features[:count], captions[:count], hidden)
        for lost, caption, evidence in zip(occlusion, best, maps, strict=False):
            self._compare(lost, caption, evidence)

    def results(self) -> AgreementResults:
        """The agreement of the photographs so far."""
        return AgreementResults(self._correlations, self._words)

    def _compare(
        self, lost: NDArray[np.float32], caption: Hypothesis, evidence: NDArray[np.float32]
    ) -> None:
        """Add one photograph, of which ``lost`` (T, L) are the occlusion maps."""
        maps = {"evidence": evidence.reshape(lost.shape), "attention": caption.alphas}
        self._words.append(len(lost))
        for name, values in maps.items():
            self._correlations[name].append(float(spearman(values, lost).sum()))
