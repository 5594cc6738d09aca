"""What a run writes and prints about itself: its files, one record per epoch, the curves."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from captioning import processes
from captioning.errors import CaptioningError, SettingError
from captioning.files import disk_errors, lock, remove_leftovers, write_text
from captioning.plots import save_figure, training_curves
from captioning.training.recipe import BLEND, STAGES
from captioning.training.resume import Record

# Seconds. The processes that read photographs for a run that was killed have its lock too, until
# they notice.
_READERS_NOTICE = 8.0


def say(text: str) -> None:
    """Print a line at once, in a log too; what of a file's name cannot be printed is escaped.

    Of several processes the first prints.
    """
    if not processes.is_first():
        return
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


@dataclass(frozen=True)
class RunFiles:
    """Where the run of this name keeps its files."""

    name: str

    @property
    def best(self) -> Path:
        """The best checkpoint of all stages."""
        return self.checkpoint("best")

    @property
    def metrics(self) -> Path:
        """The records, one JSON line per epoch."""
        return Path("results/metrics") / f"{self.name}.jsonl"

    @property
    def plot(self) -> Path:
        """The curves."""
        return Path("results/plots") / f"{self.name}.png"

    def checkpoint(self, stage: str) -> Path:
        """The best checkpoint of a stage."""
        return Path("runs") / self.name / f"{stage}.pth"

    def resume(self, stage: str) -> Path:
        """The state of a stage's training."""
        return Path("runs") / self.name / f"{stage}.resume.pth"

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a run that was killed."""
        for path in (self.checkpoint(BLEND), self.best, self.metrics, self.plot):
            remove_leftovers(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it no other command trains a run of this name in this folder.

        Raises SettingError where one does, WriteError where the run's folder cannot be made. The
        lock is the system's: a run that was killed leaves none.
        """
        with ExitStack() as opened:
            is_ours = not processes.is_first() or self._lock(opened)
            if not processes.broadcast(is_ours):
                raise SettingError(
                    f"{self.best.parent}: another run of this name is being trained; wait for it, "
                    "or choose another --name"
                )
            yield

    def _lock(self, opened: ExitStack) -> bool:
        """Lock the run's folder until ``opened`` ends; False where another run has it."""
        folder = self.best.parent
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if os.name == "nt":  # where a folder cannot be opened
            return True
        descriptor = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, descriptor)
        until = time.monotonic() + _READERS_NOTICE
        while not (locked := lock(descriptor)) and time.monotonic() < until:
            time.sleep(0.2)
        return locked


class Report:
    """Writes the records and the curves of a run and prints a line, after each epoch of a stage.

    Records of earlier stages are kept; those of this stage and of later ones are replaced. Raises
    CaptioningError for a file of records that was damaged.
    """

    def __init__(self, files: RunFiles, stage: str) -> None:
        self.files, self.stage = files, stage
        earlier = STAGES[: STAGES.index(stage)] if stage in STAGES else ()
        self.earlier = [one for one in read_records(files.metrics) if one["stage"] in earlier]

    def __call__(self, records: Sequence[Record]) -> None:
        """Report on the last of this stage's ``records``."""
        lines = [*self.earlier, *({"stage": self.stage, **record} for record in records)]
        write_text(self.files.metrics, "".join(json.dumps(line) + "\n" for line in lines))
        captioned = [line for line in lines if "CIDEr-D" in line["dev"]]
        if captioned:
            save_figure(
                training_curves(captioned, f"Training of {self.files.name}"), self.files.plot
            )
        last = records[-1]
        say(
            f"{self.stage} epoch {last['epoch']}: train loss {last['train_loss']:.3f}, "
            f"dev {_in_short(last['dev'])}, {last['seconds']:.0f} s"
        )
        for name, figures in last.get("others", {}).items():
            say(f"  {name}: dev {_in_short(figures)}")


def _in_short(figures: Mapping[str, float]) -> str:
    known = {name: figures[name] for name in ("loss", "BLEU-4", "CIDEr-D") if name in figures}
    return ", ".join(f"{n} {v:.{3 if n == 'loss' else 2}f}" for n, v in known.items())


def read_records(path: Path) -> list[Record]:
    """The records of a file; none if there is no file."""
    if not path.exists():
        return []
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        complete = all({"stage", "train_loss", "dev"} <= record.keys() for record in records)
    except (ValueError, RecursionError, AttributeError):
        complete = False
    if not complete:
        raise CaptioningError(
            f"{path}: these are not the records of a training run; move the file away, or choose "
            "another --name"
        )
    return records
