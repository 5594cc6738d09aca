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
from captioning.data.vocab import PAD
from captioning.errors import CaptioningError, SettingError
from captioning.network.model import CaptioningModel
from captioning.training.losses import doubly_stochastic_penalty, token_cross_entropy

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
    batch_size: Annotated[int, "photographs per step, each with all its captions"]
    learning_rate: Annotated[float, "highest learning rate of the decoder"]
    encoder_learning_rate: Annotated[
        float, "highest learning rate of the encoder; 0 keeps it frozen"
    ] = 0.0
    warmup: Annotated[float, "share of the steps over which the learning rates rise"] = 0.05
    weight_decay: Annotated[float, "weight decay, of all weights but biases and norms"] = 0.01
    label_smoothing: Annotated[
        float, "share of the target's probability that is spread over all words"
    ] = 0.1
    attention_penalty: Annotated[float, "weight of the doubly stochastic attention penalty"] = 1.0
    clip_norm: Annotated[float, "largest norm of a step's gradient"] = 1.0
    patience: Annotated[int, "stop after this many epochs without a better one"] = 4
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
        for name in (
            "encoder_learning_rate",
            "weight_decay",
            "attention_penalty",
            "cross_entropy",
        ):
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must be at least 0, not {getattr(self, name)}")
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


def caption_loss(network: CaptioningModel, batch: Batch, config: TrainConfig) -> Tensor:
    """Cross-entropy of the captions, plus the penalty for locations without attention."""
    logits, alphas = network(batch.visual, batch.inputs)  # (N, T, V), (N, T, L)
    loss = token_cross_entropy(logits, batch.targets, PAD, config.label_smoothing)
    penalty = doubly_stochastic_penalty(alphas, batch.targets != PAD)
    return loss + config.attention_penalty * penalty


class Optimization(NamedTuple):
    """What changes the weights: the optimiser, and the schedule of its learning rates."""

    optimizer: AdamW
    schedule: LambdaLR


def make_optimizer(network: CaptioningModel, config: TrainConfig) -> AdamW:
    """AdamW over the decoder and, unless frozen, the encoder; biases and norms do not decay."""
    tune_encoder = config.encoder_learning_rate > 0
    network.encoder.requires_grad_(tune_encoder)
    parts: list[tuple[nn.Module, float]] = [(network.decoder, config.learning_rate)]
    if tune_encoder:
        parts.append((network.encoder, config.encoder_learning_rate))
    groups = []
    for part, rate in parts:
        for decayed in (True, False):
            members = [p for p in part.parameters() if (p.ndim > 1) == decayed]
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

    A point between a network and the same one trained further often does better than either end
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    return {name: torch.lerp(first[name].float(), second[name].float(), share) for name in first}


def train_one_epoch(
    network: CaptioningModel,
    batches: Iterable[Batch],
    optimization: Optimization,
    config: TrainConfig,
    loss_function: LossFunction = caption_loss,
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
    batch = Batch(visual, batch.inputs.to(device), batch.targets.to(device))
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
