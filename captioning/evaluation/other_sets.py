"""What a model scores on other data sets: on the photographs that they hold out.

The photographs of each manner of captions are a group of their own. All are captioned in the
default manner, which is what users of the model get.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.caption_rows import count_noun
from captioning.data.data_sets import name_sets
from captioning.data.images import ImageError, read_photo
from captioning.data.manners import set_manners
from captioning.data.splits import split_photographs
from captioning.evaluation.assessment import compare_statistics, with_intervals
from captioning.evaluation.corpus import Corpus, caption_statistics, references_per_image
from captioning.evaluation.hallucination import hallucinations
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.opening_word import opening_word
from captioning.evaluation.report_gallery import PHOTO_SIDE
from captioning.evaluation.scoring_flags import ScoringFlags
from captioning.evaluation.uncertainty import Statistic
from captioning.inference.captioner import Caption, Captioner, Failure

EXAMPLES = 12  # photographs to show
_BATCH = 50  # photographs


@dataclass(frozen=True)
class Group:
    """Held-out photographs of a data set whose captions are in the same manner.

    ``name`` is the data set's, with the manner unless it is the default one; ``source`` says where
    the data set's split comes from.
    """

    name: str
    photographs: tuple[Photograph, ...]
    source: str

    def describe(self) -> str:
        """Describe them in a line."""
        return f"{self.name}: {count_noun(len(self.photographs), 'photograph')}, {self.source}"


class Example(NamedTuple):
    """A photograph to show: its ``picture``, its ``caption`` as a sentence, one word with its maps.

    ``attention`` and ``evidence`` are the maps (h, w) of the ``word``, which names an object where
    the caption has one; ``references`` are the photograph's captions.
    """

    picture: Image.Image
    caption: str
    word: str
    attention: NDArray[np.float32]
    evidence: NDArray[np.float32]
    references: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CaptionedGroup:
    """A group with a model's captions of its photographs, and some of them to show."""

    group: Group
    captions: Sequence[str]
    examples: Sequence[Example] = ()

    def statistics(self) -> dict[str, Statistic]:
        """The caption metrics and those of named objects."""
        references = [photograph.captions for photograph in self.group.photographs]
        corpus = Corpus.of(self.captions, references)
        objects = hallucinations(corpus, ObjectWords.load()).statistics
        return caption_statistics(corpus).statistics | objects


def read_groups(flags: ScoringFlags) -> tuple[tuple[Group, ...], list[str]]:
    """The groups of the data sets that the flags name, in their order, and remarks for the user.

    Of each set the default manner comes first. Raises DataError for data that cannot be used or of
    which nothing is held out, and SettingError for a manner that no photograph has.
    """
    files = [read_captions(*paths, flags.skip_bad) for paths in flags.also]
    sets = set_manners([file.photographs for file in files], flags.manners)
    names = name_sets([captions for captions, _ in flags.also])
    groups = list[Group]()
    for (captions, _), name, photographs in zip(flags.also, names, sets, strict=True):
        splits = split_photographs(photographs)
        if not splits.held_out:
            raise DataError(
                f"{captions}: none of its photographs is held out, so there is nothing to score; "
                "add photographs, or leave that --also out"
            )
        groups += _groups(name, splits.held_out, splits.source, flags.limit)
    remarks = [remark for file in files for remark in file.remarks]
    return tuple(groups), [*remarks, *(group.describe() for group in groups)]


def _groups(
    name: str, photographs: Sequence[Photograph], source: str, limit: int | None
) -> Iterator[Group]:
    """A data set's photographs by manner, the first ``limit`` of each."""
    for manner in sorted({photo.manner for photo in photographs}):  # "" first
        chosen = tuple(photo for photo in photographs if photo.manner == manner)
        yield Group(f"{name}, {manner}" if manner else name, chosen[:limit], source)


def caption_groups(captioner: Captioner, groups: Sequence[Group]) -> list[CaptionedGroup]:
    """Caption all photographs, and choose examples of the first group.

    Raises ImageError for a photograph that cannot be read.
    """
    captioned = list[CaptionedGroup]()
    for group in groups:
        captions = list(_captions(captioner, group))
        examples = [] if captioned else list(_examples(captioner, group, captions))
        texts = [caption.text for caption in captions]
        captioned.append(CaptionedGroup(group, texts, examples))
    return captioned


def _captions(captioner: Captioner, group: Group) -> Iterator[Caption]:
    shown = tqdm(group.photographs, desc=group.name, unit="photograph", disable=None)
    for caption in captioner.stream((photo.path for photo in shown), batch_size=_BATCH):
        if isinstance(caption, Failure):
            raise ImageError(caption.reason)
        yield caption


def _examples(captioner: Captioner, group: Group, captions: Sequence[Caption]) -> Iterator[Example]:
    """Photographs at even distances in the group, whatever their captions score."""
    count = len(captions)
    for index in np.linspace(0, count - 1, min(EXAMPLES, count)).round().astype(int).tolist():
        photograph, caption = group.photographs[index], captions[index]
        if not caption.words:
            continue
        word = opening_word(caption.words)
        yield Example(
            picture=read_photo(photograph.path, near=PHOTO_SIDE),
            caption=caption.sentence,
            word=caption.words[word],
            attention=caption.attention[word],
            evidence=captioner.explain(caption, photograph.path).maps("evidence")[word],
            references=photograph.captions,
        )


def score_groups(
    groups: Sequence[CaptionedGroup], others: Sequence[CaptionedGroup] = ()
) -> list[dict[str, Any]]:
    """The section "other sets" of a result, in plain types.

    ``others`` are the same groups captioned by another model, to be compared with.
    """
    compared = {other.group.name: other.statistics() for other in others}
    return [_score(each, compared.get(each.group.name)) for each in groups]


def _score(captioned: CaptionedGroup, other: Mapping[str, Statistic] | None) -> dict[str, Any]:
    group, statistics = captioned.group, captioned.statistics()
    part: dict[str, Any] = {
        "name": group.name,
        "photographs": len(group.photographs),
        "references per image": references_per_image([p.captions for p in group.photographs]),
        "split source": group.source,
        **with_intervals(statistics),
    }
    if other is not None:
        part["against"] = {"metrics": compare_statistics(statistics, other)}
    return part
