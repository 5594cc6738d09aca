"""Do maps agree with a full occlusion? Rank correlation on ordinary photographs.

The full occlusion is the slow, plain way: the caption is predicted again, word by word from its
beginning, from features of which one location and its neighbours show the mean feature. Evidence
takes two short cuts: it keeps the state that the words before left when nothing was hidden, and it
hides a location by changing the attention. How far its order of the locations is that of the full
occlusion is measured here, and how far attention's is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioning.data.vocab import START
from captioning.evaluation.uncertainty import Statistic, ratio, spearman
from captioning.inference.decode import Hypothesis
from captioning.inference.evidence import evidence_maps, neighbourhoods
from captioning.inference.torch_engine import TorchEngine
from captioning.network.decoder import Decoder

PHOTOGRAPHS = 200  # on which the full occlusion, which takes long, is measured


@dataclass(frozen=True)
class AgreementResults:
    """For each kind of map the summed rank correlations of each photograph's words.

    ``correlations`` has (B,) sums by the name of the map, ``words`` (B,) numbers of words.
    """

    correlations: Mapping[str, Sequence[float]]
    words: Sequence[int]

    def statistics(self) -> dict[str, Statistic]:
        """The mean over words, by the name of the map."""
        words = np.array(self.words, dtype=np.float64)
        return {name: ratio(np.array(sums), words) for name, sums in self.correlations.items()}


@dataclass(eq=False)
class EvidenceProbe:
    """Computes, batch by batch, the evidence of all captions, and for some the full occlusion.

    ``maps`` has the evidence (T, h, w) of each photograph's best caption.
    """

    engine: TorchEngine
    photographs: int = PHOTOGRAPHS
    maps: list[NDArray[np.float32]] = field(default_factory=list)
    _words: list[int] = field(default_factory=list)
    _correlations: dict[str, list[float]] = field(
        default_factory=lambda: {"evidence": [], "attention": []}
    )

    def __call__(self, features: Tensor, beams: Sequence[Sequence[Hypothesis]]) -> None:
        """Measure the best captions of features (B, L, C)."""
        best = [hypotheses[0] for hypotheses in beams]
        maps = evidence_maps(self.engine, features, [one.tokens for one in best])
        self.maps += maps
        for own, caption, evidence in zip(features, best, maps, strict=True):
            if len(self._words) < self.photographs:
                self._compare(own, caption, evidence)

    def results(self) -> AgreementResults:
        """The agreement of the photographs so far."""
        return AgreementResults(self._correlations, self._words)

    def _compare(
        self, features: Tensor, caption: Hypothesis, evidence: NDArray[np.float32]
    ) -> None:
        """Add one photograph, of features (L, C)."""
        full = full_occlusion(self.engine.reference_decoder, features, caption.tokens).numpy()
        maps = {"evidence": evidence.reshape(full.shape), "attention": caption.alphas.numpy()}
        self._words.append(len(full))
        for name, values in maps.items():
            self._correlations[name].append(float(spearman(values, full).sum()))


@torch.inference_mode()
def full_occlusion(decoder: Decoder, features: Tensor, tokens: Sequence[int]) -> Tensor:
    """What each word loses when each location and its neighbours are hidden from the beginning.

    Features (L, C) of one photograph and the word ids of its caption give (T, L), in nats.
    """
    weight = decoder.embedding.weight
    features = features.to(weight.device, weight.dtype)
    hidden = neighbourhoods(math.isqrt(len(features))).to(weight.device)  # (L, L)
    altered = torch.where(hidden.unsqueeze(-1), features.mean(dim=0), features)  # (L, L, C)
    captions = torch.tensor([START, *tokens], device=weight.device)
    logits = torch.cat(
        [
            decoder(views, captions[:-1].expand(len(views), -1))[0]
            for views in (features.unsqueeze(0), altered)
        ]
    )  # (1 + L, T, V)
    words = captions[1:].view(1, -1, 1).expand(len(logits), -1, 1)
    said = logits.float().log_softmax(dim=-1).gather(2, words).squeeze(2)  # (1 + L, T)
    return (said[0] - said[1:]).T.cpu()
