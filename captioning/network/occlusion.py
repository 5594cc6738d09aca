"""What the decoder would say with a part of the photograph hidden.

The words before stay as they are, and so does the state that they left: only the next word is
predicted anew. A hidden location shows the photograph's mean feature, so that the decoder sees
nothing there that is not everywhere, and no feature that it has never seen (Zeiler and Fergus,
ECCV 2014, section 4.2, with features in place of pixels).

Dimensions: B photographs, T steps, R words of their captions, M ways to hide locations, L
locations, C encoder channels, D decoder width, V vocabulary.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from captioning.data.vocab import START
from captioning.network.decoder import Decoder, Memory, State

_AT_ONCE = 1024  # predictions: their (_AT_ONCE, V) logits are the most memory that is needed


class Words(NamedTuple):
    """R words of captions, each with what the decoder knew before it."""

    photograph: Tensor  # (R,), its index in the batch
    last: Tensor  # (R,), the word before
    word: Tensor  # (R,)
    hidden: Tensor  # (R, D)
    cell: Tensor  # (R, D)
    score: Tensor  # (R,), the logit of the word, nothing hidden
    competition: Tensor  # (R,), the log of the summed exponentials of all logits
    alphas: Tensor  # (R, L), nothing hidden


def follow(
    decoder: Decoder, memory: Memory, state: State, captions: Tensor, chosen: Tensor
) -> Words:
    """Let the decoder say captions (B, T) of word ids, and keep the ``chosen`` (B, T) words.

    ``memory`` and ``state`` are those of ``decoder.start``, one caption per photograph.
    """
    last, kept = torch.full_like(captions[:, 0], START), []
    for step in range(captions.shape[1]):
        output, alphas, following = decoder.step(last, memory, state)
        rows = chosen[:, step].nonzero().flatten()
        word = captions[rows, step]
        score, competition = _score(decoder, output[rows], word)
        kept.append(
            Words(
                photograph=rows,
                last=last[rows],
                word=word,
                hidden=state.hidden[rows],
                cell=state.cell[rows],
                score=score,
                competition=competition,
                alphas=alphas[rows],
            )
        )
        last, state = captions[:, step], following
    return Words(*(torch.cat(columns) for columns in zip(*kept, strict=True)))


def drops(
    decoder: Decoder,
    memory: Memory,
    words: Words,
    hidden: Tensor,
    competition: float = 1.0,
) -> Tensor:
    """How much each word loses in M ways to hide locations: (R, M), in nats.

    ``hidden`` (R, M, L), or (M, L) for all words alike, is True where a location is hidden. A
    word's log-probability is its logit minus the log of the summed exponentials of all words'
    logits: it falls too when other words gain. ``competition`` is the weight of that second term: 1
    gives the drop of the log-probability, 0 that of the word's own logit.
    """
    hidden = hidden.expand(len(words.word), *hidden.shape[-2:])
    count = max(1, _AT_ONCE // hidden.shape[1])
    parts = [_scores(decoder, memory, part, mask) for part, mask in _parts(words, hidden, count)]
    scores, competitions = (torch.cat(columns) for columns in zip(*parts, strict=True))  # (R, M)
    lost = words.score.unsqueeze(1) - scores
    return lost - competition * (words.competition.unsqueeze(1) - competitions)


def _parts(words: Words, hidden: Tensor, count: int) -> Iterator[tuple[Words, Tensor]]:
    """Cut into parts of ``count`` words; there is at least one part."""
    for start in range(0, max(1, len(hidden)), count):
        part = slice(start, start + count)
        yield Words(*(column[part] for column in words)), hidden[part]


def _scores(
    decoder: Decoder, memory: Memory, words: Words, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """``_score`` of each word, (R, M) each, when locations ``hidden`` (R, M, L) show the mean."""
    # The mean is one more location, which those that are hidden share: it has the score of each.
    # A key is linear in its feature, so the key of the mean feature is the mean key.
    with_mean = Memory(
        *(torch.cat([part, part.mean(1, keepdim=True)], dim=1)[words.photograph] for part in memory)
    )  # (R, L + 1, ...)
    scores = decoder.attention.scores(with_mean, words.hidden)  # (R, 1, L + 1)
    counts = hidden.sum(dim=-1, keepdim=True)  # (R, M, 1)
    shift = torch.cat([torch.where(hidden, -torch.inf, 0.0), counts.log()], dim=-1)
    alphas = torch.softmax(scores + shift, dim=-1)  # (R, M, L + 1)
    context = alphas.to(with_mean.features.dtype) @ with_mean.features  # (R, M, C)
    context = torch.sigmoid(decoder.gate(words.hidden)).unsqueeze(1) * context
    ways = hidden.shape[1]
    state = State(words.hidden, words.cell)
    output, _ = decoder.read(words.last, context.flatten(0, 1), state)  # (R * M, E)
    word = words.word.repeat_interleave(ways, dim=0)
    score, competition = _score(decoder, output, word)
    return score.view(-1, ways), competition.view(-1, ways)


def _score(decoder: Decoder, output: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """The logits (N,) of words (N,) after output vectors (N, E), and what they compete with (N,).

    Their difference is the log-probability.
    """
    logits = decoder.vocabulary(output).float()  # (N, V)
    return logits.gather(1, words.unsqueeze(1)).squeeze(1), logits.logsumexp(dim=-1)
