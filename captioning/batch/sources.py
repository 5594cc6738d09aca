"""Which pictures a command is to caption: files, folders, patterns, standard input.

Folders are listed without opening a file. What is not a picture that can be read is counted by its
suffix, so that nothing is left out in silence.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

from captioning.data.photo_kinds import IMAGE_SUFFIXES, OTHER_PICTURE_SUFFIXES
from captioning.data.photo_sources import describe

STANDARD_INPUT = "-"
SIDECAR = ".txt"  # after the whole name of a picture: photo.jpg.txt
_PATTERN = re.compile(r"[*?\[]")
_PICTURE_HEAD = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM....\0\0\0\0|....ftyp"
    rb"|\0\0\0\x0cjP|\xff\x4f\xff\x51",
    re.DOTALL,
)


class Picture(NamedTuple):
    """A picture to caption: where it is, and what it is called in what is written.

    ``named`` is whether it was given by its own name, and not found in a folder.
    """

    path: str
    name: str
    named: bool = True


@dataclass(frozen=True)
class Listing:
    """How folders are read.

    With ``recursive`` their sub-folders too. With ``relative`` a single folder's pictures are named
    relative to it, as in a caption file; otherwise with its path, as a shell would. ``outputs`` are
    the absolute paths of files that the command itself writes, which are not left out.
    """

    recursive: bool = False
    relative: bool = False
    outputs: frozenset[str] = frozenset()


@dataclass
class LeftOut:
    """What was found in folders and is not captioned."""

    suffixes: Counter[str] = field(default_factory=Counter)  # of files
    folders: int = 0

    def describe(self) -> str:
        """What was left out, on one line; empty where nothing was."""
        pictures = {s: n for s, n in self.suffixes.items() if s in OTHER_PICTURE_SUFFIXES}
        others = {s: n for s, n in self.suffixes.items() if s not in pictures}
        parts = [
            *_count(
                pictures,
                "picture of a kind that is not read",
                "pictures of kinds that are not read",
            ),
            *_count(others, "other file", "other files"),
        ]
        if self.folders:
            noun = "sub-folder" if self.folders == 1 else "sub-folders"
            parts.append(f"{self.folders:,} {noun} (--recursive reads them)")
        return f"left out: {', '.join(parts)}" if parts else ""


def _count(suffixes: Mapping[str, int], one: str, several: str) -> list[str]:
    """How many files there are, and of which suffixes; nothing where there are none."""
    total = sum(suffixes.values())
    if not total:
        return []
    kinds = sorted(suffixes, key=lambda suffix: (-suffixes[suffix], suffix))
    each = (f"{suffixes[suffix]:,} {suffix or 'without a suffix'}" for suffix in kinds)
    return [f"{total:,} {one if total == 1 else several} ({', '.join(each)})"]


@dataclass
class Sources:
    """What a command's arguments stand for.

    ``problems`` are sentences about arguments that stand for nothing. ``content`` is a picture that
    came by standard input; it has no entry in ``pictures``.
    """

    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    content: bytes | None = None


def find(arguments: Sequence[str], listing: Listing, stdin: Callable[[], bytes]) -> Sources:
    """Find the pictures that ``arguments`` name, each once, those of a folder sorted by name.

    ``stdin`` reads standard input; it is called where an argument is a dash.
    """
    search = _Search(listing, stdin, alone=listing.relative and len(arguments) == 1)
    for argument in arguments:
        search.add(argument)
    return search.found


class _Search:
    """Turns arguments into pictures, one after the other."""

    def __init__(self, listing: Listing, stdin: Callable[[], bytes], alone: bool) -> None:
        self.listing, self.stdin, self.alone = listing, stdin, alone
        self.found = Sources()
        self.seen: set[str] = set()

    def add(self, argument: str) -> None:
        """Add what one argument stands for."""
        if argument == STANDARD_INPUT:
            self.add_standard_input()
        # Not Path.is_dir(), which raises OSError for a name that is too long.
        elif os.path.isdir(argument):
            self.add_folder(argument)
        elif _PATTERN.search(argument) and not os.path.lexists(argument):
            self.add_pattern(argument)
        else:
            self.add_picture(Picture(argument, argument))

    def add_picture(self, picture: Picture) -> None:
        """Add a picture, unless it has been named before."""
        if picture.name not in self.seen:
            self.seen.add(picture.name)
            self.found.pictures.append(picture)

    def add_pattern(self, pattern: str) -> None:
        """Add what matches: a shell without patterns, as that of Windows, leaves them to us."""
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            self.problem(f"{describe(pattern)}: no file matches this pattern; check it")
        for match in matches:
            self.add_named(match)

    def add_named(self, name: str) -> None:
        """Add a folder or a picture whose name is just that, whatever is in it."""
        if os.path.isdir(name):
            self.add_folder(name)
        else:
            self.add_picture(Picture(name, name))

    def add_standard_input(self) -> None:
        """Add a picture, or names one a line (or ended by NULs, as by ``find -print0``)."""
        content = self.stdin()
        if _PICTURE_HEAD.match(content):
            self.found.content = content
            return
        if not content.strip():
            self.problem("standard input is empty: send it a picture, or names one a line")
        end = b"\0" if b"\0" in content else b"\n"
        for name in content.split(end):
            if name := name.removesuffix(b"\r") if end == b"\n" else name:
                self.add_named(os.fsdecode(name))

    def add_folder(self, folder: str) -> None:
        """Add the pictures of a folder; it is a problem where there is none."""
        pictures, problems = len(self.found.pictures), len(self.found.problems)
        inside = self.found.left_out.folders
        for name in self.walk(folder, ""):
            path = os.path.join(folder, name)
            self.add_picture(Picture(path, name if self.alone else path, named=False))
        nothing = (pictures, problems) == (len(self.found.pictures), len(self.found.problems))
        if nothing:
            more = self.found.left_out.folders > inside
            advice = "; --recursive reads its sub-folders" if more else ""
            self.problem(f"{describe(folder)}: there is no image in this folder{advice}")

    def walk(
        self, folder: str, inside: str, above: frozenset[tuple[int, int]] = frozenset()
    ) -> Iterator[str]:
        """The names of pictures relative to a folder: those in it, then those of sub-folders.

        ``above`` are the folders that this one is in: a link may lead back to one of them.
        """
        here = os.path.join(folder, inside) if inside else folder
        try:
            status = os.stat(here)
            with os.scandir(here) as entries:
                # Names alone: a list of entries would hold a million objects.
                files, folders = _sort_entries(entries)
        except OSError as error:
            self.problem(f"{describe(here)}: this folder cannot be read ({error.strerror})")
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return
        for name in files:
            if is_picture(name):
                yield f"{inside}{name}"
            elif not self.is_ours(here, name):
                self.found.left_out.suffixes[PurePath(name).suffix.lower()] += 1
        if not self.listing.recursive:
            self.found.left_out.folders += len(folders)
            return
        for name in folders:
            yield from self.walk(folder, f"{inside}{name}/", above | {identity})

    def is_ours(self, folder: str, name: str) -> bool:
        """Whether a file is one that this command writes."""
        path = PurePath(name)
        is_sidecar = path.suffix == SIDECAR and is_picture(path.stem)
        return is_sidecar or os.path.abspath(os.path.join(folder, name)) in self.listing.outputs

    def problem(self, text: str) -> None:
        """Note an argument that stands for nothing."""
        self.found.problems.append(text)


def _sort_entries(entries: Iterable[os.DirEntry[str]]) -> tuple[list[str], list[str]]:
    """The names of files and of folders, sorted, without hidden ones."""
    files: list[str] = []
    folders: list[str] = []
    for entry in entries:
        # Hidden too is what macOS writes beside each file on drives of other systems: "._a.jpg".
        if not entry.name.startswith("."):
            (folders if _is_folder(entry) else files).append(entry.name)
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link that cannot be followed is none."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where nobody may look: the others are still there
        return False


def is_picture(name: str) -> bool:
    """Whether a file's suffix is that of a kind of picture that is read."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES
