"""Training: the precision of a stage, its optimiser, and one epoch."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.dataset import Batch
from captioning.errors import CaptioningError
from captioning.network.model import CaptioningModel
from captioning.training.config import AUTO, TrainConfig
from captioning.training.terms import LossFunction, costs_of, loss_of

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class NonFiniteLossError(CaptioningError):
    """The loss became infinite or not a number; training stopped before taking that step."""


def resolve_precision(config: TrainConfig, device: str) -> TrainConfig:
    """The same configuration with ``auto`` replaced by a precision that suits ``device``."""
    return replace(config, precision=fast_precision(device)) if config.precision == AUTO else config


def dtype_of(config: TrainConfig) -> torch.dtype:
    """The type that photographs and features are converted to."""
    return _DTYPES[config.precision]


def fast_precision(device: str) -> str:
    """bfloat16 where the hardware computes in it, else float32.

    A processor that lacks it emulates it: some hundred times slower, where it lacks AVX-512 too.
    """
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if native else "float32"


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

    Of several processes each takes the step with its share of the batch, and all have the loss of
    the whole. ``after_step`` gets the loss of each step taken. Raises NonFiniteLossError, which
    names step and learning rate, before a bad step is taken.
    """
    network.train()
    # A frozen encoder stays in eval mode: ours behaves the same in both, another one may not.
    network.encoder.train(config.encoder_learning_rate > 0)
    optimizer, schedule = optimization
    costs, losses = costs_of(network, loss_function, config), []
    for batch in batches:
        losses.append(_take_step(network, costs, batch, optimizer, config))
        if not math.isfinite(losses[-1]):
            raise NonFiniteLossError(
                f"the loss became {losses[-1]} at step {schedule.last_epoch + 1} with learning "
                f"rate {schedule.get_last_lr()[0]:.2e}; lower --learning-rate or --clip-norm"
            )
        schedule.step()
        if after_step:
            after_step(losses[-1])
    return sum(losses) / len(losses) if losses else math.nan


def unusable_weight(network: nn.Module) -> str:
    """The name of the first weights that are not numbers in float16, as checkpoints hold them."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value.half()).all():
            return str(name)
    return ""


def _take_step(
    network: CaptioningModel,
    costs: nn.Module,
    batch: Batch,
    optimizer: AdamW,
    config: TrainConfig,
) -> float:
    """Returns the loss, or the gradient's norm where that is not finite; then no step is taken."""
    device = network.decoder.embedding.weight.device
    dtype = dtype_of(config)
    batch = batch.to(device, dtype)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        sums = costs(batch)
    loss, value = loss_of(sums)
    if not math.isfinite(value):
        return value
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm))
    if not math.isfinite(norm):  # a finite loss may have a gradient that is not
        return norm
    optimizer.step()
    return value
