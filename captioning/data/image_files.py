"""The files of images in a folder, by the names that a caption file gives them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath
from typing import NamedTuple

from captioning.data.image_names import composed, last_number, trailing_parts, unescaped


class Found(NamedTuple):
    """The files that the name of an image may mean; ``by_end``: of its path, the end alone fits."""

    files: tuple[str, ...]
    by_end: bool = False


NOTHING = Found(())


def climbs(image: str) -> bool:
    """Whether a name has ``..`` among its folders, those of Windows too."""
    return any(".." in PureWindowsPath(name).parts for name in (image.strip(), unescaped(image)))


class ImageFolder:
    """Finds the files of a folder; their names are relative to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._composed: dict[Path, dict[str, list[str]]] = {}
        self._numbers: dict[str, list[str]] | None = None

    def find(self, image: str) -> Found:
        """The file that an image's name means, by the first reading of it that any file fits.

        The name as it is comes first, without blanks around it next, and then without escapes.
        The whole path comes before its ends. Of each, what has the name comes before what has it
        in another normal form. Last, a number is that which a file's name ends in.
        """
        readings = tuple(dict.fromkeys((image, image.strip(), unescaped(image))))
        for name in readings:
            if files := self._at(name):
                return Found(files)
        for name in readings:
            for end in trailing_parts(name):
                if files := self._at(end):
                    return Found(files, by_end=True)
        name = image.strip()
        return Found(self._numbered(name)) if name.isascii() and name.isdigit() else NOTHING

    def leads_out(self, image: str) -> bool:
        """Whether a name means a file elsewhere: an absolute path, or one that climbs.

        Those of Windows count too, wherever this runs. A path that begins with the folder's own
        is inside.
        """
        if climbs(image):
            return True
        path = PureWindowsPath(image.strip())  # its parts are separated by either slash
        inside = PurePath(image).is_relative_to(os.path.abspath(self.folder))
        # On other systems than Windows "a:b.jpg" is an ordinary name.
        return bool(path.root or (path.drive and os.name == "nt")) and not inside

    def _at(self, name: str) -> tuple[str, ...]:
        """The files with this path; several where another normal form than theirs fits all.

        None for a path that leads out of the folder; a link in it is followed.
        """
        if self.leads_out(name):
            return ()
        # Not Path.is_file(), which raises OSError for a name too long to be one.
        if os.path.isfile(self.folder / name):
            return (self._relative(name),)
        parts = PurePath(name).parts
        if name.isascii() or not parts or PurePath(name).is_absolute():
            return ()
        return tuple(self._in_any_form(Path(), parts))

    def _relative(self, name: str) -> str:
        path = PurePath(name)
        folder = Path(os.path.abspath(self.folder))
        return str(path.relative_to(folder) if path.is_relative_to(folder) else path)

    def _in_any_form(self, folder: Path, parts: tuple[str, ...]) -> Iterator[str]:
        """The files below a folder of this one whose paths have these parts in some normal form."""
        if not parts:
            yield str(folder)
            return
        names = self._names(folder).get(composed(parts[0]), [])
        is_last = len(parts) == 1
        for name in [parts[0]] if parts[0] in names else names:
            if not is_last or os.path.isfile(self.folder / folder / name):
                yield from self._in_any_form(folder / name, parts[1:])

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """What is in a folder of this one, by its name in the normal form NFC."""
        if folder not in self._composed:
            self._composed[folder] = by_name = dict[str, list[str]]()
            path = self.folder / folder
            for name in os.listdir(path) if os.path.isdir(path) else ():
                by_name.setdefault(composed(name), []).append(name)
        return self._composed[folder]

    def _numbered(self, digits: str) -> tuple[str, ...]:
        """The files whose names end in this number, as those of COCO do."""
        if self._numbers is None:
            self._numbers = {}
            for name in os.listdir(self.folder):
                self._numbers.setdefault(last_number(name), []).append(name)
        return tuple(self._numbers.get(digits.lstrip("0") or "0", ()))
