"""Training: the configuration, one epoch, and the loop over epochs that keeps the best."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from captioning.data.augment import AugmentConfig
from captioning.data.dataset import Batch
from captioning.data.vocab import PAD
from captioning.errors import CaptioningError, SettingError
from captioning.files import remove_leftovers
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.training.losses import doubly_stochastic_penalty, token_cross_entropy
from captioning.training.resume import Progress, Record, ResumeFile, Stateful, interrupts_wait

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
AUTO = "auto"  # the precision that suits the machine


class NonFiniteLossError(CaptioningError):
    """The loss became infinite or not a number; training stopped before that step was taken."""


@dataclass(frozen=True)
class TrainConfig:
    """How one stage is trained.

    ``encoder_learning_rate`` 0 keeps the encoder frozen. The learning rates rise linearly over
    the part ``warmup`` of all steps, then fall to 0 along a cosine. ``precision`` is that of the
    matrix products and convolutions; weights, losses and optimiser stay in float32. ``auto`` is
    for ``resolve_precision`` to decide.
    """

    epochs: int
    batch_size: int  # photographs a step, each with all its captions
    learning_rate: float
    encoder_learning_rate: float = 0.0
    warmup: float = 0.05
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    attention_penalty: float = 1.0  # weight of the doubly stochastic penalty
    clip_norm: float = 1.0
    patience: int = 4  # epochs without a better one before training stops
    crop: float = 1.0  # how photographs are changed while the encoder learns: ``AugmentConfig``
    flip: float = 0.0
    jitter: float = 0.0
    samples: int = 0  # captions an image for self-critical training; 0 for cross-entropy alone
    cross_entropy: float = 1.0  # weight of the cross-entropy beside it
    precision: str = "float32"
    seed: int = 0

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
        others = ("encoder_learning_rate", "weight_decay", "attention_penalty", "cross_entropy")
        for name in others:
            if not getattr(self, name) >= 0:
                raise SettingError(f"{name} must not be below 0, but is {getattr(self, name)}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        known = (*PRECISIONS, AUTO)
        if self.precision not in known:
            raise SettingError(f"precision must be one of {', '.join(known)}, not {self.precision}")

    def resolve_precision(self, device: str) -> "TrainConfig":
        """The same with a precision that ``device`` is fast in, where that is ``auto``."""
        return replace(self, precision=fast_precision(device)) if self.precision == AUTO else self

    @property
    def augmentation(self) -> AugmentConfig:
        """How photographs are changed by chance."""
        return AugmentConfig(self.crop, self.flip, self.jitter)

    @property
    def dtype(self) -> torch.dtype:
        """The type that photographs and features are brought to."""
        return PRECISIONS[self.precision]


def fast_precision(device: str) -> str:
    """bfloat16 where the hardware computes with it, else float32.

    A processor without it imitates it: some hundred times slower, where AVX-512 is missing too.
    """
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return "bfloat16" if native else "float32"


Rank: TypeAlias = Callable[[Mapping[str, float]], tuple[float, ...]]
LossFunction: TypeAlias = Callable[[CaptioningModel, Batch, TrainConfig], Tensor]


def caption_loss(network: CaptioningModel, batch: Batch, config: TrainConfig) -> Tensor:
    """Cross-entropy of the captions, plus the penalty for places never looked at."""
    logits, alphas = network(batch.visual, batch.inputs)  # (N, T, V), (N, T, L)
    loss = token_cross_entropy(logits, batch.targets, PAD, config.label_smoothing)
    penalty = doubly_stochastic_penalty(alphas, batch.targets != PAD)
    return loss + config.attention_penalty * penalty


def make_optimizer(network: CaptioningModel, config: TrainConfig) -> AdamW:
    """AdamW over decoder and, unless frozen, encoder; biases and norms are not decayed."""
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


def interpolate_weights(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the line from ``first`` (share 0) to ``second`` (share 1), in float32.

    Between a network and what further training made of it, they often do better than either
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """
    return {name: torch.lerp(first[name].float(), second[name].float(), share) for name in first}


def learning_rate_factor(step: int, total: int, warmup: float) -> float:
    """The part of the full learning rate at ``step`` of ``total``: linear rise, cosine fall."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def train_one_epoch(
    network: CaptioningModel,
    batches: Iterable[Batch],
    optimizer: AdamW,
    schedule: LambdaLR,
    config: TrainConfig,
    loss_function: LossFunction = caption_loss,
    after_step: Callable[[float], None] | None = None,
) -> float:
    """Take one step a batch; returns the mean loss, NaN where there is no batch.

    ``after_step`` gets the loss of each step taken. Raises NonFiniteLossError, which names step
    and learning rate, before a bad step is taken.
    """
    network.train()
    # A frozen encoder stays in eval mode; ours has nothing that differs, a changed one may have.
    network.encoder.train(config.encoder_learning_rate > 0)
    losses = []
    for batch in batches:
        losses.append(_take_step(network, batch, optimizer, config, loss_function))
        if not math.isfinite(losses[-1]):
            raise NonFiniteLossError(
                f"the loss became {losses[-1]} at step {schedule.last_epoch + 1} with learning "
                f"rate {schedule.get_last_lr()[0]:.2e}; lower the learning rate or clip_norm"
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


@dataclass(frozen=True)
class Run:
    """Where a stage of training keeps its files, and how it reports.

    ``checkpoint`` makes the checkpoint to save from the network and its figures; ``report`` gets
    all records so far after every epoch. ``origin`` identifies what the stage began with, weights
    and data: a resume file of another origin is refused.
    """

    best: Path  # the best checkpoint so far
    resume: Path  # the whole state
    checkpoint: Callable[[CaptioningModel, Mapping[str, float]], Checkpoint]
    report: Callable[[list[Record]], None]
    origin: str = ""
    save_every: float = 300.0  # seconds, within an epoch


def fit(
    network: CaptioningModel,
    sampler: Callable[[int, int], Iterable[Batch]],
    steps: int,
    score: Callable[[CaptioningModel], Mapping[str, float]],
    rank: Rank,
    config: TrainConfig,
    run: Run,
    loss_function: LossFunction = caption_loss,
) -> list[Record]:
    """Train for ``config.epochs``, or until ``patience`` epochs bring nothing better.

    ``sampler(epoch, done)`` gives an epoch's batches, ``steps`` of them, without the first
    ``done``; ``score`` measures the network after each epoch, and ``rank`` of these figures, the
    higher the better, chooses the checkpoint that is kept. An interrupted run goes on from
    ``run.resume``, if it is still there, and ends as an unbroken one would, on a CPU bit for bit.
    Returns a record an epoch.

    Raises KeyboardInterrupt after the step in which Ctrl-C was pressed, with everything saved.
    """
    optimizer = make_optimizer(network, config)
    total = steps * config.epochs
    schedule = LambdaLR(optimizer, lambda step: learning_rate_factor(step, total, config.warmup))
    parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    file = ResumeFile(run.resume, parts, _settings(config, run.origin), run.save_every)
    remove_leftovers(run.best)
    progress = file.restore()
    records = progress.records
    for epoch in range(len(records) + 1, config.epochs + 1):
        # Before an epoch, so that a run which stopped for patience stays stopped when resumed.
        if records and _waited(records, rank) >= config.patience:
            break
        if not progress.losses:
            # Seeded anew for each epoch: what is drawn does not depend on what was drawn before.
            torch.manual_seed(config.seed * 1000 + epoch)
        done, started = len(progress.losses), time.monotonic() - progress.seconds
        bar = _progress(sampler(epoch, done), steps, done, f"epoch {epoch}/{config.epochs}")
        with interrupts_wait() as asked:
            keep = _keeping(file, progress, asked)
            train_one_epoch(network, bar, optimizer, schedule, config, loss_function, keep)
            file.save(progress)  # scoring takes its time
        if asked.is_set():
            raise KeyboardInterrupt
        figures = dict(score(network.eval()))
        best = max((rank(record["dev"]) for record in records), default=())
        records.append(
            {
                "epoch": epoch,
                "learning_rate": schedule.get_last_lr()[0],
                "train_loss": sum(progress.losses) / steps,
                "seconds": round(time.monotonic() - started, 1),
                "dev": figures,
            }
        )
        if rank(figures) > best:
            run.checkpoint(network, figures).save(run.best)
        # Before the epoch counts as done, or a run killed in between would never report it.
        run.report(records)
        progress = Progress(records)
        file.save(progress)
    return records


def _keeping(
    file: ResumeFile, progress: Progress, asked: threading.Event
) -> Callable[[float], None]:
    """What to do after a step: note it, save it now and then, and stop where that is asked."""
    started = time.monotonic() - progress.seconds

    def after_step(loss: float) -> None:
        progress.losses.append(loss)
        progress.seconds = time.monotonic() - started
        if asked.is_set():
            file.save(progress)
            raise KeyboardInterrupt
        file.save_if_due(progress)

    return after_step


def _waited(records: list[Record], rank: Rank) -> int:
    """How many epochs have passed since the best one."""
    ranks = [rank(record["dev"]) for record in records]
    return len(ranks) - 1 - ranks.index(max(ranks))


def _progress(batches: Iterable[Batch], steps: int, done: int, text: str) -> Iterable[Batch]:
    """Show images a second and the time left on a terminal; be quiet in a log."""
    with tqdm(total=steps, initial=done, desc=text, unit="step", disable=None, leave=False) as bar:
        images, started = 0, time.monotonic()
        for batch in batches:
            yield batch
            images += len(batch.visual)
            rate = images / (time.monotonic() - started)
            bar.set_postfix_str(f"{rate:.1f} images/s", refresh=False)
            bar.update()


def _settings(config: TrainConfig, origin: str) -> Record:
    """What a resumed run must have in common with the one before it; it may be longer."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("epochs", "patience")}
    return {**settings, "origin": origin}
