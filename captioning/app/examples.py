"""Photographs to try the captioner with: those that scikit-image ships, free to use."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """One photograph: its file, its title, and whom to thank under which terms."""

    path: Path
    title: str
    credit: str


# As scikit-image's documentation of each (skimage/data/_fetchers.py) credits them.
_FILES = {
    "astronaut.png": ("Astronaut", "Eileen Collins, NASA; public domain"),
    "chelsea.png": ("Cat", "Stefan van der Walt; CC0"),
    "coffee.png": ("Coffee", "Rachel Michetti, Pikolo Espresso Bar; CC0"),
    "rocket.jpg": ("Rocket", "SpaceX; public domain"),
}


def examples() -> list[Example]:
    """The photographs that are there; none where scikit-image is not installed."""
    found = find_spec("skimage")  # it need not be imported for its files
    if found is None or found.origin is None:
        return []
    folder = Path(found.origin).parent / "data"
    return [
        Example(folder / name, title, credit)
        for name, (title, credit) in _FILES.items()
        if (folder / name).is_file()
    ]
