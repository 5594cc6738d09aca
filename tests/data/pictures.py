"""Photographs that tests of several data sets draw: smooth random colours."""

import numpy as np
from PIL import Image

from captioning.data.caption_files import Photograph


def draw(seed, size=(120, 90)):
    """A picture of this size that depends on the seed alone."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC).resize(size)


def save(folder, name, picture, captions=("a dog runs",), **options):
    """Write a picture and return it as a photograph of a data set."""
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / name, **options)
    return Photograph(name, folder / name, captions)
