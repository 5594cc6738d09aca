"""Pointing by hand, and of maps whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from captioning.data.caption_files import Photograph
from captioning.evaluation.mosaics import DOG, KINDS, PERSON, Mosaic
from captioning.evaluation.pointing import (
    PointingResults,
    caption_mosaics,
    centre_map,
    examples,
    judge,
    point,
)
from captioning.evaluation.uncertainty import estimates, intervals
from tests.inference.test_captioner import PHOTOS
from tests.maps import peaked


def mosaic(pair=0, vertical=False, dog_first=True):
    dog, person = (Photograph(name, Path(name), ()) for name in ("dog.jpg", "person.jpg"))
    return Mosaic(pair, dog, person, vertical, dog_first)


def test_mass_and_peak_by_hand():
    values = np.zeros((7, 7))
    values[0, 0], values[0, 3], values[6, 6] = 3, 2, 5  # left, middle column, right
    one, other = point(mosaic(), ["dog", "runs", "man"], np.stack([values] * 3))
    assert (one.kind, one.peak) == (DOG, 0)
    assert one.mass == pytest.approx((3 + 2 / 2) / 10)
    assert (other.kind, other.peak) == (PERSON, 1)
    assert other.mass == pytest.approx((5 + 2 / 2) / 10)


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("dog_first", [False, True])
def test_a_map_on_the_right_half_points_and_one_on_the_other_does_not(vertical, dog_first):
    first, second = ((1, 3), (5, 3)) if vertical else ((3, 1), (3, 5))
    right, wrong = (first, second) if dog_first else (second, first)
    maps = np.stack([peaked(*right), peaked(*wrong)])
    pointed = list(point(mosaic(0, vertical, dog_first), ["dog", "puppy"], maps))
    assert [(one.mass, one.peak) for one in pointed] == [(1, 1), (0, 0)]


def test_the_middle_counts_half_and_so_do_ties():
    tie = peaked(0, 0) + peaked(0, 6)
    pointed = list(point(mosaic(), ["dog", "dog"], np.stack([peaked(0, 3), tie])))
    assert [(one.mass, one.peak) for one in pointed] == [(0.5, 0.5), (0.5, 0.5)]


def test_what_speaks_against_a_word_has_no_mass():
    (one,) = point(mosaic(), ["dog"], (peaked(0, 0) - 9 * peaked(0, 6))[None])
    assert (one.mass, one.peak) == (1, 1)


@pytest.mark.parametrize("value", [0.0, 1.0, -2.0])
def test_a_constant_map_is_at_chance(value):
    (one,) = point(mosaic(), ["dog"], np.full((1, 7, 7), value))
    assert (one.mass, one.peak) == (0.5, 0.5)


@given(arrays(np.float32, (7, 7), elements=st.floats(-4, 4, width=32)), st.sampled_from(KINDS))
def test_the_two_orders_of_a_mosaic_add_up_to_one(values, kind):
    word = {DOG: "dog", PERSON: "man"}[kind]
    (one,), (other,) = (point(mosaic(dog_first=o), [word], values[None]) for o in (True, False))
    assert 0 <= one.mass <= 1
    assert one.mass + other.mass == pytest.approx(1)
    assert one.peak + other.peak == pytest.approx(1)


def test_the_centre_is_at_chance_and_sums_to_one():
    null = centre_map((7, 7))
    assert null.sum() == pytest.approx(1)
    assert null.argmax() == 24
    assert np.allclose(null, null[::-1, ::-1])
    assert null[3, 3] > 3 * null[3, 0]
    (one,) = point(mosaic(), ["dog"], null[None])
    assert (one.mass, one.peak) == (pytest.approx(0.5), 0.5)


def test_means_are_over_words_and_then_over_kinds():
    maps = np.stack([peaked(3, 0), peaked(3, 0), peaked(3, 6), peaked(3, 0)])
    words = ["dog", "dog", "dog", "man"]
    pointed = [*point(mosaic(0), words, maps), *point(mosaic(1), ["man"], maps[2:3])]
    results = PointingResults(pairs=2, mosaics=2, maps={"attention": pointed})
    assert results.words() == {DOG: 3, PERSON: 2}
    statistics = results.statistics("attention")
    assert estimates(statistics) == pytest.approx(
        {
            "mass": (2 / 3 + 1 / 2) / 2,
            "peak": (2 / 3 + 1 / 2) / 2,
            **{"mass dog": 2 / 3, "peak dog": 2 / 3, "mass person": 1 / 2, "peak person": 1 / 2},
        }
    )
    low, high = intervals(statistics)["mass person"]
    assert (low, high) == (0, 1)  # one pair is right and the other wrong


# With a captioner --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captioned(captioner, tmp_path_factory):
    """Mosaics of photographs of noise, and their captions."""
    folder, photographs = tmp_path_factory.mktemp("noise"), []
    for number, photo in enumerate(PHOTOS):
        photo.save(folder / f"{number}.png")
        photographs.append(Photograph(f"{number}", folder / f"{number}.png", ()))
    mosaics = [
        Mosaic(pair, photographs[pair], photographs[pair + 3], vertical, dog_first)
        for pair in range(3)
        for vertical in (False, True)
        for dog_first in (True, False)
    ]
    return mosaics, list(caption_mosaics(captioner, mosaics))


def test_the_captions_are_the_models_own(captioned, captioner):
    mosaics, captions = captioned
    for each, caption in zip(mosaics, captions, strict=True):
        assert caption.words == captioner(each.picture()).words
        assert caption.evidence.shape == caption.attention.shape


def test_all_kinds_of_maps_are_judged_on_the_same_words(captioned):
    mosaics, captions = captioned
    results = judge(mosaics, captions)
    assert (results.pairs, results.mosaics) == (3, 12)
    named = [word for caption in captions for word in caption.words if word in ("dog", "man")]
    assert named
    assert results.words() == {DOG: named.count("dog"), PERSON: named.count("man")}
    words = {
        name: [(one.pair, one.kind) for one in pointed] for name, pointed in results.maps.items()
    }
    assert list(words) == ["evidence", "attention", "centre"]
    assert words["evidence"] == words["attention"] == words["centre"]
    first = next(iter(point(mosaics[0], captions[0].words, captions[0].evidence)), None)
    assert first is None or results.maps["evidence"][0] == first
    assert estimates(results.statistics("centre"))["peak dog"] == 0.5


def test_examples_show_every_arrangement_and_the_words_own_maps(captioned):
    mosaics, captions = captioned
    shown = examples(mosaics, captions, count=3)
    assert len(shown) <= 3
    for example in shown:
        same = [each for each in captions if each.sentence == example.caption]
        index = same[0].words.index(example.word)
        maps = [(each.attention[index], each.evidence[index]) for each in same]
        assert any(
            np.array_equal(example.attention, attention)
            and np.array_equal(example.evidence, evidence)
            for attention, evidence in maps
        )
        assert example.picture.size in {(448, 224), (224, 448)}
