"""Batched beam search over any engine."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from captioning.data.vocab import Tokens
from captioning.network.config import DecodeConfig

_KEPT_SHARE = 0.9
_LOWEST = -1e4  # the least log-probability; e ** -10000 is 0 in any precision


class Steps(Protocol):
    """The part of an engine that decoding uses: see ``engine.Engine``."""

    def start(self, features: Tensor) -> Any: ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]: ...

    def reorder(self, state: Any, index: Tensor) -> Any: ...

    def keep(self, state: Any, images: Tensor) -> Any: ...


class Hypothesis(NamedTuple):
    """One finished caption: word ids without ``<end>``, and where the model looked for each.

    ``log_probabilities`` (T + 1,) has one entry a word and one for ``<end>``; ``alphas`` (T, L)
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
    """B * K hypotheses, those of a photograph side by side, best first; at the start B alone."""

    total: Tensor  # (B, K), the sum of the log-probabilities; -inf for a place not in use
    lengths: Tensor  # (B, K), words with <end>
    ended: Tensor  # (B, K)


class _Growth(NamedTuple):
    """How all hypotheses grew by one token; followed backwards, it tells what they say."""

    parents: Tensor  # (B, K), the place of the hypothesis that was extended
    tokens: Tensor  # (B, K)
    log_probabilities: Tensor  # (B, K), of each token
    alphas: Tensor  # (B, hypotheses before, L), at the parents' places


@torch.inference_mode()
def beam_search(
    engine: Steps, features: Tensor, tokens: Tokens, config: DecodeConfig
) -> list[list[Hypothesis]]:
    """Caption B photographs at once: for each, up to K hypotheses, best first.

    Features (B, L, C) come from the engine. A hypothesis that has ended keeps its place among the
    K and competes with those that go on; the search for a photograph is over when all its K have
    ended, which ``max_words`` guarantees. With K large enough to drop nothing it is exhaustive.
    Memory grows with B * K.
    """
    found: dict[int, list[Hypothesis]] = {}
    # All captions begin alike: the first step needs one hypothesis a photograph.
    state = engine.start(features)
    beams = _first_beams(len(features))
    history: list[_Growth] = []
    images = torch.arange(len(features))  # those still searched
    last = torch.full((len(features),), tokens.start)
    for position in range(config.max_words + 1):
        log_probabilities, alphas, state = engine.step(last, state)
        allowed = _forbid(log_probabilities.cpu(), tokens, position, config.max_words)
        extended = beams.total.shape[1]
        beams, growth = _grow(beams, allowed, alphas.cpu(), tokens.end, config)
        history.append(growth)
        ended = beams.ended.all(dim=1)  # (B,)
        going = (~ended).nonzero().flatten()
        if not len(going):
            break
        if config.beam > 1:
            offsets = torch.arange(len(ended)).unsqueeze(1) * extended
            state = engine.reorder(state, (growth.parents + offsets).flatten())
        last = growth.tokens
        # Captions differ in length: going on with the unfinished alone halves the work. Leaving
        # the others behind costs a copy, so it waits until they are several.
        if len(going) <= _KEPT_SHARE * len(ended):
            places = ended.nonzero().flatten()
            hypotheses = _collect(_at(beams, places), [_at(g, places) for g in history], config)
            found |= zip(images[places].tolist(), hypotheses, strict=True)
            beams, history = _at(beams, going), [_at(growth, going) for growth in history]
            images, last = images[going], last[going]
            state = engine.keep(state, going)
        last = last.flatten()
    found |= zip(images.tolist(), _collect(beams, history, config), strict=True)
    return [found[image] for image in range(len(features))]


def _first_beams(count: int) -> _Beams:
    """One empty hypothesis a photograph."""
    return _Beams(
        torch.zeros(count, 1), torch.zeros(count, 1), torch.zeros(count, 1, dtype=torch.bool)
    )


def _forbid(log_probabilities: Tensor, tokens: Tokens, position: int, max_words: int) -> Tensor:
    """Log-probabilities (B * K, V) with what may not come next, and nothing else, at -inf."""
    # Or a hypothesis would be lost when the model calls impossible all that it may say next.
    allowed = log_probabilities.clamp(min=_LOWEST)
    if position == max_words:
        only_end = torch.full_like(allowed, -torch.inf)
        only_end[:, tokens.end] = allowed[:, tokens.end]
        return only_end
    for token in tokens.never if position else (*tokens.never, tokens.end):
        allowed[:, token] = -torch.inf
    return allowed


def _grow(
    beams: _Beams, log_probabilities: Tensor, alphas: Tensor, end: int, config: DecodeConfig
) -> tuple[_Beams, _Growth]:
    """Extend each hypothesis by each token and keep the best K, or all while they are fewer."""
    count, hypotheses = beams.total.shape
    vocabulary = log_probabilities.shape[-1]
    following = log_probabilities.view(count, hypotheses, vocabulary)
    if beams.ended.any():
        # A hypothesis that has ended stays as it is: its one continuation, free, is <end> again.
        free_end = torch.full((vocabulary,), -torch.inf)
        free_end[end] = 0.0
        following = torch.where(beams.ended.unsqueeze(-1), free_end, following)
    lengths = beams.lengths + ~beams.ended  # (B, K)
    totals = beams.total.unsqueeze(-1) + following  # (B, K, V)
    penalty = config.length_penalty
    ranks = totals / (lengths**penalty).unsqueeze(-1) if penalty else totals
    kept = min(config.beam, hypotheses * vocabulary)
    best = ranks.flatten(1).topk(kept, dim=1).indices  # (B, K)
    parents, chosen = best // vocabulary, best % vocabulary
    total = totals.flatten(1).gather(1, best)
    grown = _Beams(
        total,
        lengths.gather(1, parents),
        # A place with no possible hypothesis has nothing more to say either.
        ended=(chosen == end) | total.isneginf(),
    )
    new = following.flatten(1).gather(1, best)
    return grown, _Growth(parents, chosen, new, alphas.view(count, hypotheses, -1))


_Parts = TypeVar("_Parts", _Beams, _Growth)


def _at(parts: _Parts, images: Tensor | int) -> _Parts:
    """The part that belongs to the photographs ``images``, places in the batch."""
    return type(parts)(*(part[images] for part in parts))


def _collect(
    beams: _Beams, history: Sequence[_Growth], config: DecodeConfig
) -> list[list[Hypothesis]]:
    """The hypotheses of each photograph, best first, told by following their growth backwards."""
    places = torch.arange(beams.total.shape[1]).expand_as(beams.total)  # (B, K)
    rows = torch.arange(len(beams.total)).unsqueeze(1)
    backwards = []
    for growth in reversed(history):
        parents = growth.parents.gather(1, places)
        tokens, new = growth.tokens.gather(1, places), growth.log_probabilities.gather(1, places)
        backwards.append((tokens, new, growth.alphas[rows, parents]))
        places = parents
    # (B, K, T), (B, K, T), (B, K, T, L)
    parts = [torch.stack(part[::-1], dim=2) for part in zip(*backwards, strict=True)]
    return [
        _hypotheses(_at(beams, image), [part[image] for part in parts], config.length_penalty)
        for image in range(len(beams.total))
    ]


def _hypotheses(beams: _Beams, parts: Sequence[Tensor], length_penalty: float) -> list[Hypothesis]:
    """The hypotheses of one photograph, best first; its beams are (K,), its parts (K, T, ...)."""
    found = []
    ranked = zip(beams.total.tolist(), beams.lengths.int().tolist(), *parts, strict=True)
    for total, length, tokens, new, alphas in ranked:
        if total == -torch.inf:
            continue
        found.append(
            Hypothesis(
                tokens=tokens[: length - 1].tolist(),
                score=total / length**length_penalty,
                log_probabilities=new[:length],
                alphas=alphas[: length - 1],
            )
        )
    return sorted(found, key=lambda hypothesis: -hypothesis.score)
