"""Captions and probabilities in words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.app.wording import escape_markdown, make_distinct, one_in


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
