"""Several data sets to train on at once, each split by itself, and captions without photographs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captioning.data.caption_files import Photograph
from captioning.data.caption_rows import count_noun
from captioning.data.perceptual_hash import COLUMNS, ROWS, cached_thumbnails, find_alike
from captioning.data.splits import Splits
from captioning.data.vocab import detokenize


@dataclass(frozen=True)
class DataSet:
    """A data set with a name that tells it from the others."""

    name: str
    splits: Splits


@dataclass(frozen=True)
class DataSets:
    """What a model is trained on: one data set or several, and the tokens of text captions.

    The best epoch is chosen by the development photographs of the first set.
    """

    sets: tuple[DataSet, ...]
    text: tuple[list[str], ...] = ()

    @property
    def first(self) -> DataSet:
        """The set whose development photographs choose the best epoch."""
        return self.sets[0]

    @property
    def others(self) -> tuple[DataSet, ...]:
        """All sets but the first."""
        return self.sets[1:]

    @property
    def train(self) -> tuple[Photograph, ...]:
        """The training photographs of all sets, in order."""
        return tuple(photo for each in self.sets for photo in each.splits.train)

    @property
    def dev(self) -> tuple[Photograph, ...]:
        """The development photographs that choose the best epoch."""
        return self.first.splits.dev

    @property
    def manners(self) -> tuple[str, ...]:
        """The manners of the captions other than the default one, in alphabetical order."""
        splits = [each.splits for each in self.sets]
        manners = {photo.manner for each in splits for photo in (*each.train, *each.held_out)}
        return tuple(sorted(manners - {""}))

    def limited(self, count: int | None) -> "DataSets":
        """Keep the first ``count`` photographs of each part of each set; all for None."""
        sets = (replace(each, splits=each.splits.limited(count)) for each in self.sets)
        return replace(self, sets=tuple(sets))

    def lines(self) -> list[str]:
        """Describe each set in a line, and the text in another; a set alone without its name."""
        several = len(self.sets) > 1
        lines = [f"{each.name}: " * several + each.splits.describe() for each in self.sets]
        return [*lines, f"text: {count_noun(len(self.text), 'caption')}"] if self.text else lines

    def describe(self) -> str:
        """Describe everything in one line."""
        return "; ".join(self.lines())


def name_sets(captions: Sequence[Path]) -> list[str]:
    """A name for the data set of each caption file: its folder, its own name, or that numbered.

    The first of these by which all of them differ.
    """
    files = [Path(os.path.abspath(path)) for path in captions]  # "data/.." has no name
    folders = [path.parent.name for path in files]
    if all(folders) and len(set(folders)) == len(folders):
        return folders
    stems = [path.stem for path in files]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{stem} {number}" for number, stem in enumerate(stems, 1)]


def drop_held_out(sets: Sequence[DataSet], cache: Path) -> tuple[tuple[DataSet, ...], list[str]]:
    """Leave out the training photographs that another set holds out, by their perceptual hashes.

    Copies within one set stay where its publisher has put them. Thumbnails are kept in the folder
    ``cache``. Also returns a remark for the user, if any is left out. Raises ImageError for a
    photograph that cannot be read.
    """
    if len(sets) < 2:
        return tuple(sets), []
    everything = [p for each in sets for p in (*each.splits.train, *each.splits.held_out)]
    made = cached_thumbnails(cache, everything)  # at once, behind one progress bar
    thumbnails = {photo.path: grey for photo, grey in zip(everything, made, strict=True)}
    kept, examples = list[DataSet](), list[str]()
    for data_set in sets:
        others = {o.name: o.splits.held_out for o in sets if o is not data_set}
        copies = _copies(data_set.splits.train, others, thumbnails)
        left = tuple(photo for photo in data_set.splits.train if photo.path not in copies)
        kept.append(replace(data_set, splits=replace(data_set.splits, train=left)))
        examples += [f"{path.name} of {data_set.name}, {text}" for path, text in copies.items()]
    return tuple(kept), _left_out(examples, "photograph", "another data set holds out")


def _copies(
    photographs: Sequence[Photograph],
    others: Mapping[str, Sequence[Photograph]],
    thumbnails: Mapping[Path, NDArray[np.uint8]],
) -> dict[Path, str]:
    """Which photographs are copies of those of other sets, and of which."""
    named = [(name, photo) for name, photos in others.items() for photo in photos]

    def stack(photos: Iterable[Photograph]) -> NDArray[np.uint8]:  # (M, 16, 17)
        grey = [thumbnails[photo.path] for photo in photos]
        return np.array(grey, np.uint8).reshape(-1, ROWS, COLUMNS)  # of no photographs too

    alike = find_alike(stack(photographs), stack(photo for _, photo in named))
    return {
        photographs[index].path: f"which is {named[other][1].name} of {named[other][0]}"
        for index, other in alike.items()
    }


def drop_held_out_captions(
    text: Iterable[list[str]], sets: Sequence[DataSet]
) -> tuple[tuple[list[str], ...], list[str]]:
    """Leave out the captions of a text that held-out photographs have too, word by word.

    Also returns a remark for the user, if any is left out.
    """
    photographs = [photo for each in sets for photo in each.splits.held_out]
    held_out = {tuple(tokens) for photo in photographs for tokens in photo.references}
    kept, left = list[list[str]](), list[str]()
    for tokens in text:
        if tuple(tokens) in held_out:
            left.append(f"“{detokenize(tokens)}”")
        else:
            kept.append(tokens)
    return tuple(kept), _left_out(left, "caption", "held-out photographs have too")


def _left_out(examples: Sequence[str], noun: str, reason: str) -> list[str]:
    """A remark on what is left out, with the first example, if there is any."""
    if not examples:
        return []
    count = count_noun(len(examples), noun)
    return [f"left out {count} of the training data that {reason}, such as {examples[0]}"]
