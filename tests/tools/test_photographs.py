"""Large photographs from phones are captioned like the small ones of the data set."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from captioning.app.examples import examples
from captioning.data.caption_files import Photograph, read_captions
from captioning.data.splits import split_photographs
from captioning.inference.captioner import Captioner
from tools.photographs import TRANSPOSES, as_phone_photo, as_phone_photos, differences, main

FLICKR8K = Path(__file__).parents[3] / "shared" / "flickr8k" / "Flickr8k_Subset"
COUNT = 64


@pytest.fixture(scope="module")
def captioner():
    return Captioner.load()


def examples_path(title: str) -> Path:
    return next(example.path for example in examples() if example.title == title)


@pytest.mark.parametrize("orientation", TRANSPOSES)
def test_a_phone_photo_is_shown_upright(orientation):
    """Pillow's own reading of the orientation is the reference."""
    path = examples_path("Cat")
    with Image.open(io.BytesIO(as_phone_photo(path, orientation, megapixels=0.2))) as photo:
        upright = ImageOps.exif_transpose(photo).convert("RGB")
    with Image.open(path) as original:
        small = original.convert("RGB").resize((45, 30))
    difference = np.asarray(upright.resize((45, 30)), float) - np.asarray(small, float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("title", ["Cat", "Astronaut"])
def test_eight_orientations_of_a_large_photograph_give_one_caption(captioner, title):
    path = examples_path(title)
    photos = [as_phone_photo(path, orientation) for orientation in TRANSPOSES]
    assert len({caption.text for caption in captioner.stream(photos)}) == 1


@pytest.mark.skipif(not FLICKR8K.exists(), reason="../shared/flickr8k is not here")
def test_large_photographs_score_as_small_ones_do(captioner):
    """``make photographs`` measures the whole development split."""
    file = read_captions(FLICKR8K / "captions.txt", FLICKR8K / "Images")
    photographs: tuple[Photograph, ...] = split_photographs(file.photographs).dev[:COUNT]
    small = [caption.text for caption in captioner.stream(photo.path for photo in photographs)]
    large = [caption.text for caption in captioner.stream(as_phone_photos(photographs))]
    result = differences(large, small, photographs)["CIDEr-D"]
    # On so few photographs a single caption weighs a point, so a small difference cannot be
    # required, but zero must be plausible.
    assert result.interval.low < 0 < result.interval.high or abs(result.difference) < 1
    assert sum(a == b for a, b in zip(small, large, strict=True)) > COUNT / 2


def test_a_missing_data_set_gets_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main() == 1
    error = capsys.readouterr().err
    assert "no such caption file" in error
    assert error.count("\n") == 1
