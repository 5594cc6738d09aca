"""The report's mosaics: each with its caption and, for one word, evidence and attention as heat."""

import re
from typing import NamedTuple

from PIL import Image

from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.score_plots import heats_of
from captioning.evaluation.summary import percent
from captioning.pictures import as_jpeg, data_url, overlay, thumbnail

_SIDE = 320  # pixels, the longer one


class Panel(NamedTuple):
    """A picture as the page holds it: its address, its texts, its size in pixels."""

    source: str
    title: str
    alt: str
    width: int
    height: int


class Mosaic(NamedTuple):
    """What the page shows of a mosaic; ``before`` and ``after`` are what surrounds its word."""

    before: str
    word: str
    after: str
    panels: list[Panel]


def mosaic_of(example: MosaicExample) -> Mosaic:
    """Put together what the page shows of a mosaic.

    A word that the caption lacks comes behind it.
    """
    found = re.search(rf"\b{re.escape(example.word)}\b", example.caption, re.IGNORECASE)
    start, end = found.span() if found else (len(example.caption), len(example.caption))
    word = example.caption[start:end] or f" ({example.word})"
    return Mosaic(example.caption[:start], word, example.caption[end:], _panels(example))


def _panels(example: MosaicExample) -> list[Panel]:
    """The picture alone, then under the heat of each kind of map."""
    picture = thumbnail(example.picture.convert("RGB"), _SIDE)
    panels = [_panel(picture, "Picture", "A dog photograph and one of people as one picture.")]
    for kind, heat in heats_of(example).items():
        title = f"{kind.capitalize()}, up to {percent(heat.top)}"
        alt = f"The same picture with the {kind} of “{example.word}” as heat."
        panels.append(_panel(overlay(picture, heat), title, alt))
    return panels


def _panel(picture: Image.Image, title: str, alt: str) -> Panel:
    return Panel(data_url("jpeg", as_jpeg(picture)), title, alt, *picture.size)
