"""What belongs to a word in any script, and scripts that put no blanks between words."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# An emoji's: what they change is how a digit or a picture looks, not a word.
_OF_EMOJI = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef\u20dd-\u20e4]")
_END_OF_SCRIPTS = 0x20000  # planes beyond have Chinese characters, and marks of emoji


def _class_of_marks() -> str:
    r"""The combining marks, which are ``\p{M}``, as the inside of a class for ``re``."""
    ranges: list[list[int]] = []
    for code in range(_END_OF_SCRIPTS):
        character = chr(code)
        if unicodedata.category(character)[0] != "M" or _OF_EMOJI.match(character):
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


# Vowel signs of Indic scripts and of Arabic and Hebrew, tones of Thai, decomposed accents. Python's
# ``\w`` has none of them.
MARKS = _class_of_marks()
_MARK = f"[{MARKS}]"
# Zero-width non-joiner and joiner: inside a word they choose between forms of letters (Persian,
# Indic scripts), elsewhere they mean nothing.
_JOINERS = "[\u200c\u200d]+"
# As many as Unicode's Stream-Safe Text Format allows on one letter (UAX #15, section 13), and more:
# to bring these into their order takes time by the square of their number.
_TOO_MANY = re.compile(rf"({_MARK}{{30}}){_MARK}+")
# What a word goes on with, for patterns that ask whether it ends here. A blank may not follow.
WORD_GOES_ON = rf"(?:[^\W_]|{_MARK}|{_JOINERS}(?:[^\W_]|{_MARK}))"
# Letters and digits with their marks.
WORD = rf"[^\W_]+(?:(?:{_MARK}|{_JOINERS}(?=[^\W_]|{_MARK}))+[^\W_]*)*"

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # Chinese
)
_LONG = {True: 3.0, False: 7.0}  # letters of a mean token, of Chinese and Japanese or of the others
_FIRST_OF_CHINESE = "\u3040"


def normalized(text: str) -> str:
    """A text in the normal form NFC, of a letter's combining marks the first thirty."""
    return text if text.isascii() else unicodedata.normalize("NFC", _TOO_MANY.sub(r"\1", text))


def has_unseparated_words(captions: Iterable[Sequence[str]]) -> bool:
    """Whether tokens of captions are whole phrases, as of Chinese, Japanese, Thai, Lao or Khmer.

    Where the words of such a language have been separated by blanks, its tokens are short.
    """
    lengths: dict[bool, list[int]] = {True: [], False: []}
    others = 0
    for token in (token for tokens in captions for token in tokens):
        letters = [each for each in token if each.isalpha()]
        unspaced = [each for each in letters if _UNSPACED.match(each)]
        if 2 * len(unspaced) > len(letters):
            lengths[unspaced[0] >= _FIRST_OF_CHINESE].append(len(unspaced))
        else:
            others += len(letters)
    found = sum(map(sum, lengths.values()))
    phrases = sum(sum(own) for kind, own in lengths.items() if own and _mean(own) > _LONG[kind])
    return 2 * phrases > found + others


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
