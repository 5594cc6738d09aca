"""The rates of CHAIR."""

import pytest

from captioning.evaluation.corpus import Corpus
from captioning.evaluation.hallucination import hallucinations
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.uncertainty import estimates


def test_hallucinations_by_hand():
    corpus = Corpus.of(
        ["a dog with a ball", "a man", "it runs"],
        [["a puppy runs", "the dog"], ["a man on a horse"], ["a dog"]],
    )
    result = hallucinations(corpus, ObjectWords.load())
    assert result.words == [("ball",), (), ()]
    assert estimates(result.statistics) == pytest.approx({"CHAIR-s": 100 / 3, "CHAIR-i": 100 / 3})


def test_a_word_counts_once_per_caption():
    corpus = Corpus.of(["a dog, a dog, a cat and snow", "it runs"], [["a puppy", "snowy"], ["a"]])
    result = hallucinations(corpus, ObjectWords.load())
    assert result.words == [("cat",), ()]
    assert estimates(result.statistics) == pytest.approx({"CHAIR-s": 50, "CHAIR-i": 100 / 3})
