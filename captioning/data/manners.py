"""Which photographs have captions in a manner of their own, told by the photographs' names."""

from collections.abc import Container, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from captioning.data.caption_files import Photograph
from captioning.data.vocab import is_manner
from captioning.errors import SettingError

_Photographs = tuple[Photograph, ...]


class MannerRule(NamedTuple):
    """Which photographs have captions in a manner: those whose names match a pattern."""

    pattern: str
    manner: str

    @classmethod
    def parse(cls, text: str) -> "MannerRule":
        """Read "GLOB=NAME"; raises SettingError for anything else."""
        pattern, _, manner = text.rpartition("=")
        if not pattern or not is_manner(manner):
            raise SettingError(
                "--manner must be GLOB=NAME, with a plain lower-case word as the name, such as "
                f"'web_*=web', not '{text}'"
            )
        return cls(pattern, manner)

    def applies_to(self, name: str) -> bool:
        """Whether a photograph's name matches."""
        return fnmatchcase(name, self.pattern)


def set_manners(
    photographs: Sequence[_Photographs],
    rules: Sequence[MannerRule],
    default: Container[str] = (),
) -> list[_Photographs]:
    """The photographs of each set, each with the manner of the first rule that applies to its name.

    Those whose names are in ``default`` have the default manner whatever the rules say. Raises
    SettingError for a rule that applies to no photograph of any set.
    """
    for rule in rules:
        if not any(rule.applies_to(photo.name) for each in photographs for photo in each):
            raise SettingError(
                f"--manner {rule.pattern}={rule.manner}: no photograph has a name like "
                f"'{rule.pattern}'; look at the names in the caption files"
            )

    def manner_of(photo: Photograph) -> str:
        if photo.name in default:
            return ""
        return next((rule.manner for rule in rules if rule.applies_to(photo.name)), "")

    return [
        tuple(replace(photo, manner=manner_of(photo)) for photo in each) for each in photographs
    ]
