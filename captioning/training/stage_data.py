"""The photographs and captions of a stage, as its network sees them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captioning.data.augment import Augmented
from captioning.data.augment_config import AugmentConfig
from captioning.data.caption_files import Photograph
from captioning.data.data_sets import DataSet, DataSets
from captioning.data.dataset import CaptionDataset, Pixels, View
from captioning.data.features import (
    Features,
    MeanFeatures,
    OtherFeatures,
    cached_features,
)
from captioning.data.images import ImageConfig
from captioning.network.checkpoint import Checkpoint
from captioning.network.fast import fold_batch_norm
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import encoder_hash
from captioning.training.config import TrainConfig
from captioning.training.flags import BLIND, NO_ATTENTION, TrainingFlags
from captioning.training.starts import first_weights
from captioning.training.train import dtype_of

UNCHANGED = AugmentConfig()
SCORED = 500  # development photographs, at most, of each data set but the first


class Scored(NamedTuple):
    """Photographs to score after each epoch beside those that choose the best one."""

    name: str
    photographs: Sequence[Photograph]
    dataset: CaptionDataset


class StageData:
    """The data sets of a stage: cached features while the encoder is frozen, else pixels."""

    def __init__(
        self, start: Checkpoint, data: DataSets, config: TrainConfig, flags: TrainingFlags
    ) -> None:
        self.start, self.data, self.config, self.flags = start, data, config, flags
        self.is_frozen = config.encoder_learning_rate == 0

    def training(self, network: CaptioningModel, max_words: int) -> CaptionDataset:
        """Training photographs, augmented where the stage says so; captions cut at ``max_words``.

        In the control experiment "blind" they have the features of other photographs.
        """
        photographs, augmentation = self.data.train, self.config.augmentation
        images = self._training_images()
        visual: Callable[[int], Tensor | View]
        if self.is_frozen:
            visual = self._features(network, photographs, dtype_of(self.config))
            if self.flags.control == BLIND:
                visual = OtherFeatures(visual, len(photographs))
        elif augmentation == UNCHANGED:
            visual = Pixels(photographs, images)
        else:
            visual = Augmented(photographs, images, augmentation)
        classes = self._classes(photographs) if self.config.distillation else None
        sampled = self.config.captions_per_photo
        return CaptionDataset(
            photographs, self.start.vocabulary, visual, max_words, classes, sampled
        )

    def photographs_of_epoch(self, seed: int) -> list[int]:
        """The training photographs of an epoch, by their place among all.

        Those whose captions are in the default manner, and a random part of the others.
        """
        photographs = self.data.train
        default = [index for index, photo in enumerate(photographs) if not photo.manner]
        others = [index for index, photo in enumerate(photographs) if photo.manner]
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(others), generator=generator).tolist()
        part = round(self.config.other_manners * len(others))
        return [*default, *(others[index] for index in order[:part])]

    def dev(self, network: CaptioningModel) -> CaptionDataset:
        """Development photographs of the first set, with their whole captions."""
        return self._scored(network, self.data.dev)

    def others(self, network: CaptioningModel) -> list[Scored]:
        """Development photographs of the other sets, those of each manner by themselves."""
        return [
            Scored(name, photographs, self._scored(network, photographs))
            for data_set in self.data.others
            for name, photographs in scored_by_manner(data_set).items()
        ]

    def _scored(
        self, network: CaptioningModel, photographs: Sequence[Photograph]
    ) -> CaptionDataset:
        """Photographs as they are, with their whole captions."""
        visual: Callable[[int], Tensor | View] = (
            self._features(network, photographs, torch.float32)
            if self.is_frozen
            else Pixels(photographs, self.start.images)
        )
        return CaptionDataset(photographs, self.start.vocabulary, visual, max_words=None)

    def _training_images(self) -> ImageConfig:
        """How training photographs are prepared while the encoder learns."""
        size = self.config.train_size or self.start.images.size
        return replace(self.start.images, size=size)

    def _features(
        self, network: CaptioningModel, photographs: Sequence[Photograph], dtype: torch.dtype
    ) -> Callable[[int], Tensor]:
        """The features of photographs that the control experiment leaves."""
        encoder = network.encoder
        encode = self._precise(fold_batch_norm(encoder), dtype)
        images, key = self.start.images, f"{encoder_hash(encoder)}, {dtype}"
        features = Features(cached_features(self.flags.cache, photographs, images, key, encode))
        return MeanFeatures(features) if self.flags.control == NO_ATTENTION else features

    def _classes(self, photographs: Sequence[Photograph]) -> Callable[[int], Tensor]:
        """What the encoder's first weights say of photographs: log-probabilities (O,)."""
        first = first_weights(self.flags)
        encoder = fold_batch_norm(first.encoder).to(self.flags.device)
        encode = self._precise(encoder, dtype_of(self.config))
        classifier = first.classifier.to(self.flags.device)

        @torch.inference_mode()
        def classify(pixels: Tensor) -> Tensor:
            logits = classifier(encode(pixels).mean(dim=1))
            classes: Tensor = torch.log_softmax(logits, dim=-1)
            return classes

        key = f"classes, {encoder_hash(first.encoder)}, {dtype_of(self.config)}"
        images = self._training_images()
        return Features(cached_features(self.flags.cache, photographs, images, key, classify))

    def _precise(self, encoder: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """What encodes pixels (B, 3, H, W), computing in ``dtype``, into float32 (B, L, C)."""
        device = torch.device(self.flags.device)

        @torch.inference_mode()
        def encode(pixels: Tensor) -> Tensor:
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                features: Tensor = encoder(pixels.to(device))
            return features.float()

        return encode


def scored_by_manner(data_set: DataSet) -> dict[str, list[Photograph]]:
    """The first development photographs of a set by name of the set and manner of their captions.

    ``SCORED`` in all: a manner with few of them leaves its share to the others.
    """
    groups: dict[str, list[Photograph]] = {}
    for photo in data_set.splits.dev:
        name = f"{data_set.name}, {photo.manner}" if photo.manner else data_set.name
        groups.setdefault(name, []).append(photo)
    left, chosen = SCORED, dict[str, list[Photograph]]()
    for name in sorted(groups, key=lambda name: len(groups[name])):
        chosen[name] = groups[name][: left // (len(groups) - len(chosen))]
        left -= len(chosen[name])
    return {name: chosen[name] for name in groups}
