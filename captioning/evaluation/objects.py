"""Objects that a caption names and no reference does: inventions, or what nobody else mentioned.

After CHAIR (Rohrbach et al. 2018, "Object Hallucination in Image Captioning"), for any captions
like Flickr8k's. The words are the concrete, visible nouns of its training captions; those that mean
the same, or of which one is a kind of the other, share a category in ``objects.json``.

CHAIR has for its truth what people drew and named in COCO: an object is there if it was outlined
*or* some reference names it. Here there are references alone, so an object that is there and that
none of five people thought worth a word counts as invented. The rates are upper bounds; how high
they are for people, each against the others, says how far they are to be believed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import NamedTuple

_INCLUDE = "@"  # "@man" among a category's words stands for all words of the category "man"


class ObjectCounts(NamedTuple):
    """What one image's caption adds to both rates.

    CHAIR-s is the share of captions that name an unsupported object: those with ``unsupported``
    above 0 by all of them. CHAIR-i is the share of the objects named that are unsupported: the
    sums over images of ``unsupported`` and ``named``, divided once, as in the original. There an
    object counts as often as it is mentioned; here a word counts once a caption.
    """

    named: int  # distinct object words of the caption
    unsupported: int  # of these


@dataclass(frozen=True)
class ObjectWords:
    """Which words name objects, and what each may be called otherwise.

    A word of ``categories`` is one word, or several with spaces between ("tank top"); each has the
    categories that it belongs to. A reference supports a word if it has one that shares a category
    with it. That is symmetric but not transitive: "person" supports "man" and "woman", and they do
    not support each other. Raises ValueError for a word without a category.
    """

    categories: Mapping[str, frozenset[str]] = field(repr=False)

    def __post_init__(self) -> None:
        if not all(self.categories.values()):
            raise ValueError("every object word must belong to a category")

    @classmethod
    def load(cls) -> "ObjectWords":
        """The words that ship with the package."""
        return _packaged()

    @classmethod
    def from_lists(cls, lists: Mapping[str, Sequence[str]]) -> "ObjectWords":
        """Turn the words of each category into the categories of each word.

        Raises ValueError when a category includes itself, or one that does not exist.
        """
        categories: dict[str, set[str]] = {}
        for name in lists:
            for word in _words(name, lists):
                categories.setdefault(word, set()).add(name)
        return cls({word: frozenset(names) for word, names in categories.items()})

    def named(self, tokens: Sequence[str]) -> list[str]:
        """The distinct object words of a caption, in order.

        Where a word is part of a longer one only the longer one counts, as in CHAIR: there is no
        dirt in "dirt bike" and no dog in "hot dog".
        """
        return list(dict.fromkeys(self._matches(tokens)))

    def unsupported(self, tokens: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
        """The distinct object words of a caption that no reference supports, in order.

        Raises ValueError without a reference.
        """
        if len(references) == 0:
            raise ValueError("every image needs at least one reference caption, and one has none")
        words = {word for reference in references for word in self._matches(reference)}
        there = set().union(*[self.categories[word] for word in words])
        return [word for word in self.named(tokens) if there.isdisjoint(self.categories[word])]

    def count(self, tokens: Sequence[str], references: Sequence[Sequence[str]]) -> ObjectCounts:
        """What one image adds to CHAIR-s and CHAIR-i. Raises ValueError without a reference."""
        return ObjectCounts(len(self.named(tokens)), len(self.unsupported(tokens, references)))

    def _matches(self, tokens: Sequence[str]) -> Iterator[str]:
        """The object words of a caption, from left to right, the longest at each place."""
        place = 0
        while place < len(tokens):
            word = self._longest_at(tokens, place)
            if word:
                yield word
            place += word.count(" ") + 1

    def _longest_at(self, tokens: Sequence[str], place: int) -> str:
        """The longest object word that begins at a place, "" if none does."""
        for length in range(self._most_tokens, 0, -1):
            word = " ".join(tokens[place : place + length])
            if word in self.categories:
                return word
        return ""

    @cached_property
    def _most_tokens(self) -> int:
        return max((word.count(" ") + 1 for word in self.categories), default=0)


@cache
def _packaged() -> ObjectWords:
    text = resources.files("captioning.evaluation").joinpath("objects.json").read_text("utf-8")
    return ObjectWords.from_lists(json.loads(text))


def _words(
    name: str, lists: Mapping[str, Sequence[str]], within: tuple[str, ...] = ()
) -> Iterator[str]:
    """The words of a category, with those of the categories that it includes."""
    if name not in lists or name in within:
        raise ValueError(f"the category {name!r} is included, but does not exist or is a circle")
    for entry in lists[name]:
        if entry.startswith(_INCLUDE):
            yield from _words(entry.removeprefix(_INCLUDE), lists, (*within, name))
        else:
            yield entry
