"""Reads the data that the flags name: data sets, and text without photographs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.caption_rows import count_noun
from captioning.data.data_sets import (
    DataSet,
    DataSets,
    drop_held_out,
    drop_held_out_captions,
    name_sets,
)
from captioning.data.images import ImageError
from captioning.data.manners import set_manners
from captioning.data.perceptual_hash import cached_thumbnails, remark_on, unreadable
from captioning.data.splits import hold_back, split_photographs
from captioning.data.text_files import read_names, read_paragraphs, read_text_captions
from captioning.training.flags import TrainingFlags
from captioning.training.records import say

_Photographs = tuple[Photograph, ...]


def read_data(flags: TrainingFlags) -> DataSets:
    """Read the data sets and the text, and print what is used of them.

    Training photographs and captions of the text that a set holds out are left out, see
    ``data_sets``. Raises DataError or SettingError for what cannot be used.
    """
    if flags.data_terms:
        read_paragraphs(flags.data_terms)  # what is wrong with it must show before the training
    photographs = _read_photographs(flags)
    if flags.leave_out:
        photographs = _leave_out(photographs, flags.leave_out)
    if flags.skip_bad:
        photographs = _without_unreadable(photographs, flags)
    default = read_names(flags.default_manner) if flags.default_manner else frozenset()
    photographs = set_manners(photographs, flags.manners, default)
    names = name_sets(flags.captions)
    sets = [
        DataSet(name, split_photographs(each))
        for name, each in zip(names, photographs, strict=True)
    ]
    sets[0] = replace(sets[0], splits=hold_back(sets[0].splits))
    kept, remarks = drop_held_out(sets, flags.cache)
    captions = [tokens for path in flags.text for tokens in read_text_captions(path)]
    text, others = drop_held_out_captions(captions, sets)
    data = DataSets(kept, text).limited(flags.limit)
    for line in (*remarks, *others, *data.lines()):
        say(line)
    if not data.first.splits.train or not data.dev:
        raise DataError(
            f"{flags.captions[0]}: there must be photographs to train on and others to choose the "
            "best epoch with; add photographs"
        )
    return data


def require_readable(data: DataSets, cache: Path) -> None:
    """Read every photograph that will be used once, before the work and not in the middle of it.

    What is made of them is kept in the folder ``cache``, for the record of what was trained on.
    Raises ImageError for one that cannot be read.
    """
    cached_thumbnails(cache, photographs_of(data))


def photographs_of(data: DataSets) -> list[Photograph]:
    """The photographs that will be used: all to train on, and all that choose the best epoch."""
    return [photo for each in data.sets for photo in (*each.splits.train, *each.splits.dev)]


@contextmanager
def offering_to_skip(flags: TrainingFlags) -> Iterator[None]:
    """Within it the error of a photograph that cannot be read names the flag to leave it out by."""
    try:
        yield
    except ImageError as error:
        if flags.skip_bad:  # it has been damaged since it was read
            raise
        remedy = "or pass --skip-bad to go on without it"
        raise DataError(f"{str(error).removesuffix('.')}, {remedy}") from None


def _read_photographs(flags: TrainingFlags) -> list[_Photographs]:
    """The photographs of each caption file."""
    photographs = []
    for captions, images in zip(flags.captions, flags.images, strict=True):
        if flags.text and not captions.exists():
            raise DataError(
                f"{captions}: there is no such caption file, and text alone trains no captioner; "
                "name one with --captions, and its photographs with --images"
            )
        file = read_captions(captions, images, flags.skip_bad)
        for remark in file.remarks:
            say(remark)
        photographs.append(file.photographs)
    return photographs


def _without_unreadable(
    photographs: Sequence[_Photographs], flags: TrainingFlags
) -> list[_Photographs]:
    """The photographs of each set without those that cannot be read, which are remarked on."""
    kept, errors = list(photographs), dict[Path, ImageError]()
    # Those of a quick trial may be few of many; in place of each that is left out another is used.
    while found := unreadable(flags.cache, _used(kept, flags.limit)):
        errors |= found
        kept = [tuple(photo for photo in each if photo.path not in errors) for each in kept]
    if errors:
        say(remark_on(errors))
    return kept


def _used(photographs: Sequence[_Photographs], limit: int | None) -> _Photographs:
    """Every photograph that will be read; several sets are compared with one another whole."""
    if len(photographs) > 1:
        return tuple(photo for each in photographs for photo in each)
    splits = hold_back(split_photographs(photographs[0])).limited(limit)
    return splits.train + splits.dev


def _leave_out(photographs: Sequence[_Photographs], path: Path) -> list[_Photographs]:
    """The photographs without those that a file names."""
    names = read_names(path)
    kept = [tuple(photo for photo in each if photo.name not in names) for each in photographs]
    count = sum(map(len, photographs)) - sum(map(len, kept))
    if not count:
        raise DataError(
            f"{path}: it names no photograph of the data; write one name a line, as in the caption "
            "file"
        )
    say(f"{path}: left out {count_noun(count, 'photograph')} that it names")
    return kept
