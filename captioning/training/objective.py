"""What a batch of captions costs: the cross-entropy of their words, and what guides attention.

Dimensions as in ``losses``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from captioning.data.dataset import Batch
from captioning.data.function_words import FUNCTION_WORDS
from captioning.data.vocab import PAD, SPECIAL_TOKENS, Vocabulary
from captioning.network.model import CaptioningModel
from captioning.training.config import TrainConfig
from captioning.training.losses import (
    attention_entropy,
    detection_loss,
    distillation_loss,
    guidance_loss,
    token_cross_entropy,
)
from captioning.training.terms import Term

_DETECTED = 2000  # words, at most
_FEWEST = 10  # photographs whose captions have a word that is worth detecting


class CaptionLoss:
    """The loss of captions that are given, a ``LossFunction``.

    ``captions`` are the encoded training captions of each photograph: they tell which words are
    frequent enough to be detected. Function words, which no place shows, are neither detected nor
    guided.
    """

    def __init__(self, vocabulary: Vocabulary, captions: Iterable[Sequence[Sequence[int]]]) -> None:
        silent = [*range(len(SPECIAL_TOKENS)), *vocabulary.encode(FUNCTION_WORDS)]
        self.content = torch.ones(len(vocabulary), dtype=torch.bool)
        self.content[silent] = False
        counts = Counter(word for group in captions for word in {w for ids in group for w in ids})
        frequent = [word for word, count in counts.most_common() if count >= _FEWEST]
        detected = [word for word in frequent if self.content[word]][:_DETECTED]
        self.detected = torch.tensor(detected, dtype=torch.long)  # of no word too

    def __call__(self, network: CaptioningModel, batch: Batch, config: TrainConfig) -> list[Term]:
        """The terms of one batch."""
        features = network.features(batch.visual)  # (B, L, C)
        each = len(batch.inputs) // len(features)
        memory, state = network.decoder.start(features, each)
        outputs, alphas = network.decoder.unroll(memory, state, batch.inputs)  # alphas (N, T, L)
        real = batch.targets != PAD
        logits = network.decoder.logits_at(outputs, memory, real)  # (M, V)
        terms = [token_cross_entropy(logits, batch.targets[real], PAD, config.label_smoothing)]
        terms += self.attention_terms(network, batch, features, alphas, config)
        if config.detection:
            present = _present(batch.targets, len(features), len(self.content))[:, self.detected]
            scores = network.decoder.word_scores(features, self.detected)
            terms.append(detection_loss(scores, present).times(config.detection))
        if config.distillation and batch.classes is not None:
            classes = network.decoder.classifier(features)
            terms.append(distillation_loss(classes, batch.classes).times(config.distillation))
        return terms

    def attention_terms(
        self,
        network: CaptioningModel,
        batch: Batch,
        features: Tensor,
        alphas: Tensor,
        config: TrainConfig,
    ) -> list[Term]:
        """What attention (N, T, L) costs: to be spread, and to be where the next word is not."""
        terms = []
        if config.entropy:
            terms.append(attention_entropy(alphas, batch.targets != PAD).times(config.entropy))
        if config.guidance:
            images = len(features)
            words = batch.targets.reshape(images, -1)  # (B, N/B * T)
            scores = network.decoder.word_scores(features, words).transpose(1, 2)
            mask = self.content.to(words.device)[batch.targets]
            scores = scores.reshape(alphas.shape)  # (N, T, L)
            terms.append(guidance_loss(alphas, scores, mask).times(config.guidance))
        return terms


def _present(targets: Tensor, images: int, vocabulary_size: int) -> Tensor:
    """Which words (B, V) the captions (N, T) of each photograph have: 1 or 0."""
    words = targets.reshape(images, -1)
    return torch.zeros(images, vocabulary_size, device=words.device).scatter(1, words, 1.0)
