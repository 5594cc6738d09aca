"""Captions that any system wrote, read from a file: peers are measured with the same ruler."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from captioning.data.caption_files import DataError

FORMATS = (
    "COCO's list of results, a CSV with one column image and one column caption, "
    "or the lines of 'python -m captioning --json'"
)
_NAME_KEYS = ("image_id", "file", "image")
_WRITE_CAPTION = 'write a text there, "" for an empty caption'
_QUOTE = "mend it, with quotes around a caption that has commas"
_WRITE_NAME = "write the image's name or id there"
_SHOWN = 80  # characters of a name in a message
# A letter first: what follows the point of "img.001" tells photographs apart.
_EXTENSION = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,4}\Z", re.DOTALL)
# A part of its own: the digits that end a Flickr name's hash are no number.
_LAST_NUMBER = re.compile(r"(?:\A|[^0-9A-Za-z])0*([0-9]+)\Z")
_ONLY_NUMBER = re.compile(r"\A0*([0-9]+)\Z")


class _Entry(NamedTuple):
    place: str  # "line 3" or "entry 3"
    image: str
    caption: str


class _Problem(NamedTuple):
    place: str
    text: str
    remedy: str


def read_predictions(path: Path) -> dict[str, str]:
    """Read a file of captions, one an image: image name or id, as written there, to caption.

    Formats, told apart by looking: COCO's results, ``[{"image_id": 42, "caption": "..."}, ...]``;
    CSV with a header that has ``image`` and ``caption``; and JSON lines with ``caption`` and
    ``file`` (a path, of which the name counts) or ``image``, as ``python -m captioning --json``
    writes them. An empty caption is a caption. Raises DataError for anything that is wrong.
    """
    text = _read_text(path)
    first = text.lstrip()[0]
    if first == "[":
        entries = _from_objects(_numbered(_load(text, path)), path)
    elif first == "{":
        entries = _from_objects(_objects(text, path), path)
    else:
        entries = _from_csv(text, path)
    if not entries:
        raise DataError(f"{path}: there is no caption in it; name another file")
    return _by_image(entries, path)


def match_predictions(candidates: Mapping[str, str], names: Sequence[str], path: Path) -> list[str]:
    """The captions of the photographs ``names``, in their order; ``path`` is for messages.

    A name in the file is looked for as it is, then without its folder, then without its
    extension; last, a number is looked for at the end of the photographs' names, where COCO has
    its ids. Raises DataError when one fits several photographs or several fit one, and when a
    photograph has no caption or a caption no photograph.
    """
    find = _finder(names, path)
    images: dict[str, str] = {}  # by photograph
    strangers = []
    for image in candidates:
        name = find(image)
        if name is None:
            strangers.append(image)
        elif name in images:
            raise DataError(
                f"{path}: {_shown(images[name])} and {_shown(image)} in it are both the photograph "
                f"{_shown(name)}; keep one caption for each image"
            )
        else:
            images[name] = image
    if strangers:
        raise DataError(
            f"{path}: {_count(strangers, 'image')} in it, the first {_shown(strangers[0])}, "
            f"{'is' if len(strangers) == 1 else 'are'} not among the {len(names):,} photographs to "
            "be scored; choose their split with --split, or take them out"
        )
    missing = [name for name in names if name not in images]
    if missing:
        raise DataError(
            f"{path}: {_count(missing, 'photograph')} of the {len(names):,} to be scored, the "
            f"first {_shown(missing[0])}, {'has' if len(missing) == 1 else 'have'} no caption in "
            "it; add what is missing, or choose the split that it is for with --split"
        )
    return [candidates[images[name]] for name in names]


# Reading ----------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    try:
        # Not read_text(), which would change the line breaks within captions.
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such file of captions; name the file that the system wrote"
        ) from None
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}, line {line}: this is not UTF-8 text ({error.reason}); name a file of "
            "captions, or save it as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); name a file of captions"
        ) from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty; let the system write its captions again")
    return text


def _load(text: str, path: Path, line: int = 1) -> Any:
    """Read JSON that begins on a line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line += error.lineno - 1
        reason = f"{error.msg.removesuffix(' at')} at column {error.colno}"
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets in brackets
        reason = "a value is too long or too deep"
    raise DataError(
        f"{path}, line {line}: cannot be read as JSON ({reason}); let the system write it again"
    )


def _numbered(values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"entry {i}", value) for i, value in enumerate(values, start=1))


def _objects(text: str, path: Path) -> list[tuple[str, Any]]:
    """The objects of JSON lines; of a single object too, which may have lines of its own."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        # Not splitlines(), which would end a line at a U+2028 inside a caption too.
        lines = enumerate(text.split("\n"), start=1)
        return [(f"line {i}", _load(line, path, i)) for i, line in lines if line.strip()]
    if not any(key in whole for key in (*_NAME_KEYS, "caption")):
        what = "references for COCO" if "annotations" in whole else "a JSON object of another kind"
        raise DataError(f"{path}: this is {what}, not a system's captions; write {FORMATS}")
    line = 1 + text.count("\n", 0, text.index("{"))
    return [(f"line {line}", whole)]


def _from_objects(objects: Iterable[tuple[str, Any]], path: Path) -> list[_Entry]:
    return _sound([_from_object(place, value) for place, value in objects], path)


def _sound(read: Sequence[_Entry | _Problem], path: Path) -> list[_Entry]:
    """The entries; raises DataError where there are problems among them."""
    problems = [item for item in read if isinstance(item, _Problem)]
    if problems:
        raise DataError(_describe(problems, path))
    return [item for item in read if isinstance(item, _Entry)]


def _from_object(place: str, value: Any) -> _Entry | _Problem:
    if not isinstance(value, dict):
        text = f"is {_json(value)} and not an object"
        return _Problem(place, text, "write one with image_id and caption")
    key = next((key for key in _NAME_KEYS if key in value), None)
    if key is None:
        return _Problem(place, "names no image", f"write {' or '.join(_NAME_KEYS)} there")
    image = _image(key, value[key])
    if not image:
        text = f"has {_json(value[key])} for {key}, which names no image"
        return _Problem(place, text, _WRITE_NAME)
    if "caption" not in value:
        return _Problem(place, f"has no caption for {_shown(image)}", _WRITE_CAPTION)
    caption = value["caption"]
    if not isinstance(caption, str):
        text = f"has {_json(caption)} for the caption of {_shown(image)}"
        return _Problem(place, text, _WRITE_CAPTION)
    if re.search("[\ud800-\udfff]", caption):
        text = f"has half a character in the caption of {_shown(image)}"
        return _Problem(place, text, "mend that caption")
    return _Entry(place, image, caption)


def _image(key: str, value: Any) -> str:
    """The name or id that an object gives its image; empty where that is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return ""
    return PurePath(value).name if key == "file" else value


def _from_csv(text: str, path: Path) -> list[_Entry]:
    rows = _rows(text, path)
    line, cells = next(rows, (1, [text.strip()]))  # nothing but commas
    header = [cell.strip() for cell in cells]
    if header.count("image") != 1 or header.count("caption") != 1:
        raise DataError(
            f"{path}, line {line}: {','.join(cells)[:60]!r} begins no file of captions; "
            f"write {FORMATS}"
        )
    image, caption = header.index("image"), header.index("caption")
    read: list[_Entry | _Problem] = []
    for line, cells in rows:
        place = f"line {line}"
        if len(cells) != len(header):
            # Never guess: what follows a comma that should have been quoted is caption too.
            complaint = f"has {_count(cells, 'cell')} where the header has {len(header)}"
            read.append(_Problem(place, complaint, _QUOTE))
        elif not cells[image].strip():
            read.append(_Problem(place, "has no image name", _WRITE_NAME))
        else:
            read.append(_Entry(place, cells[image], cells[caption]))
    return _sound(read, path)


def _rows(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that have anything in them, each with the line on which it begins."""
    # Strict, or a quote left open would make one caption of all the rows after it.
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error).partition(" - ")[0]
            raise DataError(
                f"{path}, line {line}: the CSV row that begins here cannot be read ({reason}); "
                "mend its quotes and line breaks"
            ) from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _by_image(entries: Iterable[_Entry], path: Path) -> dict[str, str]:
    first: dict[str, _Entry] = {}
    repeated = []
    for entry in entries:
        known = first.setdefault(entry.image, entry)
        if known is not entry:
            text = f"has a caption for {_shown(entry.image)}, and so has {known.place}"
            repeated.append(_Problem(entry.place, text, "keep one caption for each image"))
    if repeated:
        raise DataError(_describe(repeated, path))
    return {image: entry.caption for image, entry in first.items()}


# Matching ---------------------------------------------------------------------------------------


def _whole(name: str) -> str:
    return name


def _base(name: str) -> str:
    # Both separators: the file may come from another system than this one.
    return re.split(r"[/\\]", name)[-1].strip()


def _stem(name: str) -> str:
    return _EXTENSION.sub("", _base(name))


def _only_number(name: str) -> str:
    found = _ONLY_NUMBER.search(_stem(name))
    return found[1] if found else ""


def _last_number(name: str) -> str:
    found = _LAST_NUMBER.search(_stem(name))
    return found[1] if found else ""


# What of a name in the file must equal what of a photograph's name, the surest first.
_RULES: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (_whole, _whole),
    (_base, _base),
    (_base, _stem),
    (_stem, _base),
    (_stem, _stem),
    (_only_number, _last_number),
)


def _finder(names: Iterable[str], path: Path) -> Callable[[str], str | None]:
    """Something that finds the photograph of an image's name; raises DataError for several."""
    tables: list[dict[str, list[str]]] = [{} for _ in _RULES]
    for name in dict.fromkeys(names):
        for table, (_, of_photograph) in zip(tables, _RULES, strict=True):
            table.setdefault(of_photograph(name), []).append(name)

    def find(image: str) -> str | None:
        for table, (of_image, _) in zip(tables, _RULES, strict=True):
            key = of_image(image)
            found = table.get(key, []) if key else []
            if len(found) > 1:
                raise DataError(
                    f"{path}: {_shown(image)} in it may be {_shown(found[0])} or "
                    f"{_shown(found[1])}; write the name of the photograph in full"
                )
            if found:
                return found[0]
        return None

    return find


# Messages ---------------------------------------------------------------------------------------


def _describe(problems: Sequence[_Problem], path: Path) -> str:
    first, count = problems[0], len(problems)
    others = f" ({count:,} such in all)" if count > 1 else ""
    return f"{path}, {first.place}: {first.text}{others}; {first.remedy}"


def _count(items: Sequence[Any], what: str) -> str:
    return f"{len(items):,} {what}" if len(items) == 1 else f"{len(items):,} {what}s"


def _shown(name: str) -> str:
    """A name on one line, and not too long."""
    text = name if name.isprintable() else repr(name)[1:-1]
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _json(value: Any) -> str:
    """A value as JSON has it, and not too long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
