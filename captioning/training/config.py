"""How a stage is trained. Nothing here needs PyTorch: flags and their help must come at once."""

from dataclasses import dataclass
from typing import Annotated

from captioning.data.augment_config import AugmentConfig
from captioning.errors import SettingError

PRECISIONS = ("float32", "bfloat16")
AUTO = "auto"  # the precision that the device is fast in
MAX_SEED = 2**32  # seeds of epochs and photographs are multiples of it, which must fit 64 bits


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained; the annotations are the help texts of its flags.

    The learning rates rise linearly over the part ``warmup`` of all steps, then fall to 0 along a
    cosine. ``crop``, ``flip`` and ``jitter`` (``AugmentConfig``) matter only while the encoder
    learns. ``precision`` is that of matrix products and convolutions; weights, losses and optimiser
    stay in float32. ``train.resolve_precision`` replaces ``auto``.
    """

    epochs: Annotated[int, "passes over the training photographs"]
    batch_size: Annotated[int, "photographs per step"]
    learning_rate: Annotated[float, "highest learning rate of the decoder"]
    encoder_learning_rate: Annotated[
        float, "highest learning rate of the encoder; 0 keeps it frozen"
    ] = 0.0
    frozen_layers: Annotated[
        int, "how many of the encoder's four layers, from the first, never learn; 1 spares time"
    ] = 0
    warmup: Annotated[float, "share of the steps over which the learning rates rise"] = 0.05
    weight_decay: Annotated[float, "weight decay, of all weights but biases and norms"] = 0.01
    label_smoothing: Annotated[
        float, "share of the target's probability that is spread over all words"
    ] = 0.1
    entropy: Annotated[float, "weight of the attention's entropy: how much spreading costs"] = 0.0
    guidance: Annotated[float, "weight of attending to where the next word was detected"] = 0.0
    detection: Annotated[float, "weight of detecting the words of the captions"] = 0.0
    distillation: Annotated[
        float, "weight of keeping the class probabilities of the encoder's first weights"
    ] = 0.0
    clip_norm: Annotated[float, "largest norm of a step's gradient"] = 1.0
    patience: Annotated[int, "stop after this many epochs without a better one"] = 4
    captions_per_photo: Annotated[
        int, "captions of a photograph that a step uses, drawn at random; 0 for all"
    ] = 0
    other_manners: Annotated[
        float, "share of the photographs with captions in another manner that an epoch uses"
    ] = 1.0
    train_size: Annotated[
        int,
        "side of the training photographs while the encoder learns, in pixels; 0 for image-size",
    ] = 0
    crop: Annotated[
        float, "smallest share of a photograph that a random crop keeps; 1 for no crop"
    ] = 1.0
    flip: Annotated[float, "probability that a photograph is mirrored"] = 0.0
    jitter: Annotated[
        float, "largest random change of brightness, contrast and saturation, as a share of them"
    ] = 0.0
    samples: Annotated[
        int, "captions sampled per photograph to be rewarded; 0 for cross-entropy alone"
    ] = 0
    cross_entropy: Annotated[float, "weight of the cross-entropy beside the reward"] = 1.0
    naming: Annotated[
        float, "reward of naming what the classifier is sure of, beside the CIDEr-D of 0 to 10"
    ] = 0.0
    hallucination: Annotated[
        float, "what naming an object that no reference names costs, beside that CIDEr-D"
    ] = 0.0
    precision: Annotated[
        str, "float32, bfloat16, or auto: bfloat16 where the hardware computes in it"
    ] = "float32"
    seed: Annotated[int, "seed for shuffling, dropout, augmentation and sampling"] = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.samples == 1 or self.samples < 0:
            raise SettingError(f"samples must be 0 or at least 2, not {self.samples}")
        _ = self.augmentation  # it checks its own settings
        if not 0 <= self.frozen_layers <= 4:
            raise SettingError(f"frozen_layers must be from 0 to 4, not {self.frozen_layers}")
        for name in (
            "captions_per_photo",
            "train_size",
            "encoder_learning_rate",
            "weight_decay",
            "entropy",
            "guidance",
            "detection",
            "distillation",
            "cross_entropy",
            "naming",
            "hallucination",
        ):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.other_manners <= 1:
            raise SettingError(f"other_manners must be in [0, 1], not {self.other_manners}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        if self.precision not in (known := (*PRECISIONS, AUTO)):
            raise SettingError(f"precision must be one of {', '.join(known)}, not {self.precision}")
        if not abs(self.seed) <= MAX_SEED:
            raise SettingError(f"seed must be within ±{MAX_SEED:,}, not {self.seed}")

    @property
    def augmentation(self) -> AugmentConfig:
        """How photographs are changed at random."""
        return AugmentConfig(crop=self.crop, flip=self.flip, jitter=self.jitter)
