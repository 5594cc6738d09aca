"""pictures.py: what is bright and what is dark, and sizes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from captioning.pictures import as_jpeg, brightness, data_url, overlay, thumbnail
from tests.maps import GREY, grey_photo, peaked


def brightness_kept(photo, weights, **options):
    """How much of its brightness each pixel keeps: (H, W), 0 to 1."""
    return np.asarray(overlay(photo, weights, **options), dtype=float)[..., 0] / GREY


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (6, 3)])
def test_the_photograph_keeps_its_brightness_where_the_model_looked(row, column):
    kept = brightness_kept(grey_photo(140, 70), peaked(row, column))  # cells of 20 x 10 pixels
    middle = kept[row * 10 + 4 : row * 10 + 6, column * 20 + 9 : column * 20 + 11]
    assert middle.min() > 0.95
    far = kept[40:, :40] if (row, column) != (6, 3) else kept[:30]
    assert far.max() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_is_the_brightness_lost_where_it_looked_least(strength):
    kept = brightness_kept(grey_photo(), peaked(3, 3), strength=strength)
    assert kept[0, 0] == pytest.approx(1 - strength, abs=0.01)
    assert kept.max() == pytest.approx(1, abs=0.03)


def test_more_attention_is_brighter():
    weights = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    kept = brightness_kept(grey_photo(160, 40), weights)[20]
    middles = kept[[20, 60, 100, 140]]
    assert (np.diff(middles) > 0.1).all()


@pytest.mark.parametrize("weight", [1 / 49, 0.0])
def test_even_attention_darkens_nothing(weight):
    photo = grey_photo()
    weights = np.full((7, 7), weight, np.float32)
    assert np.array_equal(np.asarray(overlay(photo, weights)), np.asarray(photo))


def test_nearly_even_attention_shows_little_contrast():
    weights = np.full((7, 7), 1 / 49, np.float32)
    weights[0, 0] *= 1.02
    assert brightness_kept(grey_photo(), weights).min() > 0.95


def test_brightness_is_1_where_the_model_looked_most_and_0_where_least():
    weights = np.array([[0.0, 0.1], [0.3, 0.6]], np.float32)
    assert np.allclose(brightness(weights), [[0, 1 / 6], [1 / 2, 1]])


def test_an_overlay_does_not_change_the_photograph():
    photo = grey_photo()
    before = photo.tobytes()
    assert overlay(photo, peaked(0, 0)).size == photo.size
    assert photo.tobytes() == before


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 320), (100, 50)), ((10, 20), (50, 100)), ((9000, 3), (100, 1)), ((3, 9000), (1, 100))],
)
def test_a_thumbnail_keeps_the_proportions_and_never_vanishes(size, expected):
    assert thumbnail(Image.new("RGB", size), 100).size == expected


def test_a_data_url_holds_the_picture():
    head, _, content = data_url("jpeg", as_jpeg(grey_photo(30, 20))).partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (30, 20))
