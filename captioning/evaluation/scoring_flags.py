"""The flags of the scorer: what to score, on which photographs, and what to write."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from captioning.data.manners import MannerRule
from captioning.errors import SettingError

BASELINES = ("nearest", "frequent", "human")
_DATA = Path("flickr8k/Flickr8k_Subset")


@dataclass(frozen=True)
class ScoringFlags:
    """The flags of ``bleu_scorer.py``, by their names there; ``words`` are the command's own.

    ``also`` are other data sets to score on, each a caption file and a folder of photographs.

    Raises SettingError for flags that are out of range, would be ignored, or would publish what is
    not the whole.
    """

    model: Path | None = None
    captions: Path | None = None
    baseline: str | None = None
    references: Path = _DATA / "captions.txt"
    images: Path = _DATA / "Images"
    skip_bad: bool = False
    split: str | None = None
    limit: int | None = None
    beam: int | None = None
    length_penalty: float | None = None
    against: str | None = None
    also: tuple[tuple[Path, Path], ...] = ()
    manner: tuple[str, ...] = ()
    four_references: bool = False
    beams: bool = False
    strange: Path | None = None
    name: str | None = None
    cache: Path = Path("cache")
    device: str = "auto"
    allow_training_images: bool = False
    publish: bool = False
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._require_utf8()
        self._require_model()
        self._require_other_sets()
        self._require_whole_for_publishing()
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"--limit must be at least 1, not {self.limit}")
        if self.name and (self.name == ".." or Path(self.name).name != self.name):
            raise SettingError(
                f"--name {self.name}: this names files in results, so it cannot be a path; leave "
                "out the folders"
            )

    def _require_utf8(self) -> None:
        for word in self.words:
            # JSON and reports hold the command and the files' names, and are UTF-8.
            if not _is_utf8(word):
                raise SettingError(f"{word!r} is not UTF-8 text; rename that file or folder")

    def _require_model(self) -> None:
        of_model = {
            "--beam": self.beam is not None,
            "--length-penalty": self.length_penalty is not None,
            "--beams": self.beams,
            "--also": bool(self.also),
            "--strange": self.strange is not None,
            "--publish": self.publish,
        }
        given = [flag for flag, is_given in of_model.items() if is_given]
        if given and not self.scores_model:
            raise SettingError(
                f"{given[0]} is for a model: leave it out, or --captions and --baseline"
            )

    def _require_other_sets(self) -> None:
        if self.manners and not self.also:
            raise SettingError(
                "--manner is for the photographs of other data sets: name one with --also, or "
                "leave it out"
            )

    def _require_whole_for_publishing(self) -> None:
        partial = {
            "--limit": self.limit is not None,
            "--allow-training-images": self.allow_training_images,
            "--split": self.split in ("train", "all"),
        }
        given = [flag for flag, is_given in partial.items() if is_given]
        if self.publish and given:
            raise SettingError(
                f"what is published is of all photographs held out: leave {given[0]} out"
            )

    @property
    def manners(self) -> tuple[MannerRule, ...]:
        """The rules of ``--manner``; for a photograph the first that matches applies."""
        return tuple(map(MannerRule.parse, self.manner))

    @property
    def scores_model(self) -> bool:
        """Whether a model is scored, not a file of captions or a baseline."""
        return self.captions is None and self.baseline is None

    @property
    def needs_photographs(self) -> bool:
        """Whether a system looks at the photographs, by a network."""
        by_features = "nearest" in (self.baseline, self.against)
        return self.scores_model or by_features or is_model(self.against)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that the flags name, which no result may replace."""
        others = None if self.against in BASELINES or not self.against else Path(self.against)
        sets = (captions for captions, _ in self.also)
        named = (self.references, self.model, self.captions, others, *sets)
        return tuple(path for path in named if path is not None)

    @property
    def leaves_one_out(self) -> bool:
        """Whether captions are scored with each reference left out in turn."""
        return self.four_references or "human" in (self.baseline, self.against)

    @property
    def command(self) -> str:
        """The command, for a shell."""
        return shlex.join(["python", "bleu_scorer.py", *self.words])


def is_model(name: str | None) -> bool:
    """Whether this names a checkpoint, by its suffix."""
    return name is not None and Path(name).suffix in (".pth", ".pt")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
