"""Large photographs from telephones are captioned as the small ones of the data set are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from captioning.app.examples import examples
from captioning.data.caption_files import Photograph, read_captions
from captioning.data.splits import split_photographs
from captioning.inference.captioner import Captioner
from tools.photographs import TURNS, differences, from_a_telephone, large_ones

FLICKR8K = Path(__file__).parents[3] / "shared" / "flickr8k" / "Flickr8k_Subset"
COUNT = 64


@pytest.fixture(scope="module")
def captioner():
    return Captioner.load()


def examples_path(title: str) -> Path:
    return next(example.path for example in examples() if example.title == title)


@pytest.mark.parametrize("turn", TURNS)
def test_what_a_telephone_writes_is_shown_upright(turn):
    """Pillow's own reading of the mark is the judge."""
    path = examples_path("Cat")
    with Image.open(io.BytesIO(from_a_telephone(path, turn, megapixels=0.2))) as photo:
        upright = ImageOps.exif_transpose(photo).convert("RGB")
    with Image.open(path) as original:
        small = original.convert("RGB").resize((45, 30))
    difference = np.asarray(upright.resize((45, 30)), float) - np.asarray(small, float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("title", ["Cat", "Astronaut"])
def test_eight_turns_of_a_large_photograph_give_one_caption(captioner, title):
    path = examples_path(title)
    turned = [from_a_telephone(path, turn) for turn in TURNS]
    assert len({caption.text for caption in captioner.stream(turned)}) == 1


@pytest.mark.skipif(not FLICKR8K.exists(), reason="../shared/flickr8k is not here")
def test_large_photographs_score_as_small_ones_do(captioner):
    """All of the development split: make photographs."""
    file = read_captions(FLICKR8K / "captions.txt", FLICKR8K / "Images")
    photographs: tuple[Photograph, ...] = split_photographs(file.photographs).dev[:COUNT]
    small = [caption.text for caption in captioner.stream(photo.path for photo in photographs)]
    large = [caption.text for caption in captioner.stream(large_ones(photographs))]
    found = differences(large, small, photographs)["CIDEr-D"]
    # On so few photographs a single caption weighs a point: the difference need not be small,
    # but nothing may speak against there being none.
    assert found.interval.low < 0 < found.interval.high or abs(found.difference) < 1
    assert sum(a == b for a, b in zip(small, large, strict=True)) > COUNT / 2
