"""Caption files to train on or to compare with: which photographs there are, and their captions."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from captioning.data.caption_formats import read_rows
from captioning.data.caption_rows import (
    DataError,
    ImageId,
    Problem,
    Row,
    Rows,
    describe_problems,
    shorten,
)
from captioning.data.image_files import NOTHING, Found, ImageFolder, climbs
from captioning.data.vocab import tokenize

__all__ = ["CaptionFile", "DataError", "Photograph", "read_captions"]

# Flickr8k.token.txt as published has five captions for a photograph that was never part of it.
_ORPHANS = frozenset({"2258277193_586949ec62.jpg.1"})
_FIX = "fix it"  # whatever it is: a problem's own remedy may be one for captions to be scored


@dataclass(frozen=True)
class Photograph:
    """One photograph of a data set: its name in the caption file, its file, its captions.

    ``split`` is the caption file's own: "train", "dev", "test", or empty. ``manner`` is that in
    which the captions are written; empty is the default one (``Vocabulary.manners``). ``ids`` are
    those that the caption file gives the photograph.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    split: str = ""
    manner: str = ""
    ids: tuple[ImageId, ...] = ()

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

    The formats are those of ``caption_formats``, and how images are found by their names is in
    ``image_files``: a number alone, as in COCO's results, is the one that a file name ends in.

    Raises DataError for anything that is wrong with it; with ``skip_bad``, bad rows and missing
    photographs are left out and counted in the remarks.
    """
    parsed = read_rows(captions)
    published = [row for row in parsed.rows if row.image not in _ORPHANS]
    rows, problems = _split_empty(published)
    if images is None:
        rows = _named_alone(rows, parsed)
    else:
        rows, missing = _split_missing(rows, images, are_paths=parsed.names == "paths")
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
    remarks = [f"{captions}: {remark}" for remark in parsed.remarks]
    if problems:
        remarks.append(f"{captions}: left out {len(problems)} bad rows")
    if orphans := len(parsed.rows) - len(published):
        remarks.append(f"{captions}: left out {orphans} captions of a photograph never published")
    return CaptionFile(_group(rows, images or Path()), tuple(remarks))


def _split_empty(rows: list[Row]) -> tuple[list[Row], list[Problem]]:
    """The rows whose captions have words, without the blanks around them, and the others."""
    rows = [row._replace(caption=row.caption.strip()) for row in rows]
    empty = [not tokenize(row.caption) for row in rows]
    problems = [
        Problem(row.number, f"has no caption for {shorten(row.image.strip())}", _FIX)
        for row, is_empty in zip(rows, empty, strict=True)
        if is_empty
    ]
    return [row for row, is_empty in zip(rows, empty, strict=True) if not is_empty], problems


def _named_alone(rows: list[Row], parsed: Rows) -> list[Row]:
    """The rows with the names that their photographs most likely have in a folder of their own.

    Two names of the file stay two.
    """
    bare: dict[str, Callable[[str], str]] = {
        "padded": str.strip,
        "paths": lambda name: PurePath(name).name,
        "exact": str,
    }
    names = {row.image: bare[parsed.names](row.image) for row in rows}
    counts = Counter(names.values())
    return [
        row._replace(image=names[row.image]) if counts[names[row.image]] == 1 else row
        for row in rows
    ]


def _split_missing(
    rows: list[Row], images: Path, are_paths: bool
) -> tuple[list[Row], list[Problem]]:
    """The rows whose photographs are in the folder, under their names there, and the others.

    Nothing outside the folder is looked at. Of a path of another machine the end counts, but names
    that climb (``..``) are refused, unless the file says that they are such paths.
    """
    if not images.is_dir():
        raise DataError(f"{images}: there is no such folder of photographs; name the right one")
    folder = ImageFolder(images)
    names = dict.fromkeys(row.image for row in rows)
    found = {
        image: NOTHING if climbs(image) and not are_paths else folder.find(image) for image in names
    }
    complaints = dict(_complaints(found, images)) | {
        image: f"names {shorten(image.strip())}, which leads out of {images}"
        for image, each in found.items()
        if each == NOTHING and folder.leads_out(image)
    }
    missing = [
        Problem(row.number, complaints[row.image], _FIX) for row in rows if row.image in complaints
    ]
    return [
        row._replace(image=found[row.image].files[0]) for row in rows if row.image not in complaints
    ], missing


def _complaints(found: dict[str, Found], images: Path) -> Iterable[tuple[str, str]]:
    """Why images have no file; where a name may mean several, none is guessed."""
    users: dict[str, set[PurePath]] = {}
    for image, each in found.items():
        for file in each.files[:1]:
            users.setdefault(file, set()).add(PurePath(image.strip()))
    for image, each in found.items():
        shown = shorten(image.strip())
        if each == NOTHING or (len(each.files) > 1 and shown.isdigit()):
            yield image, f"names {shown}, which is not in {images}"
        elif len(each.files) > 1:
            several = " or ".join(map(shorten, each.files[:2]))
            yield image, f"names {shown}, which may be {several} in {images}"
        elif each.by_end and len(users[each.files[0]]) > 1:
            file = shorten(each.files[0])
            yield image, f"names {shown}, which may be {file} in {images}, but so may another name"


def _group(rows: list[Row], images: Path) -> tuple[Photograph, ...]:
    """One photograph per image, with all its captions, in the order of the file."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.image, []).append(row)
    return tuple(
        Photograph(
            name,
            images / name,
            tuple(row.caption for row in own),
            own[-1].split,
            ids=tuple(dict.fromkeys(each for row in own for each in row.ids)),
        )
        for name, own in groups.items()
    )
