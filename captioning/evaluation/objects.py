"""Objects that a caption names and no reference does: hallucinated, or not mentioned by others.

After CHAIR (Rohrbach et al. 2018, "Object Hallucination in Image Captioning"), for captions of
everyday photographs. The words are the concrete, visible nouns of Flickr8k's training captions, of
Flickr30k, COCO and the web, and of ImageNet's classes; those that mean the same, or of which one is
a kind of the other, share a category in ``objects.json``. Words that captions mostly use for
something else ("watch", "can", "orange", "camera" in "looks at the camera") are left out, and parts
of a body too: whoever sees a person sees hands.

The ground truth of CHAIR is COCO's: an object is there if someone outlined it *or* a reference
names it. Here there are only references, so an object that is there and that none of five people
mentioned counts as hallucinated. The rates are upper bounds; how high they are for people, each
scored against the others, shows how far to trust them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources

_INCLUDE = "@"  # "@man" among a category's words stands for all words of the category "man"


@dataclass(frozen=True)
class ObjectWords:
    """The words that name objects, and their synonyms.

    A word of ``categories`` is one word, or several with spaces between ("tank top"); each has the
    categories that it belongs to. A reference supports a word if it contains a word that shares a
    category with it. That is symmetric but not transitive: "person" supports "man" and "woman", and
    they do not support each other. Raises ValueError for a word without a category.
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
        return list(dict.fromkeys(word for _, word in self._matches(tokens)))

    def first(self, tokens: Sequence[str]) -> int | None:
        """The index of the token at which a caption's first object word begins, None without one.

        Words are told apart as by ``named``: in "a dirt bike" it is that of "dirt".
        """
        return next((position for position, _ in self._matches(tokens)), None)

    def unsupported(self, tokens: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
        """The distinct object words of a caption that no reference supports, in order.

        Raises ValueError without a reference.
        """
        if len(references) == 0:
            raise ValueError("every image needs at least one reference caption, and one has none")
        words = {word for reference in references for _, word in self._matches(reference)}
        supported = set().union(*[self.categories[word] for word in words])
        return [word for word in self.named(tokens) if supported.isdisjoint(self.categories[word])]

    def _matches(self, tokens: Sequence[str]) -> Iterator[tuple[int, str]]:
        """The object words of a caption with their positions, the longest at each, in order."""
        position = 0
        while position < len(tokens):
            word = self._longest_at(tokens, position)
            if word:
                yield position, word
            position += word.count(" ") + 1

    def _longest_at(self, tokens: Sequence[str], position: int) -> str:
        """The longest object word that begins at a position, "" if none does."""
        for length in range(self._most_tokens, 0, -1):
            word = " ".join(tokens[position : position + length])
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
    name: str, lists: Mapping[str, Sequence[str]], parents: tuple[str, ...] = ()
) -> Iterator[str]:
    """The words of a category, with those of the categories that it includes."""
    if name not in lists or name in parents:
        raise ValueError(f"the category {name!r} does not exist, or includes itself")
    for entry in lists[name]:
        if entry.startswith(_INCLUDE):
            yield from _words(entry.removeprefix(_INCLUDE), lists, (*parents, name))
        else:
            yield entry
