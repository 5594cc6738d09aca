"""A generated data set: one coloured shape on grey noise, captioned by colour and shape."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from captioning.data.splits import hashed_split

# None is the noun of a class: an orange circle is a fruit to the classifier, and copied as such.
COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 160, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 30),
    "purple": (140, 30, 160),
    "brown": (110, 65, 25),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
}
SHAPES = ("circle", "square", "triangle", "cross")
COMBINATIONS = list(itertools.product(COLOURS, SHAPES))
# Every colour and every shape is in the training set, but never these together.
HELD_OUT = [("red", "circle"), ("green", "square"), ("blue", "triangle"), ("yellow", "cross")]
CAPTION = "a {} {}"
SIDE = 224  # pixels


class Drawing(NamedTuple):
    """One picture of the set; ``mask`` (224, 224) is True inside the shape."""

    image: Image.Image
    colour: str
    shape: str
    mask: np.ndarray


def draw(colour: str, shape: str, random: np.random.Generator) -> Drawing:
    """Draw one shape of a random size at a random position."""
    radius = int(random.integers(30, 46))
    x, y = (int(random.integers(radius, SIDE - radius)) for _ in range(2))
    mask = Image.new("1", (SIDE, SIDE))
    pen = ImageDraw.Draw(mask)
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=1)
    elif shape == "square":
        pen.rectangle(box, fill=1)
    elif shape == "triangle":
        pen.polygon([(x, box[1]), (box[2], box[3]), (box[0], box[3])], fill=1)
    else:
        arm = radius // 3
        pen.rectangle((x - arm, box[1], x + arm, box[3]), fill=1)
        pen.rectangle((box[0], y - arm, box[2], y + arm), fill=1)
    noise = random.normal(128, 12, (SIDE, SIDE, 1)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(np.repeat(noise, 3, axis=2))
    image.paste(COLOURS[colour], mask=mask)
    return Drawing(image, colour, shape, np.asarray(mask))


def name_in(split: str, stem: str) -> str:
    """A file name that belongs to ``split`` by its hash."""
    names = (f"{stem}_{number}.png" for number in itertools.count())
    return next(name for name in names if hashed_split(name) == split)


def write_data_set(folder: Path, copies: int, seed: int = 0) -> Path:
    """Write drawings of all but the held-out combinations, and captions.txt; returns its path.

    ``copies`` of each for training, one of each for development.
    """
    random = np.random.default_rng(seed)
    rows = ["image,caption"]
    for colour, shape in COMBINATIONS:
        if (colour, shape) in HELD_OUT:
            continue
        for copy in range(copies + 1):
            name = name_in("train" if copy < copies else "dev", f"{colour}_{shape}_{copy}")
            draw(colour, shape, random).image.save(folder / name)
            rows.append(f"{name},{CAPTION.format(colour, shape)}")
    path = folder / "captions.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def held_out_drawings(copies: int, seed: int = 1) -> list[Drawing]:
    """Drawings of the combinations that are not in the training set."""
    random = np.random.default_rng(seed)
    return [draw(*combination, random) for combination in HELD_OUT for _ in range(copies)]
