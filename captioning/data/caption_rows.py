"""The rows of a caption file, whatever its format, and what is wrong with the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from captioning.data.image_names import is_file_name
from captioning.errors import CaptioningError

WRITE_NAME = "write the image's name or id there"
WRITE_CAPTION = 'write a text there, "" for an empty caption'
# What files call an image and its caption, the surest first. An "image_id" beside one of the others
# is an id and no name.
IMAGE_KEYS = ("file", "image", "file_name", "filename", "image_name", "image_file", "image_path")
ID_KEY = "image_id"
CAPTION_KEYS = ("caption", "text", "comment", "description")
ERROR_KEY = "error"  # why there is no caption
_LONGEST_NAME = 4096  # characters: no file has a longer path
_MAX_SHOWN = 80  # characters of a name or a value in a message


class DataError(CaptioningError):
    """A caption file or data set that cannot be used; the message says what to do."""


class ImageId(NamedTuple):
    """An id that a file gives an image, and under which name: "image_id", "id", "cocoid", "imgid".

    ``value`` is as written, but for leading zeros of a number.
    """

    kind: str
    value: str

    @classmethod
    def of(cls, kind: str, value: object) -> "ImageId":
        """The id of any value that JSON has for one."""
        text = str(value)
        digits = text.isascii() and text.isdigit()
        return cls(kind, (text.lstrip("0") or "0") if digits else text)


class Row(NamedTuple):
    """One caption of one image, both as written in the file.

    An image that has nothing but an id has it as its name too.
    """

    number: int  # of its line, entry, sentence or annotation
    image: str
    caption: str
    split: str = ""
    ids: tuple[ImageId, ...] = ()


class Problem(NamedTuple):
    """What is wrong with a row, and what to do about it."""

    number: int
    text: str
    remedy: str


@dataclass
class Rows:
    """The rows of a file that can be read, and the problems of the others, both in its order.

    ``unit`` is what their numbers count: "line", "entry", "sentence" or "annotation". ``failures``
    is how many rows say that an image could not be captioned. ``names`` tells what names of images
    may have that is not the photograph's: "padded" blanks around them, "paths" the folders of the
    machine that wrote them, and "exact" nothing.
    """

    unit: str
    names: Literal["exact", "padded", "paths"] = "exact"
    failures: int = 0
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Add a row; without an image name it is a problem."""
        if not row.image.strip():
            self.reject(row.number, "has no image name", WRITE_NAME)
        elif not is_file_name(row.image):
            text = f"has half a character in the name {shorten(row.image)}"
            self.reject(row.number, text, "fix that name")
        elif len(row.image) > _LONGEST_NAME:
            text = f"has a name of {len(row.image):,} characters, {shorten(row.image)}"
            self.reject(row.number, text, "fix that name")
        else:
            self.rows.append(row)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a user should know of the rows that say why there is no caption."""
        if not self.failures:
            return ()
        return (f"left out {count_noun(self.failures, 'photograph')} that could not be captioned",)

    def reject(self, number: int, text: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(number, text, remedy))


def plain_key(text: str) -> str:
    """A column's name or an object's key, whatever its case and its blanks: "File Name"."""
    return "_".join(text.casefold().replace("-", " ").replace("_", " ").split())


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
