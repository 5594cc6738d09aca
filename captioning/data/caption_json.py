"""Caption files in JSON: Karpathy's splits, COCO's captions, and lists or lines of objects."""

import json
import re
from pathlib import Path, PurePath
from typing import Any

from captioning.data.caption_rows import (
    WRITE_CAPTION,
    WRITE_NAME,
    DataError,
    Rows,
    shorten,
)

_NAME_KEYS = ("image_id", "file", "image")
_KARPATHY_SPLITS = {"restval": "train", "val": "dev"}  # his names for splits -> ours


def parse_json(text: str, path: Path) -> Rows:
    """Read a text that begins with ``[`` or ``{``; ``path`` is for messages.

    A list, or JSON lines, of objects that have ``caption`` and ``image_id``, ``file`` (a path, of
    which the last part counts) or ``image``; Karpathy's ``images`` with their sentences; COCO's
    ``images`` and ``annotations``. Raises DataError for JSON that is broken or of another kind.
    """
    if _is_json_lines(text):
        return _parse_lines(text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, reason = _reason(error)
        raise DataError(
            f"{path}, line {line}: cannot be read as JSON ({reason}); write or download it again"
        ) from None
    if isinstance(content, list):
        parsed = Rows("entry")
        for number, value in enumerate(content, start=1):
            _add_object(parsed, number, value)
        return parsed
    if any(key in content for key in (*_NAME_KEYS, "caption")):  # a single JSON line
        parsed = Rows("line")
        _add_object(parsed, 1 + text.count("\n", 0, text.index("{")), content)
        return parsed
    return _parse_data_set(content, path)


def _is_json_lines(text: str) -> bool:
    """Whether the first line is an object by itself, and other lines follow.

    Otherwise the text is one value, perhaps on several lines or cut off.
    """
    first, _, rest = text.lstrip().partition("\n")
    try:
        return isinstance(json.loads(first), dict) and bool(rest.strip())
    except (ValueError, RecursionError):
        return False


def _reason(error: ValueError | RecursionError) -> tuple[int, str]:
    """The line on which a text is not JSON, and why."""
    if isinstance(error, json.JSONDecodeError):
        return error.lineno, f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return 1, "a value is too long or too deep"  # thousands of digits, thousands of brackets


# Lists and lines of objects ---------------------------------------------------------------------


def _parse_lines(text: str) -> Rows:
    parsed = Rows("line")
    # Not splitlines(), which would end a line at a U+2028 inside a caption too.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = f"cannot be read as JSON ({_reason(error)[1]})"
            parsed.reject(number, reason, "write it again")
        else:
            _add_object(parsed, number, value)
    return parsed


def _add_object(parsed: Rows, number: int, value: Any) -> None:
    if not isinstance(value, dict):
        text = f"is {_show_value(value)} and not an object"
        return parsed.reject(number, text, "write one with image_id and caption")
    key = next((key for key in _NAME_KEYS if key in value), None)
    if key is None:
        return parsed.reject(number, "names no image", f"write {' or '.join(_NAME_KEYS)} there")
    image = _image_name(key, value[key])
    if not image:
        text = f"has {_show_value(value[key])} for {key}, which names no image"
        return parsed.reject(number, text, WRITE_NAME)
    if "caption" not in value:
        return parsed.reject(number, f"has no caption for {shorten(image)}", WRITE_CAPTION)
    _add_caption(parsed, number, image, value["caption"])


def _image_name(key: str, value: Any) -> str:
    """The name or id that an object gives its image; empty where it gives none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return ""
    return PurePath(value).name if key == "file" else value


def _add_caption(parsed: Rows, number: int, image: str, caption: Any, split: str = "") -> None:
    """Add a row whose caption may be anything that JSON has."""
    if not isinstance(caption, str):
        text = f"has {_show_value(caption)} for the caption of {shorten(image)}"
        parsed.reject(number, text, WRITE_CAPTION)
    elif re.search("[\ud800-\udfff]", caption):
        text = f"has half a character in the caption of {shorten(image)}"
        parsed.reject(number, text, "fix that caption")
    else:
        parsed.add(number, image, caption, split)


def _show_value(value: Any) -> str:
    """A value as JSON writes it, and not too long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shorten(json.dumps(value))


# Data sets --------------------------------------------------------------------------------------


def _parse_data_set(content: dict[str, Any], path: Path) -> Rows:
    try:
        return _parse_coco(content) if "annotations" in content else _parse_karpathy(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: this JSON is of another kind, neither Karpathy's (images with filename, "
            "split and sentences) nor COCO's (images, and annotations with image_id and caption) "
            f"nor COCO's list of results ({error!r}); name another file"
        ) from None


def _parse_karpathy(content: dict[str, Any]) -> Rows:
    parsed = Rows("sentence")
    sentences = (
        (image, sentence["raw"]) for image in content["images"] for sentence in image["sentences"]
    )
    for number, (image, caption) in enumerate(sentences, start=1):
        name, folder, split = image["filename"], image.get("filepath", ""), image["split"]
        path = f"{folder}/{name}" if folder else str(name)  # COCO's photographs lie in two folders
        _add_caption(parsed, number, path, caption, _KARPATHY_SPLITS.get(split, split))
    return parsed


def _parse_coco(content: dict[str, Any]) -> Rows:
    parsed = Rows("annotation")
    names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    for number, annotation in enumerate(content["annotations"], start=1):
        _add_caption(parsed, number, names.get(annotation["image_id"], ""), annotation["caption"])
    return parsed
