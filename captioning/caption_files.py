"""Caption files: which photographs there are, and what people said of them."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from captioning.vocab import tokenize

# Flickr8k.token.txt as published has five captions for a photograph that was never part of it.
ORPHANS = frozenset({"2258277193_586949ec62.jpg.1"})


class DataError(ValueError):
    """A caption file or data set that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Photograph:
    """One photograph of a data set: its name in the caption file, its file, its captions."""

    name: str
    path: Path
    captions: tuple[str, ...]

    @property
    def references(self) -> list[list[str]]:
        """The captions as tokens."""
        return [tokenize(caption) for caption in self.captions]


@dataclass(frozen=True)
class CaptionFile:
    """The photographs of a caption file, in its order, and remarks that its user should hear."""

    photographs: tuple[Photograph, ...]
    remarks: tuple[str, ...] = ()


class _Row(NamedTuple):
    line: int
    image: str
    caption: str


class _Problem(NamedTuple):
    line: int
    text: str


def read_captions(captions: Path, images: Path | None, skip_bad: bool = False) -> CaptionFile:
    """Read a caption file whose photographs lie in the folder ``images``; None if not needed.

    Formats, told apart by looking: Kaggle's ``captions.txt`` (CSV with the header
    ``image,caption``) and the original ``Flickr8k.token.txt`` (``name.jpg#0<tab>caption``).
    Raises DataError for anything that is wrong with it; with ``skip_bad``, bad rows and missing
    photographs are left out and counted in the remarks.
    """
    text = _read_text(captions)
    rows, problems = _parse(text, captions)
    orphans = sum(row.image in ORPHANS for row in rows)
    rows = [row for row in rows if row.image not in ORPHANS]
    if images is not None:
        rows, missing = _split_missing(rows, images)
        problems += missing
    problems.sort()
    if problems and not skip_bad:
        raise DataError(_describe(problems, captions))
    if not rows:
        raise DataError(
            f"{captions}: no caption in it has a photograph in {images}; check both paths"
            if images is not None
            else f"{captions}: there is no caption in it; name another file"
        )
    remarks = []
    if problems:
        remarks.append(f"{captions}: left out {len(problems)} bad rows")
    if orphans:
        remarks.append(f"{captions}: left out {orphans} captions of a photograph never published")
    return CaptionFile(_group(rows, images or Path()), tuple(remarks))


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such caption file; put the data set there or name another place"
        ) from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a folder; name the caption file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    if not text.strip():
        raise DataError(f"{path}: the caption file is empty; download it again")
    return text


def _parse(text: str, path: Path) -> tuple[list[_Row], list[_Problem]]:
    # Not splitlines(), which would end a row at a U+2028 inside a caption too.
    lines = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    number, first = lines[0]
    if "\t" in first and "#" in first.split("\t")[0]:
        return _parse_token_file(lines)
    if [cell.strip(' "') for cell in first.split(",")] == ["image", "caption"]:
        return _parse_csv(lines[1:])
    raise DataError(
        f"{path}, line {number}: {first[:60]!r} is neither the header 'image,caption' of Kaggle's "
        "captions.txt nor a line 'name.jpg#0<tab>caption' of Flickr8k.token.txt; "
        "write one of these formats"
    )


def _parse_csv(lines: list[tuple[int, str]]) -> tuple[list[_Row], list[_Problem]]:
    rows: list[_Row] = []
    problems: list[_Problem] = []
    for number, line in lines:
        # Line by line, or a quote left open would make one caption of all the rows after it.
        try:
            cells = next(csv.reader([line]))
        except csv.Error as error:
            problems.append(_Problem(number, f"cannot be read ({error})"))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        # Some copies leave commas of the caption unquoted: what follows the name is the caption.
        image, caption = cells[0].strip(), ",".join(cells[1:]).strip()
        _sort_row(_Row(number, image, caption), rows, problems)
    return rows, problems


def _parse_token_file(lines: list[tuple[int, str]]) -> tuple[list[_Row], list[_Problem]]:
    rows: list[_Row] = []
    problems: list[_Problem] = []
    for number, line in lines:
        key, _, caption = line.partition("\t")
        image, mark, _ = key.rpartition("#")
        _sort_row(_Row(number, image.strip() if mark else "", caption.strip()), rows, problems)
    return rows, problems


def _sort_row(row: _Row, rows: list[_Row], problems: list[_Problem]) -> None:
    if not row.image:
        problems.append(_Problem(row.line, "has no image name"))
    elif not tokenize(row.caption):
        problems.append(_Problem(row.line, f"has no caption for {row.image}"))
    else:
        rows.append(row)


def _split_missing(rows: list[_Row], images: Path) -> tuple[list[_Row], list[_Problem]]:
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder of photographs; name the right one")
    # Not Path.is_file(), which raises OSError for a name too long to be one.
    present = {name: os.path.isfile(images / name) for name in {row.image for row in rows}}
    missing = [
        _Problem(row.line, f"names {row.image}, which is not in {images}")
        for row in rows
        if not present[row.image]
    ]
    return [row for row in rows if present[row.image]], missing


def _describe(problems: list[_Problem], path: Path) -> str:
    first, count = problems[0], len(problems)
    others = f" ({count} such rows in all)" if count > 1 else ""
    return f"{path}, line {first.line}: {first.text}{others}; mend it, or pass --skip-bad to go on"


def _group(rows: list[_Row], images: Path) -> tuple[Photograph, ...]:
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row.image, []).append(row.caption)
    return tuple(Photograph(name, images / name, tuple(own)) for name, own in captions.items())
