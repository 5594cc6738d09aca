"""A trained captioner with a larger vocabulary, ready to be trained on other captions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from captioning.data.vocab import SPECIAL_TOKENS, START, UNK, Vocabulary, is_manner
from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import tensor_of

_NOISE = 0.1  # relative to the standard deviation of the known words' vectors


def extend_vocabulary(
    checkpoint: Checkpoint, captions: Iterable[Sequence[str]], min_count: int, seed: int = 0
) -> Checkpoint:
    """Add the words that occur at least ``min_count`` times in ``captions``.

    Known words keep their ids and vectors. A new word starts as ``<unk>``, which stood for it so
    far, with a little noise that makes the new words differ; together they are as likely as
    ``<unk>`` was. A new manner starts as ``<start>``. Returns the checkpoint itself where there is
    nothing new.
    """
    known = checkpoint.vocabulary
    frequent = Vocabulary.build(captions, min_count).words[len(SPECIAL_TOKENS) :]
    new = [word for word in frequent if word not in known.ids]
    if not new:
        return checkpoint
    generator = torch.Generator().manual_seed(seed)
    weights = dict(checkpoint.weights)
    like = torch.tensor(
        [START if is_manner(word[1:-1]) and word[0] == "<" else UNK for word in new]
    )
    for name in ("decoder.embedding.weight", "decoder.vocabulary.weight"):
        weights[name] = _append_rows(tensor_of(weights[name]).float(), like, generator).numpy()
    bias = tensor_of(weights["decoder.vocabulary.bias"]).float()  # (V,)
    share = bias[UNK] - math.log(max(1, int((like == UNK).sum())))
    added = torch.where(like == UNK, share, bias[START])
    weights["decoder.vocabulary.bias"] = torch.cat([bias, added]).numpy()
    return replace(
        checkpoint,
        vocabulary=Vocabulary((*known.words, *new)),
        model=replace(checkpoint.model, vocabulary_size=len(known) + len(new)),
        weights=weights,
    )


def _append_rows(rows: Tensor, like: Tensor, generator: torch.Generator) -> Tensor:
    """Rows (V, E) and one more near each of those with the indices ``like``."""
    noise = torch.randn(len(like), rows.shape[1], generator=generator) * rows.std() * _NOISE
    return torch.cat([rows, rows[like] + noise])
