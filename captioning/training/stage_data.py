"""The photographs and captions of a stage, as its network sees them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from captioning.data.augment import AugmentConfig, Augmented
from captioning.data.caption_files import Photograph
from captioning.data.dataset import CaptionDataset, Pixels, View
from captioning.data.features import (
    Features,
    cached_features,
    with_mean_features,
    with_other_features,
)
from captioning.data.splits import Splits
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import encoder_hash
from captioning.training.flags import BLIND, NO_ATTENTION, TrainingFlags
from captioning.training.train import TrainConfig

UNCHANGED = AugmentConfig()


class StageData:
    """The data sets of a stage: cached features while the encoder is frozen, else pixels."""

    def __init__(
        self, start: Checkpoint, splits: Splits, config: TrainConfig, flags: TrainingFlags
    ) -> None:
        self.start, self.splits, self.config, self.flags = start, splits, config, flags
        self.is_frozen = config.encoder_learning_rate == 0

    def training(self, network: CaptioningModel, max_words: int) -> CaptionDataset:
        """Training photographs, augmented where the stage says so; captions cut at ``max_words``.

        In the control experiment "blind" they have the features of other photographs.
        """
        photographs, augmentation = self.splits.train, self.config.augmentation
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
        """Development photographs, with their whole captions."""
        photographs = self.splits.dev
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
