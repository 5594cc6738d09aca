"""Batched beam search over any engine.

Dimensions: B photographs, K beams each, H hypotheses each before a step (1, then K), k
continuations of a hypothesis, T words, L locations.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from captioning.data.vocab import Tokens
from captioning.inference.engine import Continuations, Engine, Features, Floats, Ids
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
    log_probabilities: Floats
    alphas: Floats

    def maps(self) -> Floats:
        """The attention as maps (T, h, w): photographs are squares to the network."""
        side = math.isqrt(self.alphas.shape[-1])
        return self.alphas.reshape(-1, side, side)


class _Beams(NamedTuple):
    """B * K hypotheses, those of a photograph next to each other, best first; B at the start."""

    total: Floats  # (B, K), the log-probabilities less the penalties; -inf for a beam not in use
    lengths: Floats  # (B, K), words with <end>
    ended: NDArray[np.bool_]  # (B, K)
    words: Ids  # (B, K, T), the tokens so far


class _Candidates(NamedTuple):
    """What may follow each hypothesis; -inf where it may not."""

    tokens: Ids  # (B, H, k)
    log_probabilities: Floats  # (B, H, k)


class _Extension(NamedTuple):
    """One token for every hypothesis; followed backwards, extensions spell the captions."""

    parents: Ids  # (B, K), the index among its photograph's of the hypothesis it extends
    tokens: Ids  # (B, K)
    log_probabilities: Floats  # (B, K), of each token
    alphas: Floats  # (B, H, L), in the order of the parents' indices


def beam_search(
    engine: Engine, features: Features, tokens: Tokens, config: DecodeConfig
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
    images = np.arange(len(features))  # those still searched
    last = np.full(len(features), tokens.start, dtype=np.int64)
    for position in range(config.max_words + 1):
        count = _enough(tokens, position, config)
        following, state = engine.step(last, state, count, tokens.end)
        width = beams.total.shape[1]  # before the extension
        candidates = _candidates(following, beams, tokens, position == config.max_words)
        beams, extension = _extend(beams, candidates, following.alphas, tokens, config)
        history.append(extension)
        ended: NDArray[np.bool_] = np.all(beams.ended, axis=1)  # (B,)
        going = np.flatnonzero(~ended)
        if not len(going):
            break
        if config.beam > 1:
            offsets = np.arange(len(ended))[:, None] * width
            state = engine.reorder(state, (extension.parents + offsets).ravel())
        last = extension.tokens
        # Captions differ in length: to go on with the unfinished alone halves the work. To drop the
        # finished ones costs a copy, so it waits until there are several.
        if len(going) <= _KEPT_SHARE * len(ended):
            over = np.flatnonzero(ended)
            captions = _collect(_select(beams, over), [_select(e, over) for e in history], config)
            finished |= zip(images[over].tolist(), captions, strict=True)
            beams, history = _select(beams, going), [_select(e, going) for e in history]
            images, last = images[going], last[going]
            state = engine.keep(state, going)
        last = last.ravel()
    finished |= zip(images.tolist(), _collect(beams, history, config), strict=True)
    return [finished[image] for image in range(len(features))]


def _enough(tokens: Tokens, position: int, config: DecodeConfig) -> int:
    """How many continuations of each hypothesis hold the K best of those that are allowed.

    A hypothesis extends to K others at most. All that the likeliest tokens can lose to are those
    that may not follow, and those that lose a penalty: of each word that was written, one.
    """
    penalized = position if config.repetition_penalty else 0
    return config.beam + len(tokens.never) + 1 + penalized


def _first_beams(count: int) -> _Beams:
    """One empty hypothesis per photograph."""
    return _Beams(
        total=np.zeros((count, 1), dtype=np.float32),
        lengths=np.zeros((count, 1), dtype=np.float32),
        ended=np.zeros((count, 1), dtype=bool),
        words=np.zeros((count, 1, 0), dtype=np.int64),
    )


def _candidates(
    following: Continuations, beams: _Beams, tokens: Tokens, is_last: bool
) -> _Candidates:
    """What may follow each hypothesis: with what may not come next, and nothing else, at -inf."""
    shape = (*beams.total.shape, following.tokens.shape[-1])  # (B, H, k)
    chosen = following.tokens.reshape(shape).copy()
    # Without a lowest value a hypothesis is lost when the model calls all that may follow
    # impossible.
    log_probabilities = np.maximum(following.log_probabilities.reshape(shape), _LOWEST)
    is_first = not beams.words.shape[-1]
    forbidden = (*tokens.never, tokens.end) if is_first else tokens.never
    for token in forbidden:  # np.isin takes longer than several comparisons
        log_probabilities[chosen == token] = -np.inf
    only_end = np.ones_like(beams.ended) if is_last else beams.ended
    chosen[only_end], log_probabilities[only_end] = tokens.end, -np.inf
    end = np.maximum(following.end.reshape(beams.total.shape), _LOWEST)
    # A hypothesis that has ended stays as it is: all that may follow is <end>, at no cost.
    log_probabilities[only_end, 0] = np.where(beams.ended, 0, end)[only_end]
    return _Candidates(chosen, log_probabilities)


def _extend(
    beams: _Beams, candidates: _Candidates, alphas: Floats, tokens: Tokens, config: DecodeConfig
) -> tuple[_Beams, _Extension]:
    """Extend each hypothesis by each candidate and keep the best K, or all while they are fewer."""
    count, hypotheses, continuations = candidates.tokens.shape
    lengths = beams.lengths + ~beams.ended  # (B, H)
    totals = beams.total[..., None] + candidates.log_probabilities  # (B, H, k)
    if config.repetition_penalty:
        totals -= config.repetition_penalty * _repetitions(candidates.tokens, beams.words, tokens)
    penalty = config.length_penalty
    ranks = totals / (lengths**penalty)[..., None] if penalty else totals
    kept = min(config.beam, hypotheses * continuations)
    best = np.argsort(-ranks.reshape(count, -1), axis=1, kind="stable")[:, :kept]  # (B, K)
    parents = best // continuations
    total: Floats = _chosen(totals, best)
    chosen: Ids = _chosen(candidates.tokens, best)
    new: Floats = _chosen(candidates.log_probabilities, best)
    words = beams.words[np.arange(count)[:, None], parents]  # (B, K, T)
    extended = _Beams(
        total,
        _chosen(lengths, parents),
        # A beam for which no hypothesis was possible has nothing more to say either.
        ended=(chosen == tokens.end) | np.isneginf(total),
        words=np.concatenate([words, chosen[..., None]], axis=-1),
    )
    return extended, _Extension(parents, chosen, new, alphas.reshape(count, hypotheses, -1))


def _chosen(values: NDArray[Any], index: Ids) -> NDArray[Any]:
    """The values (B, ...) of each photograph with these numbers (B, K): (B, K)."""
    return values.reshape(len(values), -1)[np.arange(len(values))[:, None], index]


def _repetitions(chosen: Ids, words: Ids, tokens: Tokens) -> Floats:
    """How often each of ``chosen`` (B, H, k) is among the words (B, H, T) already: (B, H, k).

    0 for what is ``repeatable``, and for ``<end>``.
    """
    times: Floats = (chosen[..., None] == words[:, :, None, :]).sum(axis=-1, dtype=np.float32)
    if times.any():
        free = _free(tokens)
        times[free[np.minimum(chosen, len(free) - 1)]] = 0
    return times


@lru_cache(maxsize=8)
def _free(tokens: Tokens) -> NDArray[np.bool_]:
    """Which tokens may be repeated at no cost, by their ids; the last stands for all after it."""
    free = np.zeros(max((*tokens.repeatable, tokens.end)) + 2, dtype=bool)
    free[[*tokens.repeatable, tokens.end]] = True
    return free


_Parts = TypeVar("_Parts", _Beams, _Extension)


def _select(parts: _Parts, images: Ids | int) -> _Parts:
    """The rows of some photographs, by their indices in the batch."""
    return type(parts)(*(cast(Any, part[images]) for part in parts))


def _collect(
    beams: _Beams, history: Sequence[_Extension], config: DecodeConfig
) -> list[list[Hypothesis]]:
    """The hypotheses of each photograph, best first, by following the extensions backwards."""
    count, width = beams.total.shape
    current = np.broadcast_to(np.arange(width), (count, width))  # (B, K)
    rows = np.arange(count)[:, None]
    backwards = []
    for extension in reversed(history):
        parents = extension.parents[rows, current]
        tokens = extension.tokens[rows, current]
        new = extension.log_probabilities[rows, current]
        backwards.append((tokens, new, extension.alphas[rows, parents]))
        current = parents
    # (B, K, T), (B, K, T), (B, K, T, L)
    parts = [np.stack(part[::-1], axis=2) for part in zip(*backwards, strict=True)]
    return [
        _hypotheses(_select(beams, image), [part[image] for part in parts], config.length_penalty)
        for image in range(count)
    ]


def _hypotheses(
    beams: _Beams, parts: Sequence[NDArray[np.generic]], length_penalty: float
) -> list[Hypothesis]:
    """The hypotheses of one photograph, best first; its beams are (K,), its parts (K, T, ...)."""
    hypotheses = []
    rows = zip(beams.total.tolist(), beams.lengths.astype(int).tolist(), *parts, strict=True)
    for total, length, tokens, log_probabilities, alphas in rows:
        if total == -np.inf:
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
