"""Caption files: which photographs there are, and what people said of them.

Formats are told apart by looking:

- Kaggle's ``captions.txt``, and any CSV whose header has ``image`` and ``caption``;
- ``Flickr8k.token.txt`` and ``results_20130124.token``: ``name.jpg#0<tab>caption``;
- Flickr30k's ``results.csv``: ``image_name| comment_number| comment``;
- Karpathy's ``dataset_*.json``, with its own split (Karpathy and Fei-Fei, CVPR 2015);
- COCO's ``captions_*.json`` (Chen et al. 2015, "Microsoft COCO Captions").
"""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from captioning.data.vocab import tokenize
from captioning.errors import CaptioningError

# Flickr8k.token.txt as published has five captions for a photograph that was never part of it.
ORPHANS = frozenset({"2258277193_586949ec62.jpg.1"})
_KARPATHY = {"restval": "train", "val": "dev"}  # what his splits are called here


class DataError(CaptioningError):
    """A caption file or data set that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Photograph:
    """One photograph of a data set: its name in the caption file, its file, its captions.

    ``split`` is what the file itself says: "train", "dev", "test", or nothing.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = ""

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
    split: str = ""


class _Problem(NamedTuple):
    line: int
    text: str


class _Parsed(NamedTuple):
    """What was read; ``unit`` is what ``line`` counts."""

    rows: list[_Row]
    problems: list[_Problem]
    unit: str = "line"


def read_captions(captions: Path, images: Path | None, skip_bad: bool = False) -> CaptionFile:
    """Read a caption file whose photographs lie in the folder ``images``; None if not needed.

    Raises DataError for anything that is wrong with it; with ``skip_bad``, bad rows and missing
    photographs are left out and counted in the remarks.
    """
    rows, problems, unit = _parse(_read_text(captions), captions)
    orphans = sum(row.image in ORPHANS for row in rows)
    rows = [row for row in rows if row.image not in ORPHANS]
    if images is not None:
        rows, missing = _split_missing(rows, images)
        problems += missing
    problems.sort()
    if problems and not skip_bad:
        raise DataError(_describe(problems, captions, unit))
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


def _parse(text: str, path: Path) -> _Parsed:
    if text.lstrip().startswith("{"):
        return _parse_json(text, path)
    # Not splitlines(), which would end a row at a U+2028 inside a caption too.
    lines = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    number, first = lines[0]
    if "\t" in first and "#" in first.split("\t")[0]:
        return _parse_token_file(lines)
    if [cell.strip() for cell in first.split("|")] == ["image_name", "comment_number", "comment"]:
        return _parse_bars(lines[1:])
    header = [cell.strip(' "') for cell in first.split(",")]
    if header == ["image", "caption"]:
        return _parse_csv(lines[1:])
    if {"image", "caption"} <= set(header):
        return _parse_columns(lines[1:], header)
    raise DataError(
        f"{path}, line {number}: {first[:60]!r} begins no format that can be read; write a CSV "
        "with the header 'image,caption', lines 'name.jpg#0<tab>caption' as Flickr8k.token.txt "
        "has, Flickr30k's results.csv, or the JSON of Karpathy's splits or of COCO's captions"
    )


def _parse_csv(lines: list[tuple[int, str]]) -> _Parsed:
    found = _Parsed([], [])
    for number, cells in _cells(lines, found.problems):
        # Some copies leave commas of the caption unquoted: what follows the name is the caption.
        _sort_row(_Row(number, cells[0].strip(), ",".join(cells[1:]).strip()), found)
    return found


def _parse_columns(lines: list[tuple[int, str]], header: list[str]) -> _Parsed:
    """A CSV with other columns too, or in another order: there commas must be quoted."""
    found = _Parsed([], [])
    image, caption = header.index("image"), header.index("caption")
    for number, cells in _cells(lines, found.problems):
        if len(cells) != len(header):
            text = f"has {len(cells)} cells where the header has {len(header)}"
            found.problems.append(_Problem(number, f"{text}; quote captions that have commas"))
            continue
        _sort_row(_Row(number, cells[image].strip(), cells[caption].strip()), found)
    return found


def _cells(
    lines: list[tuple[int, str]], problems: list[_Problem]
) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that has any; those that cannot be read are noted."""
    for number, line in lines:
        # Line by line, or a quote left open would make one caption of all the rows after it.
        try:
            cells = next(csv.reader([line]))
        except csv.Error as error:
            problems.append(_Problem(number, f"cannot be read ({error})"))
            continue
        if any(cell.strip() for cell in cells):
            yield number, cells


def _parse_bars(lines: list[tuple[int, str]]) -> _Parsed:
    """Flickr30k's: the caption is all after the second bar."""
    found = _Parsed([], [])
    for number, line in lines:
        image, _, rest = line.partition("|")
        count, bar, caption = rest.partition("|")
        if not bar:  # as published, one row has "4   A dog runs ..." with its bar missing
            caption = count.strip().lstrip("0123456789")
        _sort_row(_Row(number, image.strip(), caption.strip()), found)
    return found


def _parse_token_file(lines: list[tuple[int, str]]) -> _Parsed:
    found = _Parsed([], [])
    for number, line in lines:
        key, _, caption = line.partition("\t")
        image, mark, _ = key.rpartition("#")
        _sort_row(_Row(number, image.strip() if mark else "", caption.strip()), found)
    return found


def _parse_json(text: str, path: Path) -> _Parsed:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: this is no complete JSON ({error}); download it again") from None
    try:
        if "annotations" in content:
            return _parse_coco(content)
        return _parse_karpathy(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: this JSON is neither Karpathy's (images with filename, split and sentences) "
            f"nor COCO's (images, and annotations with image_id and caption): {error!r}; name "
            "another file"
        ) from None


def _parse_karpathy(content: dict[str, Any]) -> _Parsed:
    found = _Parsed([], [], "sentence")
    rows = [
        (image.get("filepath", ""), image["filename"], image["split"], sentence["raw"])
        for image in content["images"]
        for sentence in image["sentences"]
    ]
    for number, (folder, name, split, caption) in enumerate(rows, start=1):
        image = f"{folder}/{name}" if folder else str(name)  # COCO's photographs lie in two folders
        _sort_row(_Row(number, image, str(caption).strip(), _KARPATHY.get(split, split)), found)
    return found


def _parse_coco(content: dict[str, Any]) -> _Parsed:
    found = _Parsed([], [], "annotation")
    names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    for number, one in enumerate(content["annotations"], start=1):
        name, caption = names.get(one["image_id"], ""), str(one["caption"]).strip()
        _sort_row(_Row(number, name, caption), found)
    return found


def _sort_row(row: _Row, found: _Parsed) -> None:
    if not row.image:
        found.problems.append(_Problem(row.line, "has no image name"))
    elif not tokenize(row.caption):
        found.problems.append(_Problem(row.line, f"has no caption for {row.image}"))
    else:
        found.rows.append(row)


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


def _describe(problems: list[_Problem], path: Path, unit: str) -> str:
    first, count = problems[0], len(problems)
    others = f" ({count} such rows in all)" if count > 1 else ""
    place = f"{path}, {unit} {first.line}"
    return f"{place}: {first.text}{others}; mend it, or pass --skip-bad to go on"


def _group(rows: list[_Row], images: Path) -> tuple[Photograph, ...]:
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row.image, []).append(row.caption)
    splits = {row.image: row.split for row in rows}
    return tuple(
        Photograph(name, images / name, tuple(own), splits[name]) for name, own in captions.items()
    )
