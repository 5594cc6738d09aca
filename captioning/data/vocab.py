"""Words and their ids: one tokenisation rule, its inverse, and the vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from captioning.data.function_words import FUNCTION_WORDS
from captioning.data.scripts import MARKS, WORD, WORD_GOES_ON, normalized
from captioning.errors import SettingError

PAD, START, END, UNK = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")


@dataclass(frozen=True)
class Tokens:
    """The ids that decoding must know: where captions start and end, and what they never hold."""

    start: int
    end: int
    never: tuple[int, ...]  # must include <start>
    repeatable: tuple[int, ...] = ()  # function words, which captions repeat as they need


# Of the default manner, in a vocabulary without others: see ``Vocabulary.tokens``.
TOKENS = Tokens(start=START, end=END, never=(PAD, START, UNK))

_MANNER = re.compile(r"[a-z]+")


# A word is letters or digits with their marks, joined inside by hyphens, dots, commas or
# apostrophes ("t-shirt", "u.s", "1,000"). A clitic ("'s", "n't") is a token of its own, as in the
# Penn Treebank, so that "man" and "man's" share a word. It ends where the word does, or where
# another "n't" begins.
def _patterns(letter: str, word: str, goes_on: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The patterns of a clitic behind a word and of a token.

    ``letter`` says what stands before a clitic, ``word`` is a word without joints, and ``goes_on``
    what a word that does not end goes on with.
    """
    # All that follow one another are matched at once, those that a word goes on from too: to look
    # ahead from each would take time by the square of their number.
    several = rf"(?P<several>(?:n't)++)(?!{goes_on})|(?:n't)++"
    one = rf"(?P<one>'(?:s|m|d|ll|re|ve))(?=(?:n't)*+(?!{goes_on}))"
    clitic = rf"{letter}(?:{several}|{one})"
    ending = rf"(?:n't|'(?:s|m|d|ll|re|ve))(?!{goes_on})"
    return re.compile(clitic), re.compile(rf"{ending}|{word}(?:[-.,'&]{word})*")


_OF_ANY_SCRIPT = _patterns(rf"(?:(?<=[^\W_])|(?<=[{MARKS}]))", WORD, WORD_GOES_ON)
_OF_ASCII = _patterns(r"(?<=[^\W_])", r"[^\W_]+", r"[^\W_]")  # the same, in a third of the time
_CLITIC_TOKENS = frozenset({"n't", "'s", "'m", "'d", "'ll", "'re", "'ve"})
_SIDES = {"left": "right", "right": "left"}


def tokenize(text: str) -> list[str]:
    """Split a caption into lower-case tokens in the normal form NFC, without punctuation.

    The result is a fixed point: ``tokenize(" ".join(tokens)) == tokens``. Follows the Penn
    Treebank convention that coco-caption scores with, for the text that captions are made of.
    """
    if not text.isascii():
        text = normalized(normalized(text).lower())
    text = text.lower().replace("\u2019", "'").replace("`", "'")
    clitic, token = _OF_ASCII if text.isascii() else _OF_ANY_SCRIPT
    return token.findall(clitic.sub(_set_apart, text))


def _set_apart(clitic: re.Match[str]) -> str:
    """Clitics with blanks around them."""
    if clitic["several"]:
        return clitic["several"].replace("n't", " n't ")
    return f" {clitic['one']} " if clitic["one"] else clitic[0]


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


def is_manner(name: str) -> bool:
    """Whether a manner of captions can have this name: a plain word that is no special token's."""
    return bool(_MANNER.fullmatch(name)) and manner_token(name) not in SPECIAL_TOKENS


def manner_token(manner: str) -> str:
    """The token that captions of a manner start with: "<web>", which ``tokenize`` never gives."""
    return f"<{manner}>" if manner else SPECIAL_TOKENS[START]


@dataclass(frozen=True)
class Vocabulary:
    """The words that the decoder can write; a word's id is its index in ``words``.

    The first four are the special tokens. A token such as "<web>" after them stands for a manner of
    captions, and captions of that manner start with it. Raises ValueError if the special tokens
    are not the first, or if a word occurs twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS:
            raise ValueError(f"a vocabulary must begin with {', '.join(SPECIAL_TOKENS)}")
        if len(set(self.words)) != len(self.words):
            raise ValueError("a vocabulary must not hold a word twice")

    @classmethod
    def build(
        cls,
        captions: Iterable[Sequence[str]],
        min_count: int = 5,
        required: Iterable[str] = (),
        manners: Iterable[str] = (),
    ) -> "Vocabulary":
        """Collect the words that occur at least ``min_count`` times, most frequent first.

        Words that are ``required`` are among them whatever their count; the tokens of ``manners``
        come before all words. Words of equal count are in alphabetical order, so the same captions
        in any order give the same ids.
        """
        counts = Counter(token for caption in captions for token in caption)
        starts = tuple(manner_token(manner) for manner in dict.fromkeys(manners) if manner)
        kept = {word for word, count in counts.items() if count >= min_count} | set(required)
        words = sorted(kept.difference(starts), key=lambda word: (-counts[word], word))
        return cls((*SPECIAL_TOKENS, *starts, *words))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def manners(self) -> tuple[str, ...]:
        """The manners of captions other than the default one, in the order of their tokens."""
        names = (word[1:-1] for word in self.words if word.startswith("<"))
        return tuple(name for name in names if is_manner(name) and manner_token(name) in self.ids)

    def tokens(self, manner: str = "") -> Tokens:
        """What decoding must know to caption in a manner; "" is the default one.

        Raises SettingError for a manner that the vocabulary does not have.
        """
        if manner and manner not in self.manners:
            known = ", ".join(self.manners) or "none but the default one"
            raise SettingError(f"the model knows no manner '{manner}'; it knows {known}")
        starts = (self.ids[manner_token(each)] for each in self.manners)
        return Tokens(
            start=self.ids[manner_token(manner)],
            end=END,
            never=(*TOKENS.never, *starts),
            repeatable=tuple(self.ids[word] for word in sorted(FUNCTION_WORDS & self.ids.keys())),
        )

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Turn tokens into ids, unknown words into ``UNK``; adds no ``<start>`` or ``<end>``."""
        return [self.ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Turn ids into tokens."""
        return [self.words[index] for index in ids]
