"""Does the model use what it attends to? A test that erases the features it attended to.

For each content word of a caption, with the prefix and the state before it unchanged, the features
at the k locations of highest attention are replaced by the photograph's mean feature, the attention
is computed anew, and the drop in the word's log-probability is measured; the same for k locations
drawn at random. The difference of the two drops is the faithfulness: 0 for a model whose attention
tells nothing about what it uses. After the erasure tests of Jain and Wallace (2019),
"Attention is not Explanation", and DeYoung et al. (2020), "ERASER" (comprehensiveness).
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioning.data.vocab import PAD, START
from captioning.evaluation.erasure import ErasureResults, WordDrop
from captioning.inference.decode import Hypothesis
from captioning.network.decoder import Decoder, Memory, State

SHARE = 0.1  # of the locations are erased
DRAWS = 3  # random sets of locations per word
_AT_ONCE = 64  # words tested together
# Words that no location of a photograph shows: a drop in their probability would mean little.
_FUNCTION_WORDS = """
    a an the this that these those some another other each both all its his her their it he she
    they them him who which what there and or but as while with without of in on at by to from for
    into onto over under through up down out off around across along near next behind between above
    below against toward towards past after before during is are am was were be been being has have
    having had do does doing done can could will would may might not no n't 's 're 've 'll 'd 'm
    then than so very just also like if when where how about
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


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
        steps = self._steps(words, memory, state)
        if not len(steps.rows):
            return []
        after = [
            torch.cat([self._without(mask, part, memory) for part, mask in _parts(steps, erased)])
            for erased in self._masks(steps.alphas)
        ]  # 1 + S of (R,)
        drops = steps.log_probabilities - torch.stack(after)  # (1 + S, R)
        return _word_drops(first + steps.rows, drops[0], drops[1:].mean(dim=0))

    def _steps(self, words: Tensor, memory: Memory, state: State) -> "_Steps":
        """The decoder before each content word of captions (B, T), and the log-probability."""
        tested = self._is_content(words)  # (B, T)
        last, steps = torch.full_like(words[:, 0], START), []
        for step in range(words.shape[1]):
            output, alphas, following = self.decoder.step(last, memory, state)
            rows = tested[:, step].nonzero().flatten()  # (R,)
            word = words[rows, step]
            before = self._log_probability(output[rows], word)
            hidden, cell = state.hidden[rows], state.cell[rows]
            steps.append(
                _Steps(
                    rows=rows,
                    last=last[rows],
                    word=word,
                    hidden=hidden,
                    cell=cell,
                    alphas=alphas[rows],
                    log_probabilities=before,
                )
            )
            last, state = words[:, step], following
        return _Steps(*(torch.cat(columns) for columns in zip(*steps, strict=True)))

    def _is_content(self, words: Tensor) -> Tensor:
        """Which of the words (B, T) are tested."""
        skipped = torch.tensor(sorted({PAD, *self.function_words}), device=words.device)
        return ~torch.isin(words, skipped)

    def _masks(self, alphas: Tensor) -> list[Tensor]:
        """Masks (R, L) of the locations to erase: the most attended, then random ones."""
        count = max(1, round(SHARE * alphas.shape[1]))
        scores = [alphas.cpu(), *torch.rand(self.draws, *alphas.shape, generator=self.random)]
        return [_greatest(score, count).to(alphas.device) for score in scores]

    def _without(self, erased: Tensor, steps: "_Steps", memory: Memory) -> Tensor:
        """Log-probability of the words (R,) when the locations ``erased`` (R, L) show the mean."""
        # A key is linear in its feature, so the key of the mean feature is the mean key.
        mask = erased.unsqueeze(-1)  # (R, L, 1)
        altered = Memory(
            *(
                torch.where(mask, part.mean(1, keepdim=True)[steps.rows], part[steps.rows])
                for part in memory
            )
        )
        output, _, _ = self.decoder.step(steps.last, altered, State(steps.hidden, steps.cell))
        return self._log_probability(output, steps.word)

    def _log_probability(self, output: Tensor, words: Tensor) -> Tensor:
        logits = self.decoder.vocabulary(output).float()  # (R, V)
        own: Tensor = logits.log_softmax(dim=-1).gather(1, words.unsqueeze(1)).squeeze(1)
        return own


class _Steps(NamedTuple):
    """R content words, each with the decoder's input and state before it."""

    rows: Tensor  # (R,), the photograph's index in the batch
    last: Tensor  # (R,), the word before
    word: Tensor  # (R,)
    hidden: Tensor  # (R, D)
    cell: Tensor  # (R, D)
    alphas: Tensor  # (R, L)
    log_probabilities: Tensor  # (R,), of the word, nothing erased


def _parts(steps: _Steps, erased: Tensor) -> Iterator[tuple[_Steps, Tensor]]:
    """Cut into parts, because each word needs a copy of its photograph's features."""
    for start in range(0, len(erased), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield _Steps(*(column[part] for column in steps)), erased[part]


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
    """The entropy of each word's attention in nats: (T, L) to (T,)."""
    return -(alphas * alphas.clamp(min=1e-12).log()).sum(dim=-1)
