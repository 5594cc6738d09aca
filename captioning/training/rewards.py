"""What a sampled caption earns or loses beside its CIDEr-D.

Dimensions: B images, N captions (N / B for each image, next to each other), T words, K nouns.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from captioning.data.vocab import Vocabulary
from captioning.evaluation.objects import ObjectWords
from captioning.network.classifier import Nouns

FEWEST_REFERENCES = 3  # fewer leave too much of a photograph unsaid


def naming_rewards(tokens: Tensor, nouns: Nouns) -> Tensor:
    """The probability that the photograph shows what captions (N, T) name of its offered nouns.

    A sum over the nouns: (N,). References may lack them, where CIDEr-D alone would teach not to
    copy.
    """
    each = len(tokens) // len(nouns.words)
    words, logarithms = (part.repeat_interleave(each, dim=0) for part in nouns)  # (N, K) each
    named = (tokens.unsqueeze(2) == words.unsqueeze(1)).any(dim=1)  # (N, K)
    return (named * logarithms.exp()).sum(dim=1)


class UnsupportedObjects:
    """Counts the objects of captions that no reference names (Rohrbach et al. 2018).

    A photograph with less than ``FEWEST_REFERENCES`` has none: its references say too little.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.objects = vocabulary, ObjectWords.load()

    def __call__(
        self, captions: Sequence[Sequence[int]], references: Sequence[Sequence[Sequence[int]]]
    ) -> Tensor:
        """The counts (N,) of captions, as ids, against the references of their B images."""
        each = len(captions) // len(references)
        said = [[self.vocabulary.decode(ids) for ids in group] for group in references]
        pairs = ((self.vocabulary.decode(ids), said[n // each]) for n, ids in enumerate(captions))
        return torch.tensor([float(self._count(words, group)) for words, group in pairs])

    def _count(self, words: Sequence[str], references: Sequence[Sequence[str]]) -> int:
        if len(references) < FEWEST_REFERENCES:
            return 0
        return len(self.objects.unsupported(words, references))
