"""Captions in the formats that other programs read: JSON lines, CSV, HTML with alt text."""

import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from captioning.data.image_names import as_utf8
from captioning.inference.captioner import Caption, MapKind

RECORD_VERSION = 1  # of what as_record gives; docs/records.md says what it promises
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def as_json(caption: Caption, maps: bool = False) -> str:
    """One line with all that is known of a caption: see ``as_record``."""
    return as_line(as_record(caption, maps))


def as_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON.

    A byte of a file's name that is not UTF-8 is half a character in Python's strings (PEP 383); it
    is written as JSON escapes it ("\\udce9"), since no encoding of Unicode can hold it.
    """
    text = json.dumps(record, ensure_ascii=False)
    return _HALF_CHARACTER.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def as_record(caption: Caption, maps: bool = False) -> dict[str, Any]:
    """All that is known of a caption, for JSON; x and y are fractions of width and height.

    Novelty is null where it is not known, and the warning where the picture is not unusual. Of
    attention, and of evidence where the caption has it, the peak of each word is given, and with
    ``maps`` the whole map, row by row: attention as shares, evidence in nats.
    """
    return {
        "version": RECORD_VERSION,
        "file": caption.source,
        "caption": caption.text,
        "score": round(caption.score, 4),
        "probability": float(f"{caption.probability:.4g}"),
        "confidence": round(caption.confidence, 4),
        "novelty": None if caption.novelty is None else round(caption.novelty, 4),
        "warning": caption.warning,
        "alternatives": [
            {
                "caption": other.text,
                "score": round(other.score, 4),
                "probability": float(f"{other.probability:.4g}"),
            }
            for other in caption.alternatives
        ],
        "words": [_word(caption, index, maps) for index in range(len(caption.words))],
    }


def _word(caption: Caption, index: int, maps: bool) -> dict[str, Any]:
    """What is known of one word."""
    word = {
        "word": caption.words[index],
        "probability": round(caption.probabilities[index], 4),
        **_place(caption, index, "attention", maps),
    }
    if caption.evidence is not None:
        nats = round(float(caption.evidence[index].max()), 4)
        word["evidence"] = {"nats": nats, **_place(caption, index, "evidence", maps)}
    return word


def _place(caption: Caption, index: int, of: MapKind, maps: bool) -> dict[str, Any]:
    """Where a map of one word is greatest, and with ``maps`` the map itself."""
    x, y = caption.peak(index, of)
    place: dict[str, Any] = {"x": round(x, 4), "y": round(y, 4)}
    if maps:
        place["map"] = [
            [round(value, 4) for value in row] for row in caption.maps(of)[index].tolist()
        ]
    return place


def as_html(name: str, text: str) -> str:
    """An ``img`` element for the file ``name`` with ``text`` as its alt text, escaped."""
    return f'<img src="{html.escape(_as_url(name))}" alt="{html.escape(text)}">'


def _as_url(path: str) -> str:
    """The relative address of a file: a "#" in its name begins no fragment, "a:" names no scheme.

    Bytes that are no UTF-8 stay what they are.
    """
    url = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    return f"/.{url}" if url.startswith("//") else url  # else the name of a host


def as_csv(rows: Iterable[tuple[str, str]]) -> str:
    r"""Names and captions as a CSV like that of Kaggle's Flickr8k, which training can read.

    Names stay as they are, but for bytes that are no UTF-8: those become ``\udce9`` and the like. A
    line break inside a caption becomes a space, because some programs read it line by line.
    """
    lines = [
        ("image", "caption"),
        *((as_utf8(name), " ".join(text.split())) for name, text in rows),
    ]
    return "".join(map(csv_line, lines))


def csv_line(cells: Iterable[str]) -> str:
    """One line of a CSV."""
    return ",".join(map(_cell, cells)) + "\n"


def _cell(text: str) -> str:
    """A cell of a CSV, in quotes where it needs them; some programs drop blanks without quotes."""
    if text == text.strip() and not set(text) & set(',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number the names from the second on where several files have the same one.

    As file managers do: ``photo.jpg``, ``photo (2).jpg``.
    """
    distinct: dict[str, None] = {}  # in order
    for name in names:
        (start, suffix), number, free = os.path.splitext(name), 1, name
        while free in distinct:
            number += 1
            free = f"{start} ({number}){suffix}"
        distinct[free] = None
    return list(distinct)
