"""Lengths, variety and repetition of captions."""

import pytest

from captioning.evaluation.corpus import Corpus
from captioning.evaluation.diversity import diversity
from captioning.evaluation.uncertainty import estimates


def test_diversity_by_hand():
    corpus = Corpus.of(
        ["A dog runs.", "a dog runs", "a cat"], [["a b"], ["a b c d"], ["a b c", "a"]]
    )
    result = diversity(corpus, {("a", "dog", "runs")})
    assert result.metrics == pytest.approx(
        {"distinct-1": 100 * 4 / 8, "distinct-2": 100 * 3 / 5, "vocabulary used": 4}
    )
    assert estimates(result.statistics) == pytest.approx(
        {
            "length": 8 / 3,
            "reference length": 8 / 3,
            "length ratio": 1.0,
            "most frequent caption": 200 / 3,
            "new captions": 100 / 3,
        }
    )
    assert result.new == [False, False, True]
    assert diversity(corpus, None).new is None
