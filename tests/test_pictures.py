"""pictures.py: heat and its colours, against matplotlib's and colour science; sizes."""

import base64
import io

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captioning.pictures import (
    LEAST_EVIDENCE,
    Heat,
    as_jpeg,
    attention_heat,
    colourise,
    data_url,
    evidence_heat,
    overlay,
    scale_picture,
    thumbnail,
)
from tests.maps import GREY, grey_photo, peaked

# Machado, Oliveira and Fernandes (2009): what dichromats see, in linear RGB.
DICHROMATS = {
    "protanopia": "0.1523 1.0526 -0.2049 0.1145 0.7863 0.0992 -0.0039 -0.0481 1.0520",
    "deuteranopia": "0.3673 0.8606 -0.2280 0.2801 0.6725 0.0474 -0.0118 0.0429 0.9689",
    "tritanopia": "1.2555 -0.0767 -0.1788 -0.0784 0.9308 0.1476 0.0047 0.6914 0.3039",
}


def linear(colours):
    """sRGB from 0 to 255 as linear RGB from 0 to 1 (IEC 61966-2-1)."""
    share = np.asarray(colours, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lightness(rgb):
    """CIE L* of linear RGB."""
    luminance = np.clip(rgb @ [0.2126, 0.7152, 0.0722], 0, 1)
    return np.where(
        luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3
    )


# Colours -----------------------------------------------------------------------------------------


def test_the_colours_are_those_of_matplotlib():
    expected = 255 * np.array(matplotlib.colormaps["inferno"].colors)
    assert np.abs(colourise(np.linspace(0, 1, 256)) - expected).max() <= 3


def test_equal_steps_of_a_value_are_equal_steps_of_lightness():
    steps = np.diff(lightness(linear(colourise(np.linspace(0, 1, 21)))))
    assert steps.min() > 0.4 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()


@pytest.mark.parametrize("matrix", DICHROMATS.values(), ids=DICHROMATS)
def test_hotter_is_lighter_for_the_colour_blind(matrix):
    seen = np.clip(
        linear(colourise(np.linspace(0, 1, 21))) @ np.array(matrix.split(), float).reshape(3, 3).T,
        0,
        1,
    )
    assert (np.diff(lightness(seen)) > 1).all()


def test_the_scale_goes_from_cold_to_hot():
    bar = np.asarray(scale_picture(256, 8))
    assert bar.shape == (8, 256, 3)
    assert np.array_equal(bar[0], bar[7])
    assert np.abs(bar[0, [0, 255]].astype(int) - colourise(np.array([0, 1]))).max() <= 2


# Heat --------------------------------------------------------------------------------------------


def test_attention_is_shown_from_nothing_to_its_greatest_share():
    heat = attention_heat(np.array([[0.0, 0.1], [0.3, 0.6]], np.float32))
    assert heat.top == pytest.approx(0.6)
    assert np.allclose(heat.share(), [[0, 1 / 6], [1 / 2, 1]])


def test_even_attention_is_equally_hot_everywhere():
    assert (attention_heat(np.full((7, 7), 1 / 49, np.float32)).share() == 1).all()


def test_evidence_is_the_share_of_the_probability_that_is_lost():
    heat = evidence_heat(np.log([[2.0, 4.0], [1.0, 0.5]]))
    assert heat.top == pytest.approx(0.75)
    assert np.allclose(heat.values, [[0.5, 0.75], [0, 0]])
    assert np.allclose(heat.share(), [[2 / 3, 1], [0, 0]])


def test_evidence_for_a_word_that_rests_on_nothing_is_cold():
    heat = evidence_heat(np.full((7, 7), 0.01))
    assert heat.top == LEAST_EVIDENCE
    assert heat.share().max() < 0.11


@given(st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4))
def test_any_map_has_a_heat_from_0_to_1(values):
    for heat in (attention_heat, evidence_heat):
        shown = heat(np.array(values, np.float32).reshape(2, 2))
        assert shown.top > 0
        assert shown.share().min() >= 0
        assert shown.share().max() <= 1


# Overlays ----------------------------------------------------------------------------------------


def hot(row, column):
    return Heat(peaked(row, column), 1.0)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (6, 3)])
def test_an_overlay_is_hot_where_the_map_is(row, column):
    shown = np.asarray(overlay(grey_photo(140, 70), hot(row, column), 1.0), int)  # cells of 20 x 10
    middle = shown[row * 10 + 4 : row * 10 + 6, column * 20 + 9 : column * 20 + 11]
    assert np.abs(middle - colourise(np.array(1.0))).max() < 50
    far = shown[40:, :40] if (row, column) != (6, 3) else shown[:30]
    assert np.abs(far - colourise(np.array(0.0))).max() <= 3


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_strength_is_the_opacity_of_the_heat(strength):
    shown = np.asarray(overlay(grey_photo(), hot(3, 3), strength=strength), float)
    expected = (1 - strength) * GREY + strength * colourise(np.array(0.0))
    assert np.abs(shown[0, 0] - expected).max() <= 1


def test_more_of_the_map_is_hotter():
    values = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    shown = np.asarray(overlay(grey_photo(160, 40), Heat(values, 0.4)).convert("L"), float)[20]
    assert (np.diff(shown[[20, 60, 100, 140]]) > 5).all()


def test_a_photograph_in_colour_becomes_grey_under_the_heat():
    red = Image.new("RGB", (20, 20), "red")
    pixel = np.asarray(overlay(red, hot(0, 0), strength=0.0))[0, 0]
    assert len(set(pixel.tolist())) == 1


def test_an_overlay_does_not_change_the_photograph():
    photo = grey_photo()
    before = photo.tobytes()
    assert overlay(photo, hot(0, 0)).size == photo.size
    assert photo.tobytes() == before


# Sizes -------------------------------------------------------------------------------------------


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
