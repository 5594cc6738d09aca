"""Caption files in JSON: Karpathy's splits, COCO's captions, and lists or lines of objects."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from captioning.data.caption_rows import (
    CAPTION_KEYS,
    ERROR_KEY,
    ID_KEY,
    IMAGE_KEYS,
    WRITE_CAPTION,
    WRITE_NAME,
    DataError,
    ImageId,
    Row,
    Rows,
    plain_key,
    shorten,
)

_PATH_KEY = "file"  # of what the command writes: a path on that machine
_KARPATHY_SPLITS = {"restval": "train", "val": "dev"}  # his names for splits -> ours


def parse_json(text: str, path: Path) -> Rows:
    """Read a text that begins with ``[`` or ``{``; ``path`` is for messages.

    A list, or JSON lines, of objects that have ``caption`` and ``image_id``, ``file`` (a path) or
    ``image``, or what else ``caption_rows`` has for them; Karpathy's ``images`` with their
    sentences; COCO's ``images`` and ``annotations``. An object with an ``error`` and no caption is
    one of the failures. Raises DataError for JSON that is broken or of another kind.
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
    if _is_object_of_image(content):  # a single JSON line
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


def _is_object_of_image(content: dict[str, Any]) -> bool:
    """Whether an object is the caption of an image and no data set."""
    keys = {plain_key(key) for key in content}
    is_data_set = bool(keys & {"images", "annotations"})
    return not is_data_set and bool(keys & {*IMAGE_KEYS, ID_KEY, *CAPTION_KEYS})


def _add_object(parsed: Rows, number: int, value: Any) -> None:
    if not isinstance(value, dict):
        text = f"is {_show_value(value)} and not an object"
        return parsed.reject(number, text, "write one with image_id and caption")
    values = {plain_key(key): each for key, each in value.items()}
    key = _first_key(values, (*IMAGE_KEYS, ID_KEY))
    if key is None:
        return parsed.reject(number, "names no image", "write image_id or file or image there")
    image = _image_name(key, values[key])
    if not image:
        text = f"has {_show_value(values[key])} for {key}, which names no image"
        return parsed.reject(number, text, WRITE_NAME)
    if key == _PATH_KEY:
        parsed.names = "paths"
    caption = _first_key(values, CAPTION_KEYS)
    if _has_failed(values.get(ERROR_KEY), None if caption is None else values[caption]):
        parsed.failures += 1
    elif caption is None:
        parsed.reject(number, f"has no caption for {shorten(image)}", WRITE_CAPTION)
    else:
        given = {ID_KEY: values[key]} if _is_number(values[key]) else values
        ids = _ids(given, [ID_KEY]) if key != ID_KEY or given is not values else ()
        _add_caption(parsed, Row(number, image, "", ids=ids), values[caption])


def _first_key(values: dict[str, Any], keys: Iterable[str]) -> str | None:
    """The first of the keys that has a value, else the first that is there."""
    there = [key for key in keys if key in values]
    return next((key for key in there if values[key] not in (None, "")), next(iter(there), None))


def _has_failed(error: Any, caption: Any) -> bool:
    """Whether an object says why its image has no caption."""
    is_empty = caption is None or (isinstance(caption, str) and not caption.strip())
    return is_empty and isinstance(error, str) and bool(error.strip())


def _image_name(key: str, value: Any) -> str:
    """The name or id that an object gives its image; empty where it gives none."""
    if _is_number(value):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return ""
    return value if key != _PATH_KEY or PurePath(value).name else ""  # "/" is a path of no file


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ids(values: dict[str, Any], kinds: Iterable[str]) -> tuple[ImageId, ...]:
    """The ids of these kinds that an object gives its image."""
    given = ((kind, values.get(kind)) for kind in kinds)
    return tuple(
        ImageId.of(kind, value)
        for kind, value in given
        if _is_number(value) or (isinstance(value, str) and value.strip())
    )


def _add_caption(parsed: Rows, row: Row, caption: Any) -> None:
    """Add a row with its caption, which may be anything that JSON has."""
    number, image = row.number, shorten(row.image)
    if not isinstance(caption, str):
        text = f"has {_show_value(caption)} for the caption of {image}"
        parsed.reject(number, text, WRITE_CAPTION)
    elif re.search("[\ud800-\udfff]", caption):
        text = f"has half a character in the caption of {image}"
        parsed.reject(number, text, "fix that caption")
    else:
        parsed.add(row._replace(caption=caption))


def _show_value(value: Any) -> str:
    """A value as JSON writes it, and not too long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shorten(json.dumps(value))


# Data sets --------------------------------------------------------------------------------------


def _parse_data_set(content: dict[str, Any], path: Path) -> Rows:
    try:
        return _parse_coco(content) if "annotations" in content else _parse_karpathy(content)
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{path}: this JSON is of another kind, neither Karpathy's (images with filename, "
            "split and sentences) nor COCO's (images, and annotations with image_id and caption) "
            "nor COCO's list of results; name another file, or write a list of objects with "
            "image_id and caption"
        ) from None


def _parse_karpathy(content: dict[str, Any]) -> Rows:
    parsed = Rows("sentence")
    sentences = (
        (image, sentence["raw"]) for image in content["images"] for sentence in image["sentences"]
    )
    for number, (image, caption) in enumerate(sentences, start=1):
        name, folder, split = image["filename"], image.get("filepath", ""), image["split"]
        # COCO's photographs lie in two folders.
        path = f"{folder}/{name}" if folder and name else _text(name)
        ids = _ids(image, ("cocoid", "imgid"))
        row = Row(number, path, "", _KARPATHY_SPLITS.get(split, split), ids)
        _add_caption(parsed, row, caption)
    return parsed


def _parse_coco(content: dict[str, Any]) -> Rows:
    parsed = Rows("annotation")
    names: dict[Any, str] = {}
    shared = set()  # ids of several images
    for image in content["images"]:
        name = _text(image["file_name"])
        if names.setdefault(image["id"], name) != name:
            shared.add(image["id"])
    for number, annotation in enumerate(content["annotations"], start=1):
        image = annotation["image_id"]
        if image in shared:
            text = f"has the id {_show_value(image)}, which several images have"
            parsed.reject(number, text, "give each image an id of its own")
            continue
        ids = (ImageId.of("id", image),)
        row = Row(number, names.get(image, ""), "", ids=ids)
        _add_caption(parsed, row, annotation["caption"])
    return parsed


def _text(name: Any) -> str:
    """A file name as text, empty for none: null must not become a photograph called "None"."""
    return "" if name is None else str(name)
