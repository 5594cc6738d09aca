"""Batched beam search over any engine.

Dimensions: B photographs, K beams each, T words, L locations, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from captioning.data.vocab import Tokens
from captioning.inference.engine import Engine
from captioning.network.config import DecodeConfig

_KEPT_SHARE = 0.9  # of the photographs: the search drops the others once so few go on
_LOWEST = -1e4  # the least log-probability; e ** -10000 is 0 in any precision


class Hypothesis(NamedTuple):
    """One finished caption: word ids without ``<end>``, and the attention of each.

    ``log_probabilities`` (T + 1,) has one entry per word and one for ``<end>``; ``alphas`` (T, L)
    has the words' alone.
    """

    tokens: list[int]
    score: float
    log_probabilities: Tensor
    alphas: Tensor

    def maps(self) -> Tensor:
        """The attention as maps (T, h, w): photographs are squares to the network."""
        side = math.isqrt(self.alphas.shape[-1])
        return self.alphas.view(-1, side, side)


class _Beams(NamedTuple):
    """B * K hypotheses, those of a photograph next to each other, best first; B at the start."""

    total: Tensor  # (B, K), the log-probabilities less the penalties; -inf for a beam not in use
    lengths: Tensor  # (B, K), words with <end>
    ended: Tensor  # (B, K)
    words: Tensor  # (B, K, T), the tokens so far


class _Extension(NamedTuple):
    """One token for every hypothesis; followed backwards, extensions spell the captions."""

    parents: Tensor  # (B, K), the index among its photograph's of the hypothesis it extends
    tokens: Tensor  # (B, K)
    log_probabilities: Tensor  # (B, K), of each token
    alphas: Tensor  # (B, hypotheses before, L), in the order of the parents' indices


@torch.inference_mode()
def beam_search(
    engine: Engine, features: Tensor, tokens: Tokens, config: DecodeConfig
) -> list[list[Hypothesis]]:
    """Caption B photographs at once: for each, up to K hypotheses, best first.

    Features (B, L, C) come from the engine. A hypothesis that has ended stays among the K and
    competes with those that go on; the search for a photograph is over when all its K have ended,
    which ``max_words`` guarantees. With K large enough to drop nothing it is exhaustive. Memory
    grows with B * K.
    """
    finished: dict[int, list[Hypothesis]] = {}
    # The empty caption is the only one at first: one hypothesis per photograph.
    state = engine.start(features)
    beams = _first_beams(len(features))
    history: list[_Extension] = []
    images = torch.arange(len(features))  # those still searched
    last = torch.full((len(features),), tokens.start)
    for position in range(config.max_words + 1):
        log_probabilities, alphas, state = engine.step(last, state)
        allowed = _forbid(log_probabilities.cpu(), tokens, position, config.max_words)
        width = beams.total.shape[1]  # before the extension
        beams, extension = _extend(beams, allowed, alphas.cpu(), tokens, config)
        history.append(extension)
        ended = beams.ended.all(dim=1)  # (B,)
        going = (~ended).nonzero().flatten()
        if not len(going):
            break
        if config.beam > 1:
            offsets = torch.arange(len(ended)).unsqueeze(1) * width
            state = engine.reorder(state, (extension.parents + offsets).flatten())
        last = extension.tokens
        # Captions differ in length: to go on with the unfinished alone halves the work. To drop the
        # finished ones costs a copy, so it waits until there are several.
        if len(going) <= _KEPT_SHARE * len(ended):
            over = ended.nonzero().flatten()
            captions = _collect(_select(beams, over), [_select(e, over) for e in history], config)
            finished |= zip(images[over].tolist(), captions, strict=True)
            beams, history = _select(beams, going), [_select(e, going) for e in history]
            images, last = images[going], last[going]
            state = engine.keep(state, going)
        last = last.flatten()
    finished |= zip(images.tolist(), _collect(beams, history, config), strict=True)
    return [finished[image] for image in range(len(features))]


def _first_beams(count: int) -> _Beams:
    """One empty hypothesis per photograph."""
    return _Beams(
        total=torch.zeros(count, 1),
        lengths=torch.zeros(count, 1),
        ended=torch.zeros(count, 1, dtype=torch.bool),
        words=torch.zeros(count, 1, 0, dtype=torch.long),
    )


def _forbid(log_probabilities: Tensor, tokens: Tokens, position: int, max_words: int) -> Tensor:
    """Log-probabilities (B * K, V) with what may not come next, and nothing else, at -inf."""
    # Without the clamp a hypothesis is lost when the model calls all that may follow impossible.
    allowed = log_probabilities.clamp(min=_LOWEST)
    if position == max_words:
        only_end = torch.full_like(allowed, -torch.inf)
        only_end[:, tokens.end] = allowed[:, tokens.end]
        return only_end
    for token in tokens.never if position else (*tokens.never, tokens.end):
        allowed[:, token] = -torch.inf
    return allowed


def _extend(
    beams: _Beams, log_probabilities: Tensor, alphas: Tensor, tokens: Tokens, config: DecodeConfig
) -> tuple[_Beams, _Extension]:
    """Extend each hypothesis by each token and keep the best K, or all while they are fewer."""
    count, hypotheses = beams.total.shape
    vocabulary = log_probabilities.shape[-1]
    following = log_probabilities.view(count, hypotheses, vocabulary)
    if beams.ended.any():
        # A hypothesis that has ended stays as it is: all that may follow is <end>, at no cost.
        free_end = torch.full((vocabulary,), -torch.inf)
        free_end[tokens.end] = 0.0
        following = torch.where(beams.ended.unsqueeze(-1), free_end, following)
    lengths = beams.lengths + ~beams.ended  # (B, K)
    totals = beams.total.unsqueeze(-1) + following  # (B, K, V)
    if config.repetition_penalty:
        totals = _penalize_repetition(totals, beams.words, tokens, config.repetition_penalty)
    penalty = config.length_penalty
    ranks = totals / (lengths**penalty).unsqueeze(-1) if penalty else totals
    kept = min(config.beam, hypotheses * vocabulary)
    best = ranks.flatten(1).topk(kept, dim=1).indices  # (B, K)
    parents, chosen = best // vocabulary, best % vocabulary
    total = totals.flatten(1).gather(1, best)
    extended = _Beams(
        total,
        lengths.gather(1, parents),
        # A beam for which no hypothesis was possible has nothing more to say either.
        ended=(chosen == tokens.end) | total.isneginf(),
        words=torch.cat([_of_parents(beams.words, parents), chosen.unsqueeze(-1)], dim=-1),
    )
    new = following.flatten(1).gather(1, best)
    return extended, _Extension(parents, chosen, new, alphas.view(count, hypotheses, -1))


def _penalize_repetition(totals: Tensor, words: Tensor, tokens: Tokens, penalty: float) -> Tensor:
    """Totals (B, K, V), less the penalty for each time that a token is among words (B, K, T).

    What is ``repeatable`` costs nothing, and neither does ``<end>``.
    """
    costs = torch.full(totals.shape[-1:], penalty)
    costs[[*tokens.repeatable, tokens.end]] = 0.0
    return totals.scatter_add(-1, words, -costs[words])


def _of_parents(words: Tensor, parents: Tensor) -> Tensor:
    """The words (B, K, T) that the parents (B, K'), of hypotheses before, have: (B, K', T)."""
    return words.gather(1, parents.unsqueeze(-1).expand(-1, -1, words.shape[-1]))


_Parts = TypeVar("_Parts", _Beams, _Extension)


def _select(parts: _Parts, images: Tensor | int) -> _Parts:
    """The rows of some photographs, by their indices in the batch."""
    return type(parts)(*(part[images] for part in parts))


def _collect(
    beams: _Beams, history: Sequence[_Extension], config: DecodeConfig
) -> list[list[Hypothesis]]:
    """The hypotheses of each photograph, best first, by following the extensions backwards."""
    current = torch.arange(beams.total.shape[1]).expand_as(beams.total)  # (B, K)
    rows = torch.arange(len(beams.total)).unsqueeze(1)
    backwards = []
    for extension in reversed(history):
        parents = extension.parents.gather(1, current)
        tokens = extension.tokens.gather(1, current)
        new = extension.log_probabilities.gather(1, current)
        backwards.append((tokens, new, extension.alphas[rows, parents]))
        current = parents
    # (B, K, T), (B, K, T), (B, K, T, L)
    parts = [torch.stack(part[::-1], dim=2) for part in zip(*backwards, strict=True)]
    return [
        _hypotheses(_select(beams, image), [part[image] for part in parts], config.length_penalty)
        for image in range(len(beams.total))
    ]


def _hypotheses(beams: _Beams, parts: Sequence[Tensor], length_penalty: float) -> list[Hypothesis]:
    """The hypotheses of one photograph, best first; its beams are (K,), its parts (K, T, ...)."""
    hypotheses = []
    rows = zip(beams.total.tolist(), beams.lengths.int().tolist(), *parts, strict=True)
    for total, length, tokens, log_probabilities, alphas in rows:
        if total == -torch.inf:
            continue
        hypotheses.append(
            Hypothesis(
                tokens=tokens[: length - 1].tolist(),
                score=total / length**length_penalty,
                log_probabilities=log_probabilities[:length],
                alphas=alphas[: length - 1],
            )
        )
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)
