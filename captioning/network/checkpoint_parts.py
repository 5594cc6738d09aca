"""The parts of a checkpoint file, checked one by one: plain types in, configs out.

A part or a setting that an older program did not write gets its default. One that this program does
not know is refused: to ignore it could change the captions.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_origin, get_type_hints

from captioning.data.caption_rows import shorten
from captioning.data.vocab import SPECIAL_TOKENS, Vocabulary, is_manner
from captioning.errors import CaptioningError

REQUIRED_PARTS = ("model", "images", "vocabulary", "weights")
OPTIONAL_PARTS = ("training_images", "decoding", "provenance", "figures", "novelty")
STAGE_TEXTS = ("stage", "command", "data", "torch")  # what a stage of training says in words

# What no word of a caption has, and could change the line, the page or the spreadsheet that it is
# shown in: controls and blanks, what turns the direction of writing, tags, half characters, and
# how a formula begins.
_NO_WORD = re.compile(
    "\\A[=+@-]|[\0-\x20\x7f-\xa0<>\u061c\u200e\u200f\u2028-\u202f\u2066-\u2069\ud800-\udfff]"
)
_LONGEST_WORD, _LONGEST_REASON = 200, 300  # characters
# Of what a checkpoint says of itself: tables in tables, and what they hold.
_DEEPEST, _MOST_VALUES = 20, 100_000

Config = TypeVar("Config")


class CheckpointError(CaptioningError):
    """A file that is not a checkpoint of this project; the message says what to do."""


def damaged(reason: str) -> CheckpointError:
    """The error for a part that no version of this program wrote."""
    return CheckpointError(f"the checkpoint is damaged ({reason}); fetch or train it again")


def check_parts(content: Mapping[Any, Any]) -> None:
    """Raise CheckpointError where a part is missing that has no default, or is unknown."""
    for part in REQUIRED_PARTS:
        if part not in content:
            raise damaged(f"{part} is missing")
    _refuse_unknown(content, ("format", "version", *REQUIRED_PARTS, *OPTIONAL_PARTS), "part")


def read_config(kind: type[Config], value: Any, part: str) -> Config:
    """Make a config, a frozen dataclass, from its fields in a dict; absent ones get defaults."""
    settings, types = _mapping(value, part), get_type_hints(kind)
    _refuse_unknown(settings, types, f"setting of {part}")
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in settings:
            if not _is_of_type(settings[field.name], types[field.name]):
                raise damaged(f"{part}: {field.name} is of the wrong type")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise damaged(f"{part}: {field.name} is missing")
    try:
        return kind(**settings)
    except (ValueError, OverflowError) as error:  # a value out of range
        raise damaged(f"{part}: {str(error)[:_LONGEST_REASON]}") from None


def read_vocabulary(value: Any) -> Vocabulary:
    """Make a vocabulary from the list of its words."""
    words = read_strings(value, "vocabulary")
    for word in words[len(SPECIAL_TOKENS) :]:
        if not word or len(word) > _LONGEST_WORD or (_NO_WORD.search(word) and not _starts(word)):
            raise damaged(f"vocabulary: '{shorten(word)}' is no word")
    try:
        return Vocabulary(words)
    except ValueError as error:
        raise damaged(str(error)) from None


def read_strings(value: Any, part: str) -> tuple[str, ...]:
    """Check a list of strings."""
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise damaged(f"{part} is not a list of strings")
    return tuple(value)


def _starts(word: str) -> bool:
    """Whether a word is the token that captions of a manner start with."""
    return word[0] == "<" and word[-1] == ">" and is_manner(word[1:-1])


def read_provenance(value: Any) -> dict[str, Any]:
    """Check what a checkpoint says of how it was made; what it does not say may be absent."""
    provenance = _mapping(value, "provenance")
    _refuse_large(provenance)
    _check_texts(provenance, ("encoder", "data"), "provenance")
    read_strings(provenance.get("terms", []), "provenance: terms")
    stages = provenance.get("stages", [])
    if not isinstance(stages, list | tuple):
        raise damaged("provenance: stages is not a list")
    for stage in stages:
        _check_texts(_mapping(stage, "a stage of provenance"), STAGE_TEXTS, "a stage of provenance")
        _mapping(stage.get("config", {}), "the config of a stage of provenance")
    return provenance


def read_figures(value: Any) -> dict[str, float]:
    """Check what a checkpoint scored: numbers by name."""
    figures = _mapping(value, "figures")
    if not all(_is_of_type(figure, float) for figure in figures.values()):
        raise damaged("figures holds something other than numbers")
    return figures


def _mapping(value: Any, part: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise damaged(f"{part} is not a table of names and values")
    return dict(value)


def _refuse_large(table: Mapping[str, Any]) -> None:
    """Refuse tables in tables without end, or that repeat one another, and all but plain types."""
    values: list[tuple[Any, int]] = [(table, 0)]
    for count in range(_MOST_VALUES):
        if count == len(values):
            return
        value, depth = values[count]
        if isinstance(value, dict | list | tuple) and depth < _DEEPEST:
            parts = value.values() if isinstance(value, dict) else value
            if len(values) + len(parts) > _MOST_VALUES:
                break
            values += ((part, depth + 1) for part in parts)
        elif type(value) not in (str, int, float, bool, type(None)):
            raise damaged("provenance holds something other than plain values")
    raise damaged("provenance holds too many values")


def _check_texts(table: Mapping[str, Any], names: Collection[str], part: str) -> None:
    for name in names:
        if name in table and not isinstance(table[name], str):
            raise damaged(f"{part}: {name} is not a text")


def _refuse_unknown(table: Mapping[Any, Any], known: Collection[str], what: str) -> None:
    # A name can be any hashable value in a foreign file: only a string is shown as it is.
    unknown = [name for name in table if not isinstance(name, str) or name not in known]
    if unknown:
        shown = unknown[:3]
        names = ", ".join(
            f"'{shorten(n)}'" if isinstance(n, str) else type(n).__name__ for n in shown
        )
        names += ", ..." if len(unknown) > len(shown) else ""
        raise CheckpointError(
            f"this program does not know the {what} {names}; update the program, or train the "
            "model again"
        )


def _is_of_type(value: Any, kind: Any) -> bool:
    """Whether a plain value can be a field of type ``kind``; a bool is no number."""
    if get_origin(kind) is tuple:  # of floats; a file may hold it as a list
        return isinstance(value, list | tuple) and all(_is_of_type(v, float) for v in value)
    return type(value) in ((int, float) if kind is float else (kind,))
