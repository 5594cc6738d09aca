"""What a corpus of captions scores, against pycocoevalcap, loops, and what must hold."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.errors import SettingError
from captioning.evaluation.corpus import (
    Corpus,
    average_scores,
    caption_scores,
    caption_statistics,
)
from captioning.evaluation.metrics import caption_f1
from captioning.evaluation.uncertainty import estimates
from tests.evaluation.captions import coco, coco_scores, corpora, zipf_corpus

WORDS = ("a", "man", "dog", "'s", "runs", "on", "grass", "the", "red", "ball", "two", "play")
several = settings(max_examples=150, deadline=None, database=None)


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(2)

    def caption():
        return " ".join(rng.choices(WORDS, k=rng.randint(0, 12))) + " ."

    return Corpus.of([caption() for _ in range(2000)], [[caption() for _ in range(5)]] * 2000)


def mixed(corpus, seed=1):
    """References that differ from image to image."""
    rng = random.Random(seed)
    pool = [texts for texts in corpus.candidates if texts]
    return Corpus(corpus.candidates, [rng.choices(pool, k=5) for _ in corpus.candidates])


def test_thousands_of_captions_score_as_in_pycocoevalcap(corpus):
    corpus = mixed(corpus)
    scores = estimates(caption_statistics(corpus).statistics)
    expected = coco_scores(corpus.candidates, corpus.references)
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_each_image_scores_as_in_pycocoevalcap(corpus):
    corpus = mixed(Corpus(corpus.candidates[:200], corpus.references[:200]))
    images = caption_statistics(corpus).images
    expected = {
        "BLEU-4": coco(Bleu(4), corpus.candidates, corpus.references)[1][3],
        "ROUGE-L": coco(Rouge(), corpus.candidates, corpus.references)[1],
        "CIDEr-D": coco(Cider(), corpus.candidates, corpus.references)[1],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(images[name], 100 * np.array(values), rtol=0, atol=1e-6)


def test_caption_scores_are_those_of_coco_times_100():
    candidates, references = zipf_corpus(100, seed=5)
    scores = caption_scores(candidates, references)
    expected = coco_scores(candidates, references)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    f1 = np.mean(list(map(caption_f1, candidates, references)))
    assert scores["caption F1"] == pytest.approx(100 * f1)
    assert list(scores)[:4] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    assert len(scores) == 7


@several
@given(corpora, st.randoms(use_true_random=False))
def test_order_of_images_and_of_references_does_not_matter(corpus, random):
    pairs = zip(*corpus, strict=True)
    shuffled = [(candidate, random.sample(group, len(group))) for candidate, group in pairs]
    random.shuffle(shuffled)
    expected = pytest.approx(caption_scores(*corpus), rel=0, abs=1e-6)
    assert caption_scores(*zip(*shuffled, strict=True)) == expected


@several
@given(corpora)
def test_ids_score_as_words_do(corpus):
    candidates, references = corpus
    ids = {word: number for number, word in enumerate(["a", "dog", "runs", "on", "grass"])}
    as_ids = [[ids[word] for word in caption] for caption in candidates]
    groups = [[tuple(ids[word] for word in caption) for caption in group] for group in references]
    assert caption_scores(as_ids, groups) == caption_scores(candidates, references)


@several
@given(corpora)
def test_scores_stay_in_their_range(corpus):
    scores = caption_scores(*corpus)
    tops = {"CIDEr-D": 1000}
    assert all(0 <= score <= tops.get(name, 100) + 1e-6 for name, score in scores.items())


def test_the_mean_over_images_is_the_score_of_the_corpus(corpus):
    scores = caption_statistics(mixed(corpus))
    for name in ("ROUGE-L", "CIDEr-D", "caption F1"):
        assert scores.images[name].mean() == pytest.approx(scores.statistics[name].estimate())


def test_an_empty_caption_counts_as_empty():
    full = Corpus.of(["a dog", "a man runs"], [["a dog"], ["a man runs"]])
    empty = Corpus.of(["a dog", " . "], [["a dog"], ["a man runs"]])
    assert empty.candidates[1] == []
    better, worse = (caption_statistics(each) for each in (full, empty))
    assert worse.images["ROUGE-L"].tolist() == [100, 0]
    assert worse.statistics["BLEU-1"].estimate() < better.statistics["BLEU-1"].estimate()


def test_leaving_one_out_is_the_mean_of_five_corpora(corpus):
    corpus = mixed(Corpus(corpus.candidates[:50], corpus.references[:50]))
    for index, (without, person) in enumerate(
        zip(corpus.leave_one_out(), corpus.references_as_candidates(), strict=True)
    ):
        others = [texts[:index] + texts[index + 1 :] for texts in corpus.references]
        assert without == Corpus(corpus.candidates, others)
        assert person == Corpus([texts[index] for texts in corpus.references], others)
    for five in (corpus.leave_one_out(), corpus.references_as_candidates()):
        expected = [coco_scores(each.candidates, each.references) for each in five]
        scores = estimates(average_scores(five).statistics)
        assert len(expected) == 5
        for name in expected[0]:
            mean = np.mean([each[name] for each in expected])
            assert scores[name] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("change", [Corpus.leave_one_out, Corpus.references_as_candidates])
def test_leaving_one_out_needs_two(change):
    with pytest.raises(SettingError, match="at least two"):
        change(Corpus.of(["a dog"], [["a dog"]]))


def test_a_corpus_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no caption"):
        Corpus([], [])


@pytest.mark.parametrize(
    ("candidates", "references", "error", "words"),
    [
        ([["a"]], [[["a"]], [["a"]]], ValueError, "1 candidate captions but references for 2"),
        ([["a"], ["b"]], [[["a"]], []], ValueError, "at least one reference"),
        (["a dog"], [[["a"]]], TypeError, "tokenize"),
        ([["a"]], [["a dog"]], TypeError, "tokenize"),
    ],
)
def test_what_does_not_fit_is_refused(candidates, references, error, words):
    with pytest.raises(error, match=words):
        caption_scores(candidates, references)
