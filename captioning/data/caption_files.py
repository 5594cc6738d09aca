"""Caption files to train on or to compare with: which photographs there are, and their captions."""

import os
from dataclasses import dataclass
from pathlib import Path

from captioning.data.caption_formats import read_rows
from captioning.data.caption_rows import DataError, Problem, Row, describe_problems, shorten
from captioning.data.image_names import last_number
from captioning.data.vocab import tokenize

__all__ = ["CaptionFile", "DataError", "Photograph", "read_captions"]

# Flickr8k.token.txt as published has five captions for a photograph that was never part of it.
_ORPHANS = frozenset({"2258277193_586949ec62.jpg.1"})
_FIX = "fix it"  # whatever it is: a problem's own remedy may be one for captions to be scored


@dataclass(frozen=True)
class Photograph:
    """One photograph of a data set: its name in the caption file, its file, its captions.

    ``split`` is the caption file's own: "train", "dev", "test", or empty. ``manner`` is that in
    which the captions are written; empty is the default one (``Vocabulary.manners``).
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = ""
    manner: str = ""

    @property
    def references(self) -> list[list[str]]:
        """The captions as tokens."""
        return [tokenize(caption) for caption in self.captions]


@dataclass(frozen=True)
class CaptionFile:
    """The photographs of a caption file, in its order, and remarks that its user should read."""

    photographs: tuple[Photograph, ...]
    remarks: tuple[str, ...] = ()


def read_captions(captions: Path, images: Path | None, skip_bad: bool = False) -> CaptionFile:
    """Read a caption file whose photographs lie in the folder ``images``; None if not needed.

    The formats are those of ``caption_formats``. An image that the file names by a number alone,
    as COCO's results do, is the one whose file name ends in that number.

    Raises DataError for anything that is wrong with it; with ``skip_bad``, bad rows and missing
    photographs are left out and counted in the remarks.
    """
    parsed = read_rows(captions)
    published = [row for row in parsed.rows if row.image not in _ORPHANS]
    rows, problems = _split_empty(published)
    if images is not None:
        rows, missing = _split_missing(rows, images)
        problems += missing
    problems = sorted(parsed.problems + problems)
    if problems and not skip_bad:
        remedy = "fix it, or pass --skip-bad to go on"
        raise DataError(describe_problems(problems, captions, parsed.unit, remedy))
    if not rows:
        raise DataError(
            f"{captions}: no caption in it has a photograph in {images}; check both paths"
            if images is not None
            else f"{captions}: there is no caption in it; name another file"
        )
    remarks = []
    if problems:
        remarks.append(f"{captions}: left out {len(problems)} bad rows")
    if orphans := len(parsed.rows) - len(published):
        remarks.append(f"{captions}: left out {orphans} captions of a photograph never published")
    return CaptionFile(_group(rows, images or Path()), tuple(remarks))


def _split_empty(rows: list[Row]) -> tuple[list[Row], list[Problem]]:
    """The rows whose captions have words, without the blanks around them, and the others."""
    rows = [row._replace(image=row.image.strip(), caption=row.caption.strip()) for row in rows]
    empty = [not tokenize(row.caption) for row in rows]
    problems = [
        Problem(row.number, f"has no caption for {shorten(row.image)}", _FIX)
        for row, is_empty in zip(rows, empty, strict=True)
        if is_empty
    ]
    return [row for row, is_empty in zip(rows, empty, strict=True) if not is_empty], problems


def _split_missing(rows: list[Row], images: Path) -> tuple[list[Row], list[Problem]]:
    """The rows whose photographs are in the folder, under their names there, and the others."""
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder of photographs; name the right one")
    names = _find_files({row.image for row in rows}, images)
    missing = [
        Problem(row.number, f"names {shorten(row.image)}, which is not in {images}", _FIX)
        for row in rows
        if row.image not in names
    ]
    return [row._replace(image=names[row.image]) for row in rows if row.image in names], missing


def _find_files(images: set[str], folder: Path) -> dict[str, str]:
    """The file name of each image that has a file in the folder."""
    # Not Path.is_file(), which raises OSError for a name too long to be one.
    names = {image: image for image in images if os.path.isfile(folder / image)}
    ids = [image for image in images - names.keys() if image.isascii() and image.isdigit()]
    if ids:
        files: dict[str, list[str]] = {}
        for name in os.listdir(folder):
            files.setdefault(last_number(name), []).append(name)
        for image in ids:
            matches = files.get(image.lstrip("0") or "0", [])
            if len(matches) == 1:  # never guess between several
                names[image] = matches[0]
    return names


def _group(rows: list[Row], images: Path) -> tuple[Photograph, ...]:
    """One photograph per image, with all its captions, in the order of the file."""
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row.image, []).append(row.caption)
    splits = {row.image: row.split for row in rows}
    return tuple(
        Photograph(name, images / name, tuple(texts), splits[name])
        for name, texts in captions.items()
    )
