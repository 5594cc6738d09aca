"""Does the model use what it looks at? Attention put to the test by taking away what it saw.

For each content word of a caption, with the prefix and the state before it as they were, the
features at the k places of highest attention are replaced by the photograph's mean feature, the
attention is computed anew, and the drop in the word's log-probability is noted; the same for k
places drawn at random. The difference of the two drops is the faithfulness: 0 for a model whose
attention says nothing of what it uses. After the erasure tests of Jain and Wallace (2019),
"Attention is not Explanation", and DeYoung et al. (2020), "ERASER" (comprehensiveness).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioning.data.vocab import PAD, START
from captioning.evaluation.uncertainty import Statistic, ratio
from captioning.inference.decode import Hypothesis
from captioning.network.decoder import Decoder, Memory, State

SHARE = 0.1  # of the places are taken away
DRAWS = 3  # random choices of places a word
_AT_ONCE = 64  # words tested together
# Words that no place of a photograph shows: a drop in their probability would mean little.
_FUNCTION_WORDS = """
    a an the this that these those some another other each both all its his her their it he she
    they them him who which what there and or but as while with without of in on at by to from for
    into onto over under through up down out off around across along near next behind between above
    below against toward towards past after before during is are am was were be been being has have
    having had do does doing done can could will would may might not no n't 's 're 've 'll 'd 'm
    then than so very just also like if when where how about
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class WordDrop:
    """What taking places away did to one content word, in nats."""

    photograph: int
    drop: float  # at the places of highest attention
    random_drop: float  # at places drawn at random, the mean over draws


class AttentionProbe:
    """Collects, batch by batch, what captions lose when the places they looked at are taken away.

    ``function_words`` are ids that are not tested.
    """

    def __init__(
        self, decoder: Decoder, function_words: Collection[int], draws: int = DRAWS, seed: int = 0
    ) -> None:
        self.decoder, self.function_words, self.draws = decoder, set(function_words), draws
        self.random = torch.Generator().manual_seed(seed)
        self.drops: list[WordDrop] = []
        self.entropies: list[tuple[float, int]] = []  # of each photograph: summed over words, words
        self.places = 0

    def __call__(self, features: Tensor, found: Sequence[Sequence[Hypothesis]]) -> None:
        """Test the best caption of each photograph of features (B, L, C)."""
        best = [hypotheses[0] for hypotheses in found]
        first, self.places = len(self.entropies), features.shape[1]
        self.entropies += [(float(_entropy(one.alphas).sum()), len(one.tokens)) for one in best]
        self.drops += self._test(features, [one.tokens for one in best], first)

    def statistics(self) -> dict[str, Statistic]:
        """Faithfulness, both drops and the entropy of attention, in nats a word.

        The first three are means over content words, the entropy over all words; each is a
        function of sums over photographs.
        """
        photographs = len(self.entropies)
        places = np.array([drop.photograph for drop in self.drops], dtype=np.int64)
        count = np.bincount(places, minlength=photographs).astype(np.float64)

        def per_word(values: list[float]) -> Statistic:
            sums = np.bincount(places, np.array(values), photographs).astype(np.float64)
            return ratio(sums, count)

        entropies = np.array(self.entropies, dtype=np.float64).reshape(-1, 2)
        return {
            "faithfulness": per_word([drop.drop - drop.random_drop for drop in self.drops]),
            "drop": per_word([drop.drop for drop in self.drops]),
            "drop at random places": per_word([drop.random_drop for drop in self.drops]),
            "entropy": ratio(entropies[:, 0], entropies[:, 1]),
        }

    @torch.inference_mode()
    def _test(self, features: Tensor, captions: list[list[int]], first: int) -> list[WordDrop]:
        weight = self.decoder.embedding.weight
        words = _padded(captions).to(weight.device)  # (B, T)
        memory, state = self.decoder.start(features.to(weight.device, weight.dtype))
        steps = self._steps(words, memory, state)
        if not len(steps.rows):
            return []
        after = [
            torch.cat([self._without(taken, part, memory) for part, taken in _parts(steps, choice)])
            for choice in self._taken(steps.alphas)
        ]  # 1 + S of (R,)
        falls = steps.log_probabilities - torch.stack(after)  # (1 + S, R)
        return _word_drops(first + steps.rows, falls[0], falls[1:].mean(dim=0))

    def _steps(self, words: Tensor, memory: Memory, state: State) -> "_Steps":
        """What was so before each content word of captions (B, T), and what the word got."""
        tested = self._is_content(words)  # (B, T)
        last, found = torch.full_like(words[:, 0], START), []
        for step in range(words.shape[1]):
            output, alphas, following = self.decoder.step(last, memory, state)
            rows = tested[:, step].nonzero().flatten()  # (R,)
            said = words[rows, step]
            before = self._log_probability(output[rows], said)
            hidden, cell = state.hidden[rows], state.cell[rows]
            found.append(_Steps(rows, last[rows], said, hidden, cell, alphas[rows], before))
            last, state = words[:, step], following
        return _Steps(*(torch.cat(columns) for columns in zip(*found, strict=True)))

    def _is_content(self, words: Tensor) -> Tensor:
        """Which of the words (B, T) are tested."""
        skipped = torch.tensor(sorted({PAD, *self.function_words}), device=words.device)
        return ~torch.isin(words, skipped)

    def _taken(self, alphas: Tensor) -> list[Tensor]:
        """Masks (R, L) of the places to take away: the most attended, then random ones."""
        count = max(1, round(SHARE * alphas.shape[1]))
        scores = [alphas.cpu(), *torch.rand(self.draws, *alphas.shape, generator=self.random)]
        return [_greatest(score, count).to(alphas.device) for score in scores]

    def _without(self, taken: Tensor, steps: "_Steps", memory: Memory) -> Tensor:
        """Log-probability of the words (R,) when the places ``taken`` (R, L) show the mean."""
        # A key is linear in its feature, so the key of the mean feature is the mean key.
        mask = taken.unsqueeze(-1)  # (R, L, 1)
        altered = Memory(
            *(
                torch.where(mask, part.mean(1, keepdim=True)[steps.rows], part[steps.rows])
                for part in memory
            )
        )
        output, _, _ = self.decoder.step(steps.last, altered, State(steps.hidden, steps.cell))
        return self._log_probability(output, steps.said)

    def _log_probability(self, output: Tensor, said: Tensor) -> Tensor:
        logits = self.decoder.vocabulary(output).float()  # (R, V)
        found: Tensor = logits.log_softmax(dim=-1).gather(1, said.unsqueeze(1)).squeeze(1)
        return found


class _Steps(NamedTuple):
    """R content words, each with what the decoder had before it."""

    rows: Tensor  # (R,), the photograph's place in the batch
    last: Tensor  # (R,), the word before
    said: Tensor  # (R,)
    hidden: Tensor  # (R, D)
    cell: Tensor  # (R, D)
    alphas: Tensor  # (R, L)
    log_probabilities: Tensor  # (R,), of the word as it was said


def _parts(steps: _Steps, taken: Tensor) -> Iterator[tuple[_Steps, Tensor]]:
    """Cut into parts, because each word needs a copy of its photograph's features."""
    for start in range(0, len(taken), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield _Steps(*(column[part] for column in steps)), taken[part]


def _greatest(scores: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` greatest scores of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.topk(count).indices, True)


def _padded(captions: list[list[int]]) -> Tensor:
    rows = [torch.tensor(tokens, dtype=torch.long) for tokens in captions]
    return pad_sequence(rows, batch_first=True, padding_value=PAD)


def _word_drops(photographs: Tensor, drops: Tensor, random_drops: Tensor) -> list[WordDrop]:
    columns = (photographs.tolist(), drops.tolist(), random_drops.tolist())
    return [WordDrop(*row) for row in zip(*columns, strict=True)]


def _entropy(alphas: Tensor) -> Tensor:
    """In nats, of each word's attention: (T, L) to (T,)."""
    return -(alphas * alphas.clamp(min=1e-12).log()).sum(dim=-1)
