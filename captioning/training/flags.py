"""What the command line of main.py asks for."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from captioning import processes
from captioning.data.manners import MannerRule
from captioning.errors import SettingError
from captioning.training.recipe import ADAPT, BLEND, DECODER, LANGUAGE, REINFORCE, STAGES, Value

ALL = "all"  # stages, then the blend
BLIND, NO_ATTENTION = CONTROLS = ("blind", "no-attention")


@dataclass(frozen=True)
class TrainingFlags:
    """The flags of main.py; ``python main.py --help`` explains each one.

    ``captions`` and ``images`` belong together one by one. ``settings`` are those of the recipe
    that were given; ``words`` is the command line.
    Raises SettingError for flags that are out of range or exclude each other.
    """

    captions: tuple[Path, ...]
    images: tuple[Path, ...]
    text: tuple[Path, ...]
    manner: tuple[str, ...]
    default_manner: Path | None
    leave_out: Path | None
    data_terms: Path | None
    skip_bad: bool
    limit: int | None
    name: str | None
    init: Path | None
    resume: bool
    restart: bool
    save_every: float  # minutes
    stage: str
    encoder_weights: Path | None
    stride_in_1x1: bool
    encoder_source: str | None
    control: str | None
    cache: Path
    workers: int
    device: str
    install: bool
    settings: Mapping[str, Value]
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.captions) != len(self.images):
            counts = f"{len(self.captions)} and {len(self.images)}"
            raise SettingError(
                "--captions and --images must be given equally often, a folder for each caption "
                f"file, not {counts} times"
            )
        _ = self.manners  # which checks the texts
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"--limit must be at least 1, not {self.limit}")
        if self.workers < 0:
            raise SettingError(f"--workers must be at least 0, not {self.workers}")
        if not is_file_name(self.run_name):
            raise SettingError(
                "--name must be a plain name without slashes that does not start with a dot, "
                f"not '{self.run_name}'"
            )
        if self.control and self.stage != DECODER:
            raise SettingError("--control needs --stage decoder, and a --name to tell its run by")
        if self.stage == LANGUAGE and not self.text:
            raise SettingError("--stage language needs --text, the captions to learn from")
        if self.init and (self.stage != ALL or self.encoder_weights):
            raise SettingError(
                "--init trains its own stage with the model's encoder; leave out --stage and "
                "--encoder-weights"
            )

    @property
    def run_name(self) -> str:
        """The name of the run's files."""
        if self.name is not None:
            return self.name
        return "adapted" if self.init else "flickr8k"

    @property
    def manners(self) -> tuple[MannerRule, ...]:
        """The rules of ``--manner``; for a photograph the first that matches applies."""
        return tuple(map(MannerRule.parse, self.manner))

    @property
    def command(self) -> str:
        """The command as a shell takes it."""
        count = processes.count()
        program = ["python"] if count == 1 else ["torchrun", "--nproc-per-node", str(count)]
        return shlex.join([*program, "main.py", *self.words])

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages to train, in order; for the blend, the one that it takes its weights from."""
        if self.init:
            return (ADAPT,)
        every = STAGES if self.text else STAGES[1:]
        return {ALL: every, BLEND: (REINFORCE,)}.get(self.stage, (self.stage,))


def is_file_name(name: str) -> bool:
    """Whether a name can be that of a file that is neither hidden nor in another folder."""
    return bool(name) and not name.startswith(".") and not set(name) & {"/", "\\", "\0"}
