"""The known holes of what is required, as people reviewed them: tools/holes.json

The file says of each hole which versions have it, whether it reaches us, why, and where that is
written, and of which packages a search found none. make audit and the tests read it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FILE = Path(__file__).with_name("holes.json")


@dataclass(frozen=True)
class Hole:
    """A hole of a package.

    ``affected`` are the versions that have it, as pip writes them. ``reaches`` says whether what we
    call has it, and ``why``. Where no version without it exists, ``until`` says what to do.
    """

    package: str
    affected: str
    ids: tuple[str, ...]
    what: str
    reaches: bool
    why: str
    source: str
    until: str = ""

    def is_in(self, package: str, version: str) -> bool:
        """Whether a version of a package has it."""
        same = canonicalize_name(package) == self.package
        return same and SpecifierSet(self.affected).contains(version, prereleases=True)

    @property
    def explained(self) -> bool:
        """Whether a version that has it may be installed: it does not reach us, or must be."""
        return not self.reaches or bool(self.until)


@dataclass(frozen=True)
class Decoder:
    """A library inside a wheel, what it is given to read, and its known holes, in Markdown."""

    package: str
    name: str
    given: str
    holes: str

    @property
    def key(self) -> str:
        """How the bill of materials calls it."""
        return f"{self.package} {self.name}"


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def reviewed() -> str:
    """The day of the last review."""
    return str(_content()["reviewed"])


def looked_at() -> set[str]:
    """The packages that were reviewed."""
    return {hole.package for hole in holes()} | set(_content()["none_found"])


def holes() -> list[Hole]:
    """The holes of packages."""
    return [Hole(**{**each, "ids": tuple(each["ids"])}) for each in _content()["packages"]]


def decoders() -> list[Decoder]:
    """The libraries inside wheels that were reviewed."""
    none = f"none found on {reviewed()}"
    return [Decoder(**{"holes": none, **each}) for each in _content()["libraries"]]


def holes_in(package: str, version: str) -> Iterator[Hole]:
    """The holes that a version of a package has."""
    return (hole for hole in holes() if hole.is_in(package, version))
