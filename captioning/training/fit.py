"""The loop over epochs: it scores each one, keeps the best, and resumes an interrupted run."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from tqdm import tqdm

from captioning import processes
from captioning.data.dataset import Batch
from captioning.files import remove_leftovers
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.saved_network import save_checkpoint
from captioning.training.config import TrainConfig
from captioning.training.resume import (
    PROCESSES,
    Progress,
    Record,
    ResumeFile,
    Stateful,
    defer_interrupts,
)
from captioning.training.terms import LossFunction
from captioning.training.train import (
    NonFiniteLossError,
    make_optimization,
    train_one_epoch,
    unusable_weight,
)

Rank: TypeAlias = Callable[[Mapping[str, float]], tuple[float, ...]]


@dataclass(frozen=True)
class Task:
    """What a network learns from, and how its epochs are judged.

    ``batches(epoch, done)`` gives an epoch's batches, ``steps`` of them, without the first
    ``done``. ``score`` measures the network after each epoch; ``rank`` of these figures, where
    higher is better, chooses the epoch that is kept.
    """

    batches: Callable[[int, int], Iterable[Batch]]
    steps: int
    score: Callable[[CaptioningModel], Mapping[str, float]]
    rank: Rank
    loss_function: LossFunction


@dataclass(frozen=True)
class Run:
    """Where a stage of training keeps its files, and how it reports.

    ``checkpoint`` makes the checkpoint to save from the network and its figures; ``report`` gets
    all records so far after every epoch. ``origin`` identifies what the stage starts from, weights
    and data: a resume file of another origin is refused.
    """

    best: Path  # the best checkpoint so far
    resume: Path  # the whole state
    checkpoint: Callable[[CaptioningModel, Mapping[str, float]], Checkpoint]
    report: Callable[[list[Record]], None]
    origin: str = ""
    save_every: float = 300.0  # seconds, within an epoch


def fit(network: CaptioningModel, task: Task, config: TrainConfig, run: Run) -> list[Record]:
    """Train for ``config.epochs``, or until ``patience`` epochs in a row bring no better one.

    An interrupted run resumes from ``run.resume``, if it still exists, and ends as an
    uninterrupted one would, on a CPU bit for bit. Returns one record per epoch. Of several
    processes all train and score, and the first writes and reports.

    Raises KeyboardInterrupt after the step in which Ctrl-C was pressed, with everything saved.
    """
    loop = _Loop(network, task, config, run)
    if processes.is_first():
        remove_leftovers(run.best)
    progress = loop.file.restore()
    # Asked before an epoch, so that a run which ran out of patience stays stopped when resumed.
    while not loop.is_finished(progress.records):
        progress = loop.next_epoch(progress)
    return progress.records


class _Loop:
    """What the epochs of one ``fit`` share."""

    def __init__(self, network: CaptioningModel, task: Task, config: TrainConfig, run: Run) -> None:
        self.network, self.task, self.config, self.run = network, task, config, run
        self.optimization = make_optimization(network, config, task.steps * config.epochs)
        parts: dict[str, Stateful] = {"network": network, **self.optimization._asdict()}
        settings = _settings(config, run.origin)
        self.file = ResumeFile(run.resume, parts, settings, run.save_every)

    def is_finished(self, records: list[Record]) -> bool:
        """Whether all epochs are done, or patience has run out."""
        if len(records) >= self.config.epochs:
            return True
        return _epochs_since_best(records, self.task.rank) >= self.config.patience

    def next_epoch(self, progress: Progress) -> Progress:
        """Train the rest of an epoch, score it, and keep it if it is the best so far."""
        epoch = len(progress.records) + 1
        started = time.monotonic() - progress.seconds
        self._train(epoch, progress)
        figures = dict(processes.broadcast(self.task.score(self.network.eval())))
        self._require_finite_loss(epoch, figures)
        record = {
            "epoch": epoch,
            "learning_rate": self.optimization.schedule.get_last_lr()[0],
            "train_loss": sum(progress.losses) / self.task.steps,
            "seconds": round(time.monotonic() - started, 1),
            "dev": figures,
        }
        best = max((self.task.rank(earlier["dev"]) for earlier in progress.records), default=())
        following = Progress([*progress.records, record])
        if processes.is_first():
            if self.task.rank(figures) > best:
                save_checkpoint(self.run.checkpoint(self.network, figures), self.run.best)
            # Before the epoch counts as done, or a run killed in between would never report it.
            self.run.report(following.records)
            self.file.save(following)
        return following

    def _train(self, epoch: int, progress: Progress) -> None:
        """Take the steps of an epoch that are left, and save the state after the last one."""
        done = len(progress.losses)
        batches = _with_progress_bar(
            _seeded(self.task.batches(epoch, done), self.config.seed, epoch, done),
            steps=self.task.steps,
            done=done,
            text=f"epoch {epoch}/{self.config.epochs}",
        )
        with defer_interrupts() as requested:
            train_one_epoch(
                self.network,
                batches,
                self.optimization,
                self.config,
                loss_function=self.task.loss_function,
                after_step=_record_step(self, progress, requested),
            )
            if processes.is_first():
                self.save(progress)  # scoring takes its time
        if requested.is_set():
            raise KeyboardInterrupt

    def save(self, progress: Progress) -> None:
        """Save the state, unless its weights are of no use.

        Raises NonFiniteLossError for these; the last good state stays on the disk.
        """
        name = unusable_weight(self.network)
        if name:
            step, rate = self._last_step()
            raise NonFiniteLossError(
                f"the weights {name} grew beyond what a checkpoint can hold, by step {step} with "
                f"learning rate {rate:.2e}; lower --learning-rate or --clip-norm"
            )
        self.file.save(progress)

    def _require_finite_loss(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Raise NonFiniteLossError where the score shows that the network is of no use."""
        loss = figures.get("loss", 0.0)
        if not math.isfinite(loss):
            step, rate = self._last_step()
            raise NonFiniteLossError(
                f"the loss on the development data became {loss} after epoch {epoch}, step {step} "
                f"with learning rate {rate:.2e}; lower --learning-rate or --clip-norm"
            )

    def _last_step(self) -> tuple[int, float]:
        """The number of the last step of the stage, and the learning rate of the next."""
        schedule = self.optimization.schedule
        return schedule.last_epoch, float(schedule.get_last_lr()[0])


def _record_step(
    loop: _Loop, progress: Progress, requested: threading.Event
) -> Callable[[float], None]:
    """What to do after a step: record it, save it now and then, and stop where that is wanted."""
    started = time.monotonic() - progress.seconds

    def after_step(loss: float) -> None:
        progress.losses.append(loss)
        progress.seconds = time.monotonic() - started
        stopping = processes.any_of(requested.is_set())  # all at the same step
        if processes.is_first() and (stopping or loop.file.is_due()):
            loop.save(progress)
        if stopping:
            processes.wait()  # whoever ends first ends the others
            raise KeyboardInterrupt

    return after_step


def _seeded(batches: Iterable[Batch], seed: int, epoch: int, done: int) -> Iterator[Batch]:
    """The batches, each with random numbers of its own, whatever was drawn before.

    So a resumed run draws as an uninterrupted one. Each process draws for itself, the first as a
    single one would.
    """
    for step, batch in enumerate(batches, done):
        what = repr((seed, epoch, step, processes.rank()))
        digest = hashlib.sha256(what.encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:7], "little"))
        yield batch


def _epochs_since_best(records: list[Record], rank: Rank) -> int:
    """How many epochs have passed since the best one; 0 before the first."""
    ranks = [rank(record["dev"]) for record in records]
    return len(ranks) - 1 - ranks.index(max(ranks)) if ranks else 0


def _with_progress_bar(
    batches: Iterable[Batch], steps: int, done: int, text: str
) -> Iterable[Batch]:
    """Show images per second and the time left on a terminal; nothing in a log."""
    off = None if processes.is_first() else True
    with tqdm(total=steps, initial=done, desc=text, unit="step", disable=off, leave=False) as bar:
        images, started = 0, time.monotonic()
        for batch in batches:
            yield batch
            images += len(batch.visual) * processes.count()
            rate = images / (time.monotonic() - started)
            bar.set_postfix_str(f"{rate:.1f} images/s", refresh=False)
            bar.update()


def _settings(config: TrainConfig, origin: str) -> Record:
    """What a resumed run must have in common with the one before it; it may be longer."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("epochs", "patience")}
    return {**settings, "origin": origin, PROCESSES: processes.count()}
