"""Captions in the formats that other programs read: JSON lines, CSV, HTML with alt text."""

import csv
import html
import io
import json
from collections.abc import Iterable
from pathlib import PurePath

from captioning.inference.captioner import Caption


def as_json(caption: Caption) -> str:
    """One line with all that is known of a caption; x and y are fractions of width and height."""
    peaks = [caption.peak(index) for index in range(len(caption.words))]
    content = {
        "file": caption.source,
        "caption": caption.text,
        "score": round(caption.score, 4),
        "probability": float(f"{caption.probability:.4g}"),
        "confidence": round(caption.confidence, 4),
        "alternatives": [
            {
                "caption": other.text,
                "score": round(other.score, 4),
                "probability": float(f"{other.probability:.4g}"),
            }
            for other in caption.alternatives
        ],
        "words": [
            {"word": word, "probability": round(probability, 4), "x": round(x, 4), "y": round(y, 4)}
            for word, probability, (x, y) in zip(
                caption.words, caption.probabilities, peaks, strict=True
            )
        ],
    }
    return json.dumps(content, ensure_ascii=False)


def as_html(name: str, text: str) -> str:
    """An ``img`` element for the file ``name`` with ``text`` as its alt text, escaped."""
    return f'<img src="{html.escape(name)}" alt="{html.escape(text)}">'


def as_csv(rows: Iterable[tuple[str, str]]) -> str:
    """Names and captions as a CSV like that of Kaggle's Flickr8k, which training can read.

    A line break inside a caption becomes a space, because some programs read it line by line.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("image", "caption"))
    writer.writerows((" ".join(name.split()), " ".join(text.split())) for name, text in rows)
    return file.getvalue()


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number the names from the second on where several files have the same one.

    As file managers do: ``photo.jpg``, ``photo (2).jpg``.
    """
    distinct: dict[str, None] = {}  # in order
    for name in names:
        path, number, free = PurePath(name), 1, name
        while free in distinct:
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        distinct[free] = None
    return list(distinct)
