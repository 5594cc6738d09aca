"""Resuming interrupted training, at the very step that it had reached."""

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from torch import Tensor
from torch.optim import Optimizer

from captioning import processes
from captioning.errors import CaptioningError, SettingError
from captioning.files import remove_leftovers, what_instead
from captioning.network.saved_network import load_plain, save_plain

Record: TypeAlias = dict[str, Any]  # one epoch: its number, losses, figures
PROCESSES = "processes"  # the setting that says how many have trained


class ResumeError(CaptioningError):
    """A resume file that does not fit the run; the message says what to do."""


class Stateful(Protocol):
    """What changes while a network learns: the network, its optimiser, its schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


@dataclass
class Progress:
    """How far a stage of training has come."""

    records: list[Record] = field(default_factory=list)  # of the finished epochs
    losses: list[float] = field(default_factory=list)  # of the steps of the current epoch
    seconds: float = 0.0  # that these steps took


class ResumeFile:
    """Keeps the whole state of a stage: its parts, and its progress.

    ``parts`` are saved and restored by name. ``settings`` are what a resumed run must have in
    common with the one before it. Within an epoch the file is written whenever ``every`` seconds
    have passed. Nothing else may write the same ``path``.
    """

    def __init__(
        self, path: Path, parts: Mapping[str, Stateful], settings: Record, every: float
    ) -> None:
        if not every >= 0:
            raise SettingError(f"the time between saves must be at least 0, not {every:g} seconds")
        self.path, self.parts, self.settings, self.every = path, parts, settings, every
        self.saved = time.monotonic()

    def save(self, progress: Progress) -> None:
        """Write the file."""
        content = {
            "settings": self.settings,
            **{name: part.state_dict() for name, part in self.parts.items()},
            "records": progress.records,
            "losses": progress.losses,
            "seconds": progress.seconds,
        }
        save_plain(content, self.path)
        self.saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the file is no longer recent."""
        return time.monotonic() - self.saved >= self.every

    def restore(self) -> Progress:
        """Restore the state in the file, if there is one; returns how far it had come.

        Raises ResumeError for a file that is damaged or has other settings or other parts.
        """
        if processes.is_first():
            remove_leftovers(self.path)
        processes.wait()  # the first may have removed the file just before
        if not self.path.exists():
            return Progress()
        try:
            if what_instead(self.path):
                raise ValueError("no file")
            content = load_plain(self.path)
            self._refuse_other_processes(content["settings"])
            if content["settings"] != self.settings:
                raise ValueError("other settings")
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
                if isinstance(part, Optimizer):
                    _require_shapes(part)
            return _progress(content)
        except ResumeError:
            raise
        except Exception as error:
            raise ResumeError(
                f"{self.path}: training cannot resume from this file, which is damaged or belongs "
                "to another recipe, data set or version; start over with --restart, or choose "
                "another --name"
            ) from error

    def _refuse_other_processes(self, settings: Record) -> None:
        """Gradients that more or fewer processes add up differ in their last bits."""
        before, now = settings.get(PROCESSES), self.settings.get(PROCESSES)
        known = isinstance(before, int)
        if not known or before == now or {**settings, PROCESSES: now} != self.settings:
            return
        program = "python" if before == 1 else f"torchrun --nproc-per-node {before}"
        raise ResumeError(
            f"{self.path}: this training was started with --nproc-per-node {before} and does "
            f"not resume with {now}; go on with {program} main.py, or start over with --restart"
        )


def _require_shapes(optimizer: Optimizer) -> None:
    """Raise ValueError where the state of a parameter cannot be its own.

    load_state_dict asks for neither: a step would fail in the middle of the training.
    """
    for parameter, state in optimizer.state.items():
        for value in state.values():
            if not isinstance(value, Tensor) or value.ndim == 0:
                continue
            held = value.untyped_storage().nbytes() // value.itemsize
            if value.shape != parameter.shape or held < value.numel():
                raise ValueError("the state of another parameter")


def _progress(content: Mapping[str, Any]) -> Progress:
    """How far training had come; raises an error for records of another kind."""
    records, losses = list(content["records"]), [float(loss) for loss in content["losses"]]
    if not all({"epoch", "train_loss", "dev"} <= record.keys() for record in records):
        raise ValueError("other records")
    return Progress(records, losses, float(content["seconds"]))


@contextmanager
def defer_interrupts() -> Iterator[threading.Event]:
    """Within it, Ctrl-C sets the event that is yielded; only a second Ctrl-C raises.

    For work that must not stop in the middle of a step. Of several processes none raises, so that
    all end at the same step: see ``processes.deferring``. Nothing changes where Ctrl-C has another
    handler than Python's, or where this is not the main thread.
    """
    if processes.count() > 1:
        with processes.deferring() as event:
            yield event
        return
    requested = threading.Event()

    def note(*_: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        print("\nstopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not default or threading.current_thread() is not threading.main_thread():
        yield requested
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield requested
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
