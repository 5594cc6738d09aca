"""The parts of a checkpoint file, checked one by one: plain types in, configs out.

A part or a setting that an older program did not write gets its default. One that this program does
not know is refused: to ignore it could change the captions.
"""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_origin, get_type_hints

from captioning.data.vocab import Vocabulary
from captioning.errors import CaptioningError

REQUIRED_PARTS = ("model", "images", "vocabulary", "weights")
OPTIONAL_PARTS = ("training_images", "decoding", "provenance", "figures", "novelty")
STAGE_TEXTS = ("stage", "command", "data", "torch")  # what a stage of training says in words

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
        raise damaged(f"{part}: {error}") from None


def read_vocabulary(value: Any) -> Vocabulary:
    """Make a vocabulary from the list of its words."""
    try:
        return Vocabulary(read_strings(value, "vocabulary"))
    except CheckpointError:
        raise
    except ValueError as error:
        raise damaged(str(error)) from None


def read_strings(value: Any, part: str) -> tuple[str, ...]:
    """Check a list of strings."""
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise damaged(f"{part} is not a list of strings")
    return tuple(value)


def read_provenance(value: Any) -> dict[str, Any]:
    """Check what a checkpoint says of how it was made; what it does not say may be absent."""
    provenance = _mapping(value, "provenance")
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


def _check_texts(table: Mapping[str, Any], names: Collection[str], part: str) -> None:
    for name in names:
        if name in table and not isinstance(table[name], str):
            raise damaged(f"{part}: {name} is not a text")


def _refuse_unknown(table: Mapping[Any, Any], known: Collection[str], what: str) -> None:
    # A name can be any hashable value in a foreign file: only a string is shown as it is.
    unknown = [name for name in table if not isinstance(name, str) or name not in known]
    if unknown:
        names = ", ".join(repr(n) if isinstance(n, str) else type(n).__name__ for n in unknown)
        raise CheckpointError(
            f"this program does not know the {what} {names}; update the program, or train the "
            "model again"
        )


def _is_of_type(value: Any, kind: Any) -> bool:
    """Whether a plain value can be a field of type ``kind``; a bool is no number."""
    if get_origin(kind) is tuple:  # of floats; a file may hold it as a list
        return isinstance(value, list | tuple) and all(_is_of_type(v, float) for v in value)
    return type(value) in ((int, float) if kind is float else (kind,))
