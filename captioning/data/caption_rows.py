"""The rows of a caption file, whatever its format, and what is wrong with the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from captioning.errors import CaptioningError

WRITE_NAME = "write the image's name or id there"
WRITE_CAPTION = 'write a text there, "" for an empty caption'
_MAX_SHOWN = 80  # characters of a name or a value in a message


class DataError(CaptioningError):
    """A caption file or data set that cannot be used; the message says what to do."""


class Row(NamedTuple):
    """One caption of one image, both as written in the file."""

    number: int  # of its line, entry, sentence or annotation
    image: str
    caption: str
    split: str = ""


class Problem(NamedTuple):
    """What is wrong with a row, and what to do about it."""

    number: int
    text: str
    remedy: str


@dataclass
class Rows:
    """The rows of a file that can be read, and the problems of the others, both in its order.

    ``unit`` is what their numbers count: "line", "entry", "sentence" or "annotation".
    """

    unit: str
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, number: int, image: str, caption: str, split: str = "") -> None:
        """Add a row; without an image name it is a problem."""
        if image.strip():
            self.rows.append(Row(number, image, caption, split))
        else:
            self.reject(number, "has no image name", WRITE_NAME)

    def reject(self, number: int, text: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(number, text, remedy))


def describe_problems(
    problems: Sequence[Problem], path: Path, unit: str, remedy: str | None = None
) -> str:
    """One sentence with the first problem and the number of all.

    ``remedy`` replaces the problem's own.
    """
    first, count = problems[0], len(problems)
    total = f" ({count:,} bad rows in all)" if count > 1 else ""
    return f"{path}, {unit} {first.number}: {first.text}{total}; {remedy or first.remedy}"


def shorten(text: str) -> str:
    """A name or a value for a message: on one line, and not too long."""
    line = text if text.isprintable() else repr(text)[1:-1]
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def count_noun(count: int, noun: str) -> str:
    """A number with its noun: "1 cell", "1,500 images"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
