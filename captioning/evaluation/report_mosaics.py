"""The report's mosaics, and its photographs of another data set.

Each with its caption and, for one word, evidence and attention as heat.
"""

import re
from typing import NamedTuple

from PIL import Image

from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.other_sets import Example
from captioning.evaluation.summary import percent
from captioning.pictures import as_jpeg, data_url, heat_of, overlay, thumbnail

_SIDE = 320  # pixels, the longer one


class Panel(NamedTuple):
    """A picture as the page holds it: its address, its texts, its size in pixels."""

    source: str
    title: str
    alt: str
    width: int
    height: int


class Mosaic(NamedTuple):
    """What the page shows of a mosaic or photograph.

    ``before`` and ``after`` are what surrounds its word.
    """

    before: str
    word: str
    after: str
    panels: list[Panel]
    references: tuple[str, ...] = ()


def mosaic_of(example: MosaicExample) -> Mosaic:
    """Put together what the page shows of a mosaic.

    A word that the caption lacks comes behind it.
    """
    alt = "A dog photograph and one of people as one picture."
    return Mosaic(*_cut(example), _panels(example, "Picture", alt))


def photograph_of(example: Example) -> Mosaic:
    """Put together what the page shows of a photograph of another data set."""
    # Whoever cannot see the photograph judges the caption by what a person wrote about it.
    alt = f"Photograph. In a person's words: {example.references[0]}"
    return Mosaic(*_cut(example), _panels(example, "Photograph", alt), example.references)


def _cut(example: MosaicExample | Example) -> tuple[str, str, str]:
    """The caption up to its word, the word, and the rest."""
    found = re.search(rf"\b{re.escape(example.word)}\b", example.caption, re.IGNORECASE)
    start, end = found.span() if found else (len(example.caption), len(example.caption))
    word = example.caption[start:end] or f" ({example.word})"
    return example.caption[:start], word, example.caption[end:]


def _panels(example: MosaicExample | Example, title: str, alt: str) -> list[Panel]:
    """The picture alone, then under the heat of each kind of map."""
    picture = thumbnail(example.picture.convert("RGB"), _SIDE)
    panels = [_panel(picture, title, alt)]
    for kind, values in (("evidence", example.evidence), ("attention", example.attention)):
        heat = heat_of(kind, values)
        title = f"{kind.capitalize()}, up to {percent(heat.top)}"
        alt = f"The same picture with the {kind} of “{example.word}” as heat."
        panels.append(_panel(overlay(picture, heat), title, alt))
    return panels


def _panel(picture: Image.Image, title: str, alt: str) -> Panel:
    return Panel(data_url("jpeg", as_jpeg(picture)), title, alt, *picture.size)
