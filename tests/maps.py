"""A plain photograph and simple attention maps, for the tests of pictures and plots."""

import numpy as np
from PIL import Image

GREY = 200


def grey_photo(width=140, height=70):
    """A photograph of one grey, so that an overlay shows its brightness alone."""
    return Image.new("RGB", (width, height), (GREY,) * 3)


def peaked(row, column, side=7):
    """Attention on one cell of the grid."""
    weights = np.zeros((side, side), np.float32)
    weights[row, column] = 1
    return weights
