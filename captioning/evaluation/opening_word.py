"""The word of a caption whose map is shown first."""

from collections.abc import Sequence

from captioning.data.function_words import FUNCTION_WORDS
from captioning.evaluation.objects import ObjectWords


def opening_word(words: Sequence[str]) -> int:
    """The index of the word to show first: an object if there is one, or else a content word."""
    first = ObjectWords.load().first(words)
    if first is not None:
        return first
    return next((index for index, word in enumerate(words) if word not in FUNCTION_WORDS), 0)
