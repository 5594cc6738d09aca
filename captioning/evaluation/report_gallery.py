"""The report's gallery: photographs with captions and scores, and for each word its maps."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.evaluation.catalogue import OF_A_PHOTOGRAPH, format_value
from captioning.evaluation.summary import percent, typeset
from captioning.pictures import Heat, as_jpeg, data_url, heat_of, thumbnail

PHOTO_SIDE = 320  # pixels, the longer one
GROUPS = ("best", "median", "worst", "random")
_STEPS = 99  # of heat: two digits per location are finer than the eye
_SORT_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Entry:
    """One photograph of the gallery.

    ``groups`` are some of ``GROUPS``; ``photo`` is upright, None where a caption file was scored
    without photographs; ``caption`` is a sentence. ``scores`` are this photograph's, by name,
    x100: "CIDEr-D", "BLEU-4", "ROUGE-L", "caption F1"; "log-probability" is in nats and may be
    missing. ``attention`` (T, h, w) has a map for each of the T ``words``, which sums to 1;
    ``evidence``, of the same shape, is in nats; ``hallucinated`` are objects that the caption
    names and no reference does.
    """

    groups: tuple[str, ...]
    name: str
    photo: Image.Image | None
    caption: str
    references: tuple[str, ...]
    scores: Mapping[str, float]
    words: tuple[str, ...] = ()
    attention: NDArray[np.float32] | None = None
    hallucinated: tuple[str, ...] = ()
    evidence: NDArray[np.float32] | None = None


class Photo(NamedTuple):
    """A photograph as the page holds it: its address, its alternative text, its size in pixels."""

    source: str
    text: str
    width: int
    height: int


class WordMap(NamedTuple):
    """A word's map as the page holds it.

    ``steps`` has a number from 0 to 99 for each location, row by row, of which 99 is ``top``, the
    value at the end of the scale.
    """

    steps: str
    top: str


class Piece(NamedTuple):
    """A part of a caption: a word with its ``maps`` by kind, or what is between words."""

    text: str
    maps: Mapping[str, WordMap] = {}
    hallucinated: bool = False


class Card(NamedTuple):
    """What the page shows of an entry; ``columns`` are the maps', 0 without any.

    ``sort_values`` is what the page sorts by.
    """

    entry: Entry
    photo: Photo | None
    pieces: list[Piece]
    columns: int
    scores: dict[str, str]
    sort_values: dict[str, float]


def card_of(entry: Entry) -> Card:
    """Put together what the page shows of an entry."""
    scores = {name: float(entry.scores[name]) for name in OF_A_PHOTOGRAPH if name in entry.scores}
    # JSON has no infinity: without its value a photograph is sorted last.
    values = {name: round(value, _SORT_DIGITS) for name, value in scores.items() if isfinite(value)}
    return Card(
        entry=entry,
        photo=_photo(entry),
        pieces=list(_pieces(entry)),
        columns=max((maps.shape[-1] for maps in _maps(entry).values()), default=0),
        scores={name: typeset(format_value(name, value)) for name, value in scores.items()},
        sort_values=values | {"length": len(entry.words or entry.caption.split())},
    )


def _photo(entry: Entry) -> Photo | None:
    if entry.photo is None:
        return None
    small = thumbnail(entry.photo.convert("RGB"), PHOTO_SIDE)
    # Whoever cannot see the photograph judges the caption by what a person wrote about it.
    if entry.references:
        text = f"Photograph. In a person's words: {entry.references[0]}"
    else:
        text = f"Photograph {entry.name}"
    return Photo(data_url("jpeg", as_jpeg(small)), text, *small.size)


def _pieces(entry: Entry) -> Iterator[Piece]:
    """The caption cut at its words, each word with its map."""
    hallucinated = {word.lower() for word in entry.hallucinated}
    text, spans = _cut(entry.caption, entry.words or re.findall(r"\w+", entry.caption))
    position = 0
    for (start, end), shown in zip(spans, _word_maps(entry, len(spans)), strict=True):
        if start > position:
            yield Piece(text[position:start])
        yield Piece(text[start:end], shown, text[start:end].lower() in hallucinated)
        position = end
    if position < len(text):
        yield Piece(text[position:])


def _cut(text: str, words: Sequence[str]) -> tuple[str, Sequence[tuple[int, int]]]:
    """A text with the span of each word; where the text lacks one, the words replace the text."""
    spans = _spans(text, words)
    if spans is not None:
        return text, spans
    text = " ".join(words)
    return text, _spans(text, words) or ()


def _spans(text: str, words: Sequence[str]) -> list[tuple[int, int]] | None:
    """The span of each word in a text; None where other words are between them."""
    position, spans = 0, []
    for word in words:
        match = re.compile(rf"\W*?({re.escape(word)})", re.IGNORECASE).match(text, position)
        if match is None:
            return None
        spans.append(match.span(1))
        position = match.end()
    return spans


def _maps(entry: Entry) -> dict[str, NDArray[np.float32]]:
    """The maps (T, h, w) of an entry that can be shown, by kind, the evidence first."""
    maps = {"evidence": entry.evidence, "attention": entry.attention}
    return {} if entry.photo is None else {k: each for k, each in maps.items() if each is not None}


def _word_maps(entry: Entry, words: int) -> list[dict[str, WordMap]]:
    """The maps of each of the words, by kind."""
    by_word: list[dict[str, WordMap]] = [{} for _ in range(words)]
    for kind, maps in _maps(entry).items():
        for shown, of_word in zip(by_word, maps, strict=False):
            shown[kind] = _word_map(heat_of(kind, of_word))
    return by_word


def _word_map(heat: Heat) -> WordMap:
    steps = np.rint(_STEPS * heat.share()).astype(int)
    return WordMap(" ".join(map(str, steps.ravel().tolist())), percent(heat.top))
