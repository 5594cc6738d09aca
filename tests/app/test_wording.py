"""Captions and probabilities in words."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.app.wording import (
    caption_warning,
    escape_markdown,
    explain_map,
    make_distinct,
    no_evidence,
    one_in,
    percent,
)
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Caption
from captioning.pictures import attention_heat, evidence_heat
from tests.maps import peaked


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (1.0, "100%"),
        (0.5, "50%"),
        (0.11, "11%"),
        (0.1, "1 in 10"),
        (1 / 8437, "1 in 8,400"),
        (1 / 123456, "1 in 120,000"),
        (1e-12, "1 in 1,000,000,000,000"),
    ],
)
def test_a_small_probability_is_one_in_so_many(probability, text):
    assert one_in(probability) == text


def test_a_probability_of_zero_is_not_a_division_by_zero():
    assert one_in(0.0).startswith("1 in 1,000,000")


@given(st.lists(st.sampled_from(["a", "man", "dog"]), max_size=12))
def test_repeated_words_become_distinct_and_look_the_same(words):
    distinct = make_distinct(words)
    assert len(set(distinct)) == len(words)
    assert [text.strip("\N{WORD JOINER}") for text in distinct] == words


@given(st.text("ab*_`[]()#<>:$-~|!+{}\\ ."))
def test_escaping_protects_each_special_character_and_loses_nothing(text):
    escaped = escape_markdown(text)
    assert re.sub(r"\\(.)", r"\1", escaped) == text
    assert not re.search(r"[*_`<\[]", re.sub(r"\\.", "", escaped))


def caption(**changes):
    """A caption in which the model has a confidence of a half."""
    given = {"source": "a.jpg", "text": "a dog", "words": ("a", "dog"), "confidence": 0.5}
    given |= {"attention": peaked(0, 0), "probabilities": (0.5, 0.5), "probability": 0.2}
    return Caption(**given | {"score": -1.0, "alternatives": ()} | changes)


@pytest.mark.parametrize(
    ("novelty", "unsure_below", "expected"),
    [
        (None, 0.1, None),
        (0.979, 0.1, None),
        (0.98, 0.1, "unlike the photographs"),
        (1.0, 0.9, "unlike the photographs"),  # the stronger reason alone
        (0.5, 0.9, "unsure of this caption"),
    ],
)
def test_a_caption_has_one_warning_or_none(novelty, unsure_below, expected):
    calibration = Calibration("CIDEr-D", unsure_below, 20.0, 70.0)
    warning = caption_warning(caption(novelty=novelty), calibration)
    assert (expected is None) == (warning is None)
    assert expected is None or expected in warning
    without = caption_warning(caption(novelty=novelty), None)  # an older result has none
    assert without == (warning if novelty and novelty >= 0.98 else None)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *[(0.0, "0%"), (1e-6, "under 1%"), (0.0049, "under 1%"), (0.006, "1%"), (0.374, "37%")],
        *[(0.994, "99%"), (0.996, "over 99%"), (1 - 1e-6, "over 99%"), (1.0, "100%")],
    ],
)
def test_a_percentage_never_calls_the_possible_impossible_or_certain(share, text):
    assert percent(share) == text


def test_evidence_is_said_as_the_share_of_the_probability_that_is_lost():
    half = evidence_heat(peaked(2, 3) * np.log(2))  # half as likely
    text = explain_map("dog", "evidence", half)
    assert "with the brightest part hidden, “dog” loses 50% of its support" in text


@pytest.mark.parametrize(("loss", "percentage"), [(0.0, 1), (0.004, 1), (0.06, 6), (0.099, 10)])
def test_a_word_that_loses_little_rests_on_no_single_part(loss, percentage):
    losses = peaked(2, 3) * -np.log1p(-loss)
    text = explain_map("in", "evidence", evidence_heat(losses))
    assert "“in” rests on no single part of the photograph" in text
    assert f"at most {percentage}% of its support" in text
    assert "brightest" not in text


def test_attention_is_compared_with_an_even_share():
    weights = np.full((7, 7), 0.9 / 48, np.float32)
    weights[1, 5] = 0.1
    text = explain_map("dog", "attention", attention_heat(weights))
    assert "brightest of 49 spots got 10%; an even share would be 2%" in text


def test_a_page_gives_no_advice_to_programmers():
    reason = "a_b.png is a single pixel, so there is no evidence: caption it without evidence."
    assert no_evidence(reason.replace("a_b.png", "the image"), "a_b.png") == (
        r"a\_b.png is a single pixel, so there is no evidence."
    )
