"""The photographs and captions of a stage, as its network sees them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from captioning.data.augment import AugmentConfig, Augmented
from captioning.data.caption_files import Photograph
from captioning.data.data_sets import DataSet, DataSets
from captioning.data.dataset import CaptionDataset, Pixels, View
from captioning.data.features import (
    Features,
    cached_features,
    with_mean_features,
    with_other_features,
)
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import encoder_hash
from captioning.training.flags import BLIND, NO_ATTENTION, TrainingFlags
from captioning.training.train import TrainConfig

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
        visual: Callable[[int], Tensor | View]
        if self.is_frozen:
            visual = self._features(network, photographs)
            if self.flags.control == BLIND:
                visual = with_other_features(visual, len(photographs))
        elif augmentation == UNCHANGED:
            visual = Pixels(photographs, self.start.images)
        else:
            visual = Augmented(photographs, self.start.images, augmentation)
        return CaptionDataset(photographs, self.start.vocabulary, visual, max_words)

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
            self._features(network, photographs)
            if self.is_frozen
            else Pixels(photographs, self.start.images)
        )
        return CaptionDataset(photographs, self.start.vocabulary, visual, max_words=None)

    def _features(
        self, network: CaptioningModel, photographs: Sequence[Photograph]
    ) -> Callable[[int], Tensor]:
        """The cached features of photographs, computed now where they are missing."""
        features = Features(
            cached_features(
                self.flags.cache,
                photographs,
                self.start.images,
                encoder_hash(network.encoder),
                TorchEngine(network).encode,
            )
        )
        return with_mean_features(features) if self.flags.control == NO_ATTENTION else features


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
