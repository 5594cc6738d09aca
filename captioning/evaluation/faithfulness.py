"""Does the model use what it attends to? A test that erases the features it attended to.

For each content word of a caption, with the prefix and the state before it unchanged, the features
at the k locations of highest attention are replaced by the photograph's mean feature, the attention
is computed anew, and the drop in the word's log-probability is measured; the same for k locations
drawn at random. The difference of the two drops is the faithfulness: 0 for a model whose attention
tells nothing about what it uses. (One that looks at the same kind of place whatever it says loses
something too when just that place changes: the test tells use, not sense.) After the erasure tests
of Jain and Wallace (2019), "Attention is not Explanation", and DeYoung et al. (2020), "ERASER"
(comprehensiveness).
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioning.data.vocab import PAD
from captioning.evaluation.erasure import ErasureResults, WordDrop
from captioning.inference.decode import Hypothesis
from captioning.inference.engine import Floats
from captioning.network.decoder import Decoder
from captioning.network.occlusion import drops, follow

SHARE = 0.1  # of the locations are erased
DRAWS = 3  # random sets of locations per word


class AttentionProbe:
    """Measures, batch by batch, what captions lose when the locations they attended to are erased.

    ``function_words`` are the ids of words that are not tested.
    """

    def __init__(
        self, decoder: Decoder, function_words: Collection[int], draws: int = DRAWS, seed: int = 0
    ) -> None:
        self.decoder, self.function_words, self.draws = decoder, set(function_words), draws
        self.random = torch.Generator().manual_seed(seed)
        self.drops: list[WordDrop] = []
        self.entropies: list[tuple[float, int]] = []  # of each photograph: summed over words, words
        self.locations = 0

    def __call__(self, features: Tensor, beams: Sequence[Sequence[Hypothesis]]) -> None:
        """Test the best caption of each photograph of features (B, L, C)."""
        best = [hypotheses[0] for hypotheses in beams]
        first, self.locations = len(self.entropies), features.shape[1]
        self.entropies += [(float(_entropy(one.alphas).sum()), len(one.tokens)) for one in best]
        self.drops += self._test(features, [one.tokens for one in best], first)

    def results(self) -> ErasureResults:
        """What was measured of the batches so far."""
        return ErasureResults(self.drops, self.entropies, self.locations)

    @torch.inference_mode()
    def _test(self, features: Tensor, captions: list[list[int]], first: int) -> list[WordDrop]:
        weight = self.decoder.embedding.weight
        words = _padded(captions).to(weight.device)  # (B, T)
        memory, state = self.decoder.start(features.to(weight.device, weight.dtype))
        tested = follow(self.decoder, memory, state, words, self._is_content(words))
        if not len(tested.word):
            return []
        lost = drops(self.decoder, memory, tested, self._masks(tested.alphas))  # (R, 1 + S)
        return _word_drops(first + tested.photograph, lost[:, 0], lost[:, 1:].mean(dim=1))

    def _is_content(self, words: Tensor) -> Tensor:
        """Which of the words (B, T) are tested."""
        skipped = torch.tensor(sorted({PAD, *self.function_words}), device=words.device)
        return ~torch.isin(words, skipped)

    def _masks(self, alphas: Tensor) -> Tensor:
        """Locations to erase (R, 1 + S, L): the most attended, then S random sets."""
        count = max(1, round(SHARE * alphas.shape[1]))
        scores = [alphas.cpu(), *torch.rand(self.draws, *alphas.shape, generator=self.random)]
        masks = [_greatest(score, count) for score in scores]
        return torch.stack(masks, dim=1).to(alphas.device)


def _greatest(scores: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` greatest scores of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(count).indices, True)


def _padded(captions: list[list[int]]) -> Tensor:
    rows = [torch.tensor(tokens, dtype=torch.long) for tokens in captions]
    return pad_sequence(rows, batch_first=True, padding_value=PAD)


def _word_drops(photographs: Tensor, drops: Tensor, random_drops: Tensor) -> list[WordDrop]:
    columns = (photographs.tolist(), drops.tolist(), random_drops.tolist())
    return [WordDrop(*row) for row in zip(*columns, strict=True)]


def _entropy(alphas: Floats) -> Floats:
    """The entropy of each word's attention in nats: (T, L) to (T,)."""
    entropy: Floats = -(alphas * np.log(np.maximum(alphas, 1e-12))).sum(axis=-1)
    return entropy
