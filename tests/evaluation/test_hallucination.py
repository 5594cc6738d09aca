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
    third = 100 / 3
    assert estimates(result.statistics) == pytest.approx(
        {"CHAIR-s": third, "CHAIR-i": third, "supported objects": 2 * third}
    )


def test_a_word_counts_once_per_caption():
    corpus = Corpus.of(["a dog, a dog, a cat and snow", "it runs"], [["a puppy", "snowy"], ["a"]])
    result = hallucinations(corpus, ObjectWords.load())
    assert result.words == [("cat",), ()]
    assert estimates(result.statistics) == pytest.approx(
        {"CHAIR-s": 50, "CHAIR-i": 100 / 3, "supported objects": 50}
    )


def test_a_caption_may_name_a_supported_object_beside_others_or_none_at_all():
    """The two shares are not each other's complement."""
    references = [["a puppy", "a man"]] * 4
    corpus = Corpus.of(["a dog and a cat", "a cat", "it is red", "two dogs"], references)
    rates = estimates(hallucinations(corpus, ObjectWords.load()).statistics)
    assert (rates["supported objects"], rates["CHAIR-s"]) == (50, 50)
