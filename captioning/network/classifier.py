"""What an image classifier sees, as words that the decoder may copy into a caption.

The encoder's own classifier of ImageNet's classes (He et al. 2016) knows a thousand things that the
captions of a few thousand photographs never name. Each class has a plain noun, and the likeliest
nouns of a photograph are offered to the decoder (semantic attention: You et al., CVPR 2016;
pointing novel objects: Li et al., CVPR 2019).

Dimensions: B images, L locations, C encoder channels, O classes, K offered nouns, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captioning.network.config import LEAST_NOUN, OFFERED


class Nouns(NamedTuple):
    """The K likeliest nouns of each image, the likeliest first."""

    words: Tensor  # (B, K), vocabulary ids
    log_probabilities: Tensor  # (B, K)


class Classifier(nn.Module):
    """A linear classifier of the mean feature; classes of the same noun count together."""

    nouns: Tensor  # (O,), the vocabulary id of each class's noun

    def __init__(self, channels: int, classes: int, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.linear = nn.Linear(channels, classes)
        self.register_buffer("nouns", torch.zeros(classes, dtype=torch.long))

    def name_classes(self, nouns: Sequence[int]) -> None:
        """Set the vocabulary ids of the nouns of all classes."""
        self.nouns.copy_(torch.tensor(nouns))

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, L, C) to the logits (B, O) of the classes."""
        logits: Tensor = self.linear(features.mean(dim=1))
        return logits

    def offer(self, features: Tensor) -> Nouns:
        """The likeliest nouns of features (B, L, C)."""
        probabilities = torch.softmax(self(features).float(), dim=-1)  # (B, O)
        by_word = probabilities.new_zeros(len(features), self.vocabulary_size)
        by_word = by_word.index_add(1, self.nouns, probabilities)  # (B, V)
        best = by_word.topk(min(OFFERED, self.vocabulary_size), dim=1)
        return Nouns(best.indices, best.values.clamp(min=LEAST_NOUN).log())

    def noun_log_probabilities(self, words: Tensor, logits: Tensor) -> Tensor:
        """Of the nouns ``words`` (R, K), for each of M logits (R, M, O): (R, M, K)."""
        probabilities = torch.softmax(logits.float(), dim=-1)
        names = (self.nouns == words.unsqueeze(-1)).to(probabilities.dtype)  # (R, K, O)
        return (probabilities @ names.transpose(1, 2)).clamp(min=LEAST_NOUN).log()
