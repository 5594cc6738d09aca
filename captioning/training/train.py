"""Training: the configuration of a stage, its loss and optimiser, and one epoch."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.augment import AugmentConfig
from captioning.data.dataset import Batch
from captioning.errors import CaptioningError, SettingError
from captioning.network.model import CaptioningModel

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
AUTO = "auto"  # the precision that the device is fast in
MAX_SEED = 2**32  # seeds of epochs and photographs are multiples of it, which must fit 64 bits


class NonFiniteLossError(CaptioningError):
    """The loss became infinite or not a number; training stopped before taking that step."""


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained; the annotations are the help texts of its flags.

    The learning rates rise linearly over the part ``warmup`` of all steps, then fall to 0 along a
    cosine. ``crop``, ``flip`` and ``jitter`` (``AugmentConfig``) matter only while the encoder
    learns. ``precision`` is that of matrix products and convolutions; weights, losses and optimiser
    stay in float32. ``resolve_precision`` replaces ``auto``.
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

    def resolve_precision(self, device: str) -> "TrainConfig":
        """The same configuration with ``auto`` replaced by a precision that suits ``device``."""
        return replace(self, precision=fast_precision(device)) if self.precision == AUTO else self

    @property
    def augmentation(self) -> AugmentConfig:
        """How photographs are changed at random."""
        return AugmentConfig(crop=self.crop, flip=self.flip, jitter=self.jitter)

    @property
    def dtype(self) -> torch.dtype:
        """The type that photographs and features are converted to."""
        return PRECISIONS[self.precision]


def fast_precision(device: str) -> str:
    """bfloat16 where the hardware computes in it, else float32.

    A processor that lacks it emulates it: some hundred times slower, where it lacks AVX-512 too.
    """
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if native else "float32"


LossFunction: TypeAlias = Callable[[CaptioningModel, Batch, TrainConfig], Tensor]


class Optimization(NamedTuple):
    """What changes the weights: the optimiser, and the schedule of its learning rates."""

    optimizer: AdamW
    schedule: LambdaLR


def make_optimizer(network: CaptioningModel, config: TrainConfig) -> AdamW:
    """AdamW over the decoder and, unless frozen, the encoder; biases and norms do not decay."""
    tune_encoder = config.encoder_learning_rate > 0
    classifier = network.decoder.classifier  # it belongs to the encoder's weights
    network.encoder.requires_grad_(tune_encoder)
    classifier.requires_grad_(tune_encoder)
    if config.frozen_layers:
        network.encoder.freeze(config.frozen_layers)
    of_encoder = [*network.encoder.parameters(), *classifier.parameters()]
    apart = {id(parameter) for parameter in of_encoder}
    of_decoder = [p for p in network.decoder.parameters() if id(p) not in apart]
    parts = [(of_decoder, config.learning_rate)]
    if tune_encoder:
        parts.append((of_encoder, config.encoder_learning_rate))
    groups = []
    for parameters, rate in parts:
        for decayed in (True, False):
            members = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decayed]
            decay = config.weight_decay if decayed else 0.0
            groups.append({"params": members, "lr": rate, "weight_decay": decay})
    return AdamW(groups, fused=True)


def make_optimization(network: CaptioningModel, config: TrainConfig, total: int) -> Optimization:
    """The optimiser, with learning rates that follow ``learning_rate_factor`` over all steps."""
    optimizer = make_optimizer(network, config)
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, total, config.warmup))
    return Optimization(optimizer, schedule)


def learning_rate_factor(step: int, total: int, warmup: float) -> float:
    """The part of the full learning rate at ``step`` of ``total``: linear rise, cosine fall."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def interpolate_weights(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the line from ``first`` (share 0) to ``second`` (share 1), in float32.

    Whole numbers, which are no weights, are those of ``first``.
    A point between a network and the same one trained further often does better than either end
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    return {
        name: torch.lerp(value.float(), second[name].float(), share)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


def train_one_epoch(
    network: CaptioningModel,
    batches: Iterable[Batch],
    optimization: Optimization,
    config: TrainConfig,
    loss_function: LossFunction,
    after_step: Callable[[float], None] | None = None,
) -> float:
    """Take one step per batch; returns the mean loss, NaN where there is no batch.

    ``after_step`` gets the loss of each step taken. Raises NonFiniteLossError, which names step
    and learning rate, before a bad step is taken.
    """
    network.train()
    # A frozen encoder stays in eval mode: ours behaves the same in both, another one may not.
    network.encoder.train(config.encoder_learning_rate > 0)
    optimizer, schedule = optimization
    losses = []
    for batch in batches:
        losses.append(_take_step(network, batch, optimizer, config, loss_function))
        if not math.isfinite(losses[-1]):
            raise NonFiniteLossError(
                f"the loss became {losses[-1]} at step {schedule.last_epoch + 1} with learning "
                f"rate {schedule.get_last_lr()[0]:.2e}; lower --learning-rate or --clip-norm"
            )
        schedule.step()
        if after_step:
            after_step(losses[-1])
    return sum(losses) / len(losses) if losses else math.nan


def _take_step(
    network: CaptioningModel,
    batch: Batch,
    optimizer: AdamW,
    config: TrainConfig,
    loss_function: LossFunction,
) -> float:
    """Returns the loss, or the gradient's norm where that is not finite; then no step is taken."""
    device = network.decoder.embedding.weight.device
    mixed = config.dtype != torch.float32
    visual = batch.visual.to(device, config.dtype)
    others = {name: part.to(device) for name, part in batch._asdict().items() if part is not None}
    batch = Batch(**{**others, "visual": visual})
    with torch.autocast(device.type, config.dtype, enabled=mixed):
        loss = loss_function(network, batch, config)
    value = float(loss.detach())
    if not math.isfinite(value):
        return value
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm))
    if not math.isfinite(norm):  # a finite loss may have a gradient that is not
        return norm
    optimizer.step()
    return value
