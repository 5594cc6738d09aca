"""A trained captioner with a larger vocabulary, to be trained on other people's captions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captioning.data.vocab import SPECIAL_TOKENS, UNK, Vocabulary
from captioning.network.checkpoint import Checkpoint

_NOISE = 0.1  # of the spread of the known words' vectors


def extend_vocabulary(
    checkpoint: Checkpoint, captions: Iterable[Sequence[str]], min_count: int, seed: int = 0
) -> Checkpoint:
    """The checkpoint with the words that occur ``min_count`` times in ``captions`` added.

    Known words keep their ids and vectors. A new word begins as what it was read and written as so
    far, ``<unk>``, with a little noise to tell the new ones apart; together they are as likely as
    ``<unk>`` was. Without a new word the checkpoint itself.
    """
    known = checkpoint.vocabulary
    often = Vocabulary.build(captions, min_count).words[len(SPECIAL_TOKENS) :]
    new = [word for word in often if word not in known.ids]
    if not new:
        return checkpoint
    generator = torch.Generator().manual_seed(seed)
    weights = dict(checkpoint.weights)
    for name in ("decoder.embedding.weight", "decoder.vocabulary.weight"):
        weights[name] = _with_rows(weights[name].float(), len(new), generator)
    bias = weights["decoder.vocabulary.bias"].float()
    share = bias[UNK] - math.log(len(new))
    weights["decoder.vocabulary.bias"] = torch.cat([bias, share.expand(len(new))])
    return replace(
        checkpoint,
        vocabulary=Vocabulary((*known.words, *new)),
        model=replace(checkpoint.model, vocabulary_size=len(known) + len(new)),
        weights=weights,
    )


def _with_rows(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Rows (V, E) with ``count`` more, near that of ``<unk>``."""
    noise = torch.randn(count, rows.shape[1], generator=generator) * rows.std() * _NOISE
    return torch.cat([rows, rows[UNK] + noise])
