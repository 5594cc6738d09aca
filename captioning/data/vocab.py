"""Words and their ids: one tokenisation rule, its inverse, and the vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")


@dataclass(frozen=True)
class Tokens:
    """The ids that decoding must know: where captions start and end, and what they never hold."""

    start: int
    end: int
    never: tuple[int, ...]  # must include <start>


TOKENS = Tokens(start=START, end=END, never=(PAD, START, UNK))

# A word is letters or digits, joined inside by hyphens, dots, commas or apostrophes ("t-shirt",
# "u.s", "1,000"). A clitic ("'s", "n't") is a token of its own, as in the Penn Treebank, so that
# "man" and "man's" share a word. It ends where the word does, or where another "n't" begins.
_CLITIC = re.compile(r"(?<=[^\W_])(?:(n't)|('(?:s|m|d|ll|re|ve)))(?=(?:n't)*(?![^\W_]))")
_TOKEN = re.compile(r"n't(?![^\W_])|'(?:s|m|d|ll|re|ve)(?![^\W_])|[^\W_]+(?:[-.,'&][^\W_]+)*")
_CLITIC_TOKENS = frozenset({"n't", "'s", "'m", "'d", "'ll", "'re", "'ve"})
_SIDES = {"left": "right", "right": "left"}


def tokenize(text: str) -> list[str]:
    """Split a caption into lower-case tokens, without punctuation.

    The result is a fixed point: ``tokenize(" ".join(tokens)) == tokens``. Follows the Penn
    Treebank convention that coco-caption scores with, for the text that captions are made of.
    """
    text = text.lower().replace("\u2019", "'").replace("`", "'")
    return _TOKEN.findall(_CLITIC.sub(r" \1\2 ", text))


def detokenize(tokens: Iterable[str]) -> str:
    """Join tokens to English: the inverse of ``tokenize`` ("a man 's dog" -> "a man's dog")."""
    text = ""
    for token in tokens:
        space = "" if not text or token in _CLITIC_TOKENS else " "
        text += space + token
    return text


def swap_sides(tokens: Iterable[str]) -> list[str]:
    """Swap left and right, also in "left-handed": the caption of the mirrored photograph."""
    return ["-".join(_SIDES.get(part, part) for part in token.split("-")) for token in tokens]


@dataclass(frozen=True)
class Vocabulary:
    """The words that the decoder can write; a word's id is its index in ``words``.

    The first four are the special tokens. Raises ValueError if they are not, or if a word occurs
    twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(f"a vocabulary must begin with {', '.join(SPECIAL_TOKENS)}")
        if len(set(self.words)) != len(self.words):
            raise ValueError("a vocabulary must not hold a word twice")

    @classmethod
    def build(cls, captions: Iterable[Sequence[str]], min_count: int = 5) -> "Vocabulary":
        """Collect the words that occur at least ``min_count`` times, most frequent first.

        Words of equal count are in alphabetical order, so the same captions in any order give
        the same ids.
        """
        counts = Counter(token for caption in captions for token in caption)
        kept = [word for word, count in counts.items() if count >= min_count]
        return cls((*SPECIAL_TOKENS, *sorted(kept, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.words)}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Turn tokens into ids, unknown words into ``UNK``; adds no ``<start>`` or ``<end>``."""
        return [self.ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Turn ids into tokens."""
        return [self.words[index] for index in ids]
