"""Corpus figures of captions against pycocoevalcap, loops, and what must hold."""

import random

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.evaluation.corpus import (
    Corpus,
    caption_statistics,
    diversity,
    human,
    inventions,
    leave_one_out,
)
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.uncertainty import figures_of

WORDS = ("a", "man", "dog", "'s", "runs", "on", "grass", "the", "red", "ball", "two", "play")


@pytest.fixture(scope="module")
def corpus():
    chance = random.Random(2)

    def caption():
        return " ".join(chance.choices(WORDS, k=chance.randint(0, 12))) + " ."

    return Corpus.of([caption() for _ in range(2000)], [[caption() for _ in range(5)]] * 2000)


def coco(candidates, references):
    """The figures of pycocoevalcap, x100."""
    results = {i: [" ".join(tokens)] for i, tokens in enumerate(candidates)}
    expected = {i: [" ".join(t) for t in texts] for i, texts in enumerate(references)}
    bleu, _ = Bleu(4).compute_score(expected, results, verbose=0)
    found = {f"BLEU-{order}": 100 * value for order, value in enumerate(bleu, start=1)}
    for name, scorer in {"ROUGE-L": Rouge(), "CIDEr-D": Cider()}.items():
        found[name] = 100 * scorer.compute_score(expected, results)[0]
    return found


def mixed(corpus, seed=1):
    """References that differ from image to image."""
    chance = random.Random(seed)
    pool = [texts for texts in corpus.candidates if texts]
    return Corpus(corpus.candidates, [chance.choices(pool, k=5) for _ in corpus.candidates])


def test_thousands_of_captions_score_as_in_pycocoevalcap(corpus):
    corpus = mixed(corpus)
    found = figures_of(caption_statistics(corpus).statistics)
    expected = coco(corpus.candidates, corpus.references)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_the_mean_of_the_images_own_scores_is_that_of_the_corpus(corpus):
    scores = caption_statistics(mixed(corpus))
    for name in ("ROUGE-L", "CIDEr-D", "caption F1"):
        assert scores.images[name].mean() == pytest.approx(scores.statistics[name].figure())


def test_an_empty_caption_counts_as_empty():
    full = Corpus.of(["a dog", "a man runs"], [["a dog"], ["a man runs"]])
    empty = Corpus.of(["a dog", " . "], [["a dog"], ["a man runs"]])
    assert empty.candidates[1] == []
    better, worse = (caption_statistics(each) for each in (full, empty))
    assert worse.images["ROUGE-L"].tolist() == [100, 0]
    assert worse.statistics["BLEU-1"].figure() < better.statistics["BLEU-1"].figure()


def test_leaving_one_out_is_the_mean_of_five_corpora(corpus):
    corpus = mixed(Corpus(corpus.candidates[:50], corpus.references[:50]))
    places = range(5)
    for function, turn in ((leave_one_out, Corpus.without), (human, Corpus.reference_as_candidate)):
        turns = [turn(corpus, place) for place in places]
        expected = [coco(each.candidates, each.references) for each in turns]
        found = figures_of(function(corpus).statistics)
        for name in expected[0]:
            mean = np.mean([each[name] for each in expected])
            assert found[name] == pytest.approx(mean, abs=1e-6)


def test_leaving_one_out_needs_two():
    with pytest.raises(ValueError, match="at least two"):
        human(Corpus.of(["a dog"], [["a dog"]]))


def test_diversity_by_hand():
    corpus = Corpus.of(
        ["A dog runs.", "a dog runs", "a cat"], [["a b"], ["a b c d"], ["a b c", "a"]]
    )
    found = diversity(corpus, {("a", "dog", "runs")})
    assert found.figures == pytest.approx(
        {"distinct-1": 100 * 4 / 8, "distinct-2": 100 * 3 / 5, "vocabulary used": 4}
    )
    assert figures_of(found.statistics) == pytest.approx(
        {
            "length": 8 / 3,
            "reference length": 8 / 3,
            "length ratio": 1.0,
            "most frequent caption": 200 / 3,
            "new captions": 100 / 3,
        }
    )
    assert found.new == [False, False, True]
    assert diversity(corpus, None).new is None


def test_inventions_by_hand():
    corpus = Corpus.of(
        ["a dog with a ball", "a man", "it runs"],
        [["a puppy runs", "the dog"], ["a man on a horse"], ["a dog"]],
    )
    found = inventions(corpus, ObjectWords.load())
    assert found.words == [("ball",), (), ()]
    assert figures_of(found.statistics) == pytest.approx({"CHAIR-s": 100 / 3, "CHAIR-i": 100 / 3})
