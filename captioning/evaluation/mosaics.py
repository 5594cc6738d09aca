"""Mosaics: a photograph of dogs and one of people side by side as one picture.

On a mosaic it is known, without boxes drawn by hand, which half a word should point to. After the
grid pointing game (Boehle, Fritz and Schiele, CVPR 2021, "Convolutional Dynamic Alignment Networks
for Interpretable Classifications", section 4.2). Nothing is trained on mosaics.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.data.images import read_photo
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.uncertainty import Array

PAIRS = 60
DOG, PERSON = "dog", "person"
KINDS = (DOG, PERSON)
SIDE = 224  # pixels of each half
_REQUIRED_SHARE = 0.8  # of the references, four of five, must name what a photograph shows
_DOGS = frozenset({"dog", "dogs"})  # in references; what counts in captions is in ``kind_of``
# Categories of objects.json; words of "animal" name others than dogs too.
_CATEGORIES = {DOG: frozenset({DOG}), PERSON: frozenset({"people", "man", "woman"})}
_NEITHER = "animal"


class Mosaic(NamedTuple):
    """Two photographs as one picture.

    ``pair`` numbers the two photographs, which four mosaics share: ``vertical`` ones have one above
    the other and the others have them side by side, with the dogs first or the people.
    """

    pair: int
    dog: Photograph
    person: Photograph
    vertical: bool
    dog_first: bool

    def picture(self) -> Image.Image:
        """The mosaic, RGB; raises ImageError where a photograph cannot be read."""
        photographs = (self.dog, self.person) if self.dog_first else (self.person, self.dog)
        halves = [read_photo(each.path, near=SIDE).resize((SIDE, SIDE)) for each in photographs]
        second = (0, SIDE) if self.vertical else (SIDE, 0)
        picture = Image.new("RGB", (SIDE + second[0], SIDE + second[1]))
        picture.paste(halves[0], (0, 0))
        picture.paste(halves[1], second)
        return picture

    def half(self, kind: str, shape: tuple[int, int]) -> Array:
        """How much of each cell of a grid (h, w) lies on a kind's half: 1, 0, or 0.5 in the middle.

        Only an odd number of rows or columns has a middle.
        """
        cells = shape[0] if self.vertical else shape[1]
        twice_the_distance = np.sign(cells - 1 - 2 * np.arange(cells))  # 1 in the first half
        first = (1 + twice_the_distance) / 2
        share = first if (kind == DOG) == self.dog_first else 1 - first
        return np.broadcast_to(share[:, None] if self.vertical else share, shape)


class MosaicExample(NamedTuple):
    """A mosaic to show: its ``picture``, its ``caption`` as a sentence, and one word with its maps.

    The ``word`` names a ``kind``; ``attention`` and ``evidence`` are its maps (h, w).
    """

    picture: Image.Image
    caption: str
    word: str
    kind: str
    attention: NDArray[np.float32]
    evidence: NDArray[np.float32]


@cache
def words_of(kind: str) -> frozenset[str]:
    """The words that name a dog, or a person, in objects.json."""
    return frozenset(
        word
        for word, categories in ObjectWords.load().categories.items()
        if categories & _CATEGORIES[kind] and _NEITHER not in categories
    )


def kind_of(word: str) -> str | None:
    """What a word names: a dog, a person, or neither."""
    return next((kind for kind in KINDS if word in words_of(kind)), None)


def choose_mosaics(
    photographs: Sequence[Photograph], pairs: int = PAIRS, seed: int = 0
) -> list[Mosaic]:
    """Up to ``pairs`` random pairs of a dog photograph and one of people, four mosaics each.

    At least four of five references of a dog photograph have "dog" or "dogs" and none a word for a
    person; at least four of five of the other have a word for a person and none "dog" or "dogs".
    """
    tokens = [[set(ptb_tokenize(text)) for text in photo.captions] for photo in photographs]
    people = words_of(PERSON)
    groups = [
        [
            photograph
            for photograph, texts in zip(photographs, tokens, strict=True)
            if _shows(texts, wanted, unwanted)
        ]
        for wanted, unwanted in ((_DOGS, people), (people, _DOGS))
    ]
    random = np.random.default_rng(seed)
    shuffled = [[group[i] for i in random.permutation(len(group)).tolist()] for group in groups]
    return [
        Mosaic(pair, dog, person, vertical, dog_first)
        for pair, (dog, person) in enumerate(list(zip(*shuffled, strict=False))[:pairs])
        for vertical in (False, True)
        for dog_first in (True, False)
    ]


def _shows(
    references: Sequence[set[str]], wanted: Collection[str], unwanted: Collection[str]
) -> bool:
    """Whether enough references have a wanted word, and none an unwanted one."""
    naming = sum(not text.isdisjoint(wanted) for text in references)
    enough = naming >= _REQUIRED_SHARE * len(references)
    return enough and all(text.isdisjoint(unwanted) for text in references)
