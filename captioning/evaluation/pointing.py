"""Do the maps point at what a word names? Measured on mosaics: see ``mosaics``.

Wherever a caption of a mosaic says a word for a dog or for a person, the map of that word should
lie on that half. The captions are the model's own, decoded freely.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioning.evaluation.mosaics import KINDS, Mosaic, MosaicExample, kind_of
from captioning.evaluation.uncertainty import Array, Statistic, averaged, ratio
from captioning.inference.captioner import Caption, Captioner

CHANCE = 0.5
FEWEST_PAIRS = 5  # fewer would be no sample to speak of
EXAMPLES = 6  # shown
_CENTRE_WIDTH = 0.25  # of the picture: standard deviation of the null
_MEASURES = ("mass", "peak")


class Pointed(NamedTuple):
    """Where the map of one word lay: its ``mass`` and its ``peak`` on the right half, 0 to 1."""

    pair: int
    kind: str
    mass: float
    peak: float


def point(mosaic: Mosaic, words: Sequence[str], maps: NDArray[np.floating]) -> Iterator[Pointed]:
    """Judge the maps (T, h, w) of a mosaic's caption where its words name a dog or a person.

    Negative values, places that speak against a word, have no mass. A map without mass counts as
    one that is the same everywhere. Several greatest values share the peak.
    """
    for word, values in zip(words, maps, strict=True):
        kind = kind_of(word)
        if kind is None:
            continue
        weights = np.clip(values.astype(np.float64), 0, None)
        if not weights.any():
            weights = np.ones_like(weights)
        half = mosaic.half(kind, (weights.shape[0], weights.shape[1]))
        mass = float((weights * half).sum() / weights.sum())
        yield Pointed(mosaic.pair, kind, mass, float(half[weights == weights.max()].mean()))


def centre_map(shape: tuple[int, int]) -> Array:
    """The null: a map (h, w) of the centre, whatever the word, a Gaussian that sums to 1."""
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in shape)
    squares = rows[:, None] ** 2 + columns[None, :] ** 2
    weights = np.exp(-squares / (2 * _CENTRE_WIDTH**2))
    shares: Array = weights / weights.sum()
    return shares


@dataclass(frozen=True)
class PointingResults:
    """How the maps of each kind pointed, word by word: ``maps`` by name, all of the same words.

    ``pairs`` and ``mosaics`` are how many there were.
    """

    pairs: int
    mosaics: int
    maps: Mapping[str, Sequence[Pointed]]

    def words(self) -> dict[str, int]:
        """How many words named each kind."""
        pointed = next(iter(self.maps.values()))
        return {kind: sum(one.kind == kind for one in pointed) for kind in KINDS}

    def statistics(self, name: str) -> dict[str, Statistic]:
        """Mass and peak of a kind of map: the mean of both kinds of words, and of each.

        They are functions of sums over pairs, because a pair's four mosaics are not independent.
        """
        by_kind = {
            f"{measure} {kind}": self._mean(name, measure, kind)
            for measure in _MEASURES
            for kind in KINDS
        }
        means = {m: averaged([by_kind[f"{m} {kind}"] for kind in KINDS]) for m in _MEASURES}
        return means | by_kind

    def _mean(self, name: str, measure: str, kind: str) -> Statistic:
        """The mean of a measure over all words of one kind."""
        sums: Array = np.zeros((2, self.pairs))
        for one in self.maps[name]:
            if one.kind == kind:
                sums[:, one.pair] += getattr(one, measure), 1
        return ratio(*sums)


def caption_mosaics(captioner: Captioner, mosaics: Iterable[Mosaic]) -> Iterator[Caption]:
    """The caption of each mosaic, with its evidence.

    Raises ImageError where a photograph cannot be read.
    """
    for caption in captioner.stream((mosaic.picture() for mosaic in mosaics), evidence=True):
        assert isinstance(caption, Caption)  # a picture in memory can always be read
        yield caption


def judge(mosaics: Sequence[Mosaic], captions: Sequence[Caption]) -> PointingResults:
    """Judge evidence, attention and the null of each mosaic's caption."""
    maps: dict[str, list[Pointed]] = {"evidence": [], "attention": [], "centre": []}
    for mosaic, caption in zip(mosaics, captions, strict=True):
        centre = np.broadcast_to(centre_map(caption.attention.shape[1:]), caption.attention.shape)
        maps["evidence"] += point(mosaic, caption.words, caption.maps("evidence"))
        maps["attention"] += point(mosaic, caption.words, caption.attention)
        maps["centre"] += point(mosaic, caption.words, centre)
    return PointingResults(1 + max(mosaic.pair for mosaic in mosaics), len(mosaics), maps)


def examples(
    mosaics: Sequence[Mosaic], captions: Sequence[Caption], count: int = EXAMPLES
) -> list[MosaicExample]:
    """The first words for a dog or a person, not chosen by how their maps point.

    One mosaic of each pair is shown, in turn one of each arrangement.
    """
    pairs = list(zip(mosaics, captions, strict=True))
    turns = pairs[::5]  # the four mosaics of a pair are adjacent
    return list(islice((one for pair in turns for one in _examples(*pair)), count))


def _examples(mosaic: Mosaic, caption: Caption) -> Iterator[MosaicExample]:
    """The first word of each kind in the caption of a mosaic."""
    kinds = [kind_of(word) for word in caption.words]
    for kind in KINDS:
        if kind in kinds:
            index = kinds.index(kind)
            yield MosaicExample(
                picture=mosaic.picture(),
                caption=caption.sentence,
                word=caption.words[index],
                kind=kind,
                attention=caption.attention[index],
                evidence=caption.maps("evidence")[index],
            )
