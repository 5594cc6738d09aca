"""Photographs to try the captioner with, free to use."""

import json
from dataclasses import dataclass
from pathlib import Path

# The photographs of scikit-image's documentation, as JPEG of quality 80; credits.json has the
# author, licence and source of each, as scikit-image states them (skimage/data/_fetchers.py).
FOLDER = Path(__file__).parent / "photographs"


@dataclass(frozen=True)
class Example:
    """One photograph: its file, its title, and a line with its author and licence."""

    path: Path
    title: str
    credit: str


def examples() -> list[Example]:
    """The four photographs that come with the package."""
    rows = json.loads((FOLDER / "credits.json").read_text(encoding="utf-8"))
    return [Example(FOLDER / row["file"], row["title"], row["credit"]) for row in rows]
