"""What the decoder would say with a part of the photograph hidden.

The words before stay as they are, and so does the state that they left: only the next word is
predicted anew. A hidden location shows the photograph's mean feature, so that the decoder sees
nothing there that is not everywhere, and no feature that it has never seen (Zeiler and Fergus,
ECCV 2014, section 4.2, with features in place of pixels).

Dimensions: B photographs, T steps, R words of their captions, M ways to hide locations, L
locations, C encoder channels, O classes, K offered nouns, D decoder width, V vocabulary.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from captioning.data.vocab import START
from captioning.network.decoder import Decoder, Memory, Output, State

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
        chosen_output = Output(*(part[rows] for part in output))
        score, competition = _score(decoder, chosen_output, memory.nouns[rows], word)
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
    classes = decoder.classifier.linear(memory.features)  # (B, L, O): linear in the features
    count = max(1, _AT_ONCE // hidden.shape[1])
    parts = [
        _scores(decoder, memory.take(part.photograph), classes[part.photograph], part, mask)
        for part, mask in _parts(words, hidden, count)
    ]
    scores, competitions = (torch.cat(columns) for columns in zip(*parts, strict=True))  # (R, M)
    lost = words.score.unsqueeze(1) - scores
    return lost - competition * (words.competition.unsqueeze(1) - competitions)


def _parts(words: Words, hidden: Tensor, count: int) -> Iterator[tuple[Words, Tensor]]:
    """Cut into parts of ``count`` words; there is at least one part."""
    for start in range(0, max(1, len(hidden)), count):
        part = slice(start, start + count)
        yield Words(*(column[part] for column in words)), hidden[part]


def _scores(
    decoder: Decoder, memory: Memory, classes: Tensor, words: Words, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """``_score`` of each word, (R, M) each, when locations ``hidden`` (R, M, L) show the mean.

    ``memory`` and the locations' logits of ``classes`` (R, L, O) are those of the words.
    """
    embedded = decoder.embedding(words.last)  # (R, E)
    asking = torch.cat([words.hidden, embedded], dim=1)  # (R, D + E)
    context = _context(decoder, memory, asking, hidden)  # (R, M, C)
    context = torch.sigmoid(decoder.gate(asking)).unsqueeze(1) * context
    state = State(words.hidden, words.cell)
    vector, new = decoder.read(embedded, context.flatten(0, 1), state)  # (R * M, ...)
    ways = hidden.shape[1]
    copies = _copies(decoder, memory, classes, new.hidden, hidden)  # (R * M, K)
    word = words.word.repeat_interleave(ways, dim=0)
    score, competition = _score(decoder, Output(vector, copies), memory.nouns, word)
    return score.view(-1, ways), competition.view(-1, ways)


def _context(decoder: Decoder, memory: Memory, asking: Tensor, hidden: Tensor) -> Tensor:
    """The contexts (R, M, C) of words that ask with (R, D + E) when locations are hidden."""
    # The mean is one more location, which those that are hidden share: it has the score of each.
    # A key is linear in its feature, so the key of the mean feature is the mean key.
    features, keys = (_with_mean(part) for part in (memory.features, memory.keys))  # (R, L + 1, .)
    scores = decoder.attention.scores(keys, asking)  # (R, 1, L + 1)
    counts = hidden.sum(dim=-1, keepdim=True)  # (R, M, 1)
    shift = torch.cat([torch.where(hidden, -torch.inf, 0.0), counts.log()], dim=-1)
    alphas = torch.softmax(scores + shift, dim=-1)  # (R, M, L + 1)
    return alphas.to(features.dtype) @ features


def _with_mean(part: Tensor) -> Tensor:
    return torch.cat([part, part.mean(1, keepdim=True)], dim=1)


def _copies(
    decoder: Decoder, memory: Memory, classes: Tensor, state: Tensor, hidden: Tensor
) -> Tensor:
    """The scores (R * M, K) of copying the nouns that were offered, with locations hidden.

    The classifier reads the mean feature, so its logits are the mean of those of the locations;
    ``classes`` (R, L, O). After hidden (R * M, D) of the state.
    """
    mean = classes.mean(dim=1, keepdim=True)  # (R, 1, O)
    shown = (~hidden).to(classes.dtype) / hidden.shape[-1]  # (R, M, L)
    share = 1 - shown.sum(dim=-1, keepdim=True)  # (R, M, 1)
    logits = shown @ classes + share * mean  # (R, M, O)
    sure = decoder.classifier.noun_log_probabilities(memory.nouns, logits)  # (R, M, K)
    sure = sure.to(classes.dtype)
    nouns = decoder.copy.noun(decoder.embedding(memory.nouns)).unsqueeze(1)  # (R, 1, K, A)
    keys = decoder.copy.keys(nouns, sure).flatten(0, 1)  # (R * M, K, A)
    scores: Tensor = decoder.copy(state, keys, sure.flatten(0, 1))
    return scores


def _score(decoder: Decoder, output: Output, nouns: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """The logits (N,) of words (N,) after outputs of N, and what they compete with (N,).

    Their difference is the log-probability. ``nouns`` (R, K) are those of the photographs.
    """
    logits = decoder.logits(output, nouns).float()  # (N, V)
    return logits.gather(1, words.unsqueeze(1)).squeeze(1), logits.logsumexp(dim=-1)
