"""The photographs and references to score on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.perceptual_hash import remark_on, unreadable
from captioning.data.splits import Splits, split_photographs
from captioning.evaluation.corpus import require_two_references
from captioning.evaluation.matching import Ids
from captioning.evaluation.other_sets import Group, read_groups
from captioning.evaluation.predictions import count_known, match_predictions, read_predictions
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.scoring_flags import ScoringFlags


@dataclass(frozen=True)
class ScoringData:
    """What is scored on: ``photographs``, which are all of ``part`` or, in a trial, some of it.

    ``part`` is the split with the name ``split``, or all photographs; ``remarks`` are what the user
    should know of the data. ``groups`` are photographs of other data sets, to be scored apart.
    """

    splits: Splits
    split: str
    part: tuple[Photograph, ...]
    photographs: tuple[Photograph, ...]
    remarks: tuple[str, ...]
    groups: tuple[Group, ...] = ()

    @classmethod
    def read(cls, flags: ScoringFlags) -> "ScoringData":
        """Read the data set, and choose the split that the flags name or the captions fit.

        Raises DataError for data that cannot be scored on, SettingError where a reference is to be
        left out and an image has no other.
        """
        images = flags.images if flags.needs_photographs else None
        file = read_captions(flags.references, images, flags.skip_bad)
        splits = split_photographs(file.photographs)
        split = _choose(flags, splits, file.photographs)
        part = _photographs_of(split, splits, file.photographs)
        skips = flags.skip_bad and flags.needs_photographs
        part, unread = _readable(part, flags) if skips else (part, ())
        # Captions of similar length together: under teacher forcing a batch is as long as its
        # longest caption.
        photographs = tuple(sorted(part[: flags.limit], key=_longest_caption))
        if flags.leaves_one_out:
            require_two_references([photograph.captions for photograph in photographs])
        groups, others = read_groups(flags)
        remarks = (*file.remarks, *unread, splits.describe(), *others)
        return cls(splits, split, part, photographs, remarks, groups)

    @property
    def references(self) -> list[tuple[str, ...]]:
        """The reference captions of the photographs."""
        return [photograph.captions for photograph in self.photographs]

    @property
    def includes_training(self) -> bool:
        """Whether training photographs are scored."""
        return self.split in ("train", "all")

    def training_captions(self) -> frozenset[tuple[str, ...]] | None:
        """The tokens of the training captions; None where there are none, or they are scored."""
        if self.includes_training or not self.splits.train:
            return None
        return frozenset(
            tuple(ptb_tokenize(text)) for photo in self.splits.train for text in photo.captions
        )

    def require_training(self) -> tuple[Photograph, ...]:
        """The training photographs, for a baseline; raises DataError where it cannot use them."""
        if self.includes_training:
            raise DataError(
                "this baseline takes its captions from the training photographs, so it cannot be "
                "scored on them; choose another --split"
            )
        if not self.splits.train:
            raise DataError(
                "this baseline takes its captions from training photographs, and the data set has "
                "none; choose another baseline"
            )
        return self.splits.train


def _choose(flags: ScoringFlags, splits: Splits, everything: Sequence[Photograph]) -> str:
    """The name of the split to score."""
    if flags.split:
        return flags.split
    if flags.captions is not None:
        return _covered(read_predictions(flags.captions), flags.captions, splits, everything)
    return "test" if splits.test else "dev"


def _photographs_of(
    name: str, splits: Splits, everything: tuple[Photograph, ...]
) -> tuple[Photograph, ...]:
    chosen: tuple[Photograph, ...] = everything if name == "all" else getattr(splits, name)
    if not chosen:
        raise DataError(f"the data set has no {name} photographs; choose another --split")
    return chosen


def _readable(
    part: tuple[Photograph, ...], flags: ScoringFlags
) -> tuple[tuple[Photograph, ...], tuple[str, ...]]:
    """The photographs without those to be scored that cannot be read, and a remark on these."""
    errors = unreadable(flags.cache, part[: flags.limit])
    kept = tuple(photo for photo in part if photo.path not in errors)
    if not kept:
        raise DataError(
            f"none of the photographs can be read; the first: {next(iter(errors.values()))}"
        )
    return kept, (remark_on(errors),) if errors else ()


def _covered(
    candidates: Mapping[str, str], path: Path, splits: Splits, everything: Sequence[Photograph]
) -> str:
    """The part of the data set that a file of captions fits: one split, or all of it.

    Where it fits none, the part with the most of its images, by which it will be refused.
    """
    held = {name: getattr(splits, name) for name in ("test", "dev", "train")}
    parts = {name: part for name, part in held.items() if 0 < len(part) < len(everything)}
    parts["all"] = everything
    for name, part in parts.items():
        try:
            match_predictions(candidates, _names(part), path, ids_of(part))
        except DataError:
            continue
        return name
    known = {
        name: count_known(candidates, _names(part), ids_of(part)) for name, part in parts.items()
    }
    return max(known, key=lambda name: (known[name], -len(parts[name])))


def _names(photographs: Sequence[Photograph]) -> list[str]:
    return [photograph.name for photograph in photographs]


def ids_of(photographs: Sequence[Photograph]) -> dict[str, Ids]:
    """The ids that the caption file gives photographs, by their names."""
    return {photograph.name: photograph.ids for photograph in photographs if photograph.ids}


def _longest_caption(photograph: Photograph) -> int:
    """The length in words of the longest caption."""
    return max(map(len, photograph.references))
