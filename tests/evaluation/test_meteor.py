"""METEOR equals that of its authors' program."""

import random

import numpy as np
import pytest
from pycocoevalcap.meteor.meteor import Meteor

from captioning.evaluation import meteor as module
from captioning.evaluation.meteor import meteor, why_not
from captioning.evaluation.uncertainty import intervals

needs_java = pytest.mark.skipif(why_not() is not None, reason="Java is not installed")
TEXT = """
    a the dog dogs puppy runs running man boy on in grass field red ball plays with
"""
WORDS = TEXT.split()


@pytest.fixture(scope="module")
def corpus():
    rng = random.Random(0)

    def caption():
        return rng.choices(WORDS, k=rng.randint(1, 12))

    candidates = [caption() for _ in range(60)]
    references = [[caption() for _ in range(3)] for _ in candidates]
    candidates[0] = list(references[0][1])  # a perfect one
    candidates[1] = []
    return candidates, references


@needs_java
def test_it_equals_the_score_of_the_program(corpus):
    candidates, references = corpus
    results = {i: [" ".join(tokens)] for i, tokens in enumerate(candidates)}
    expected = {i: [" ".join(t) for t in texts] for i, texts in enumerate(references)}
    score, _ = Meteor().compute_score(expected, results)
    assert meteor(candidates, references).estimate() == pytest.approx(100 * score, abs=1e-6)


@needs_java
def test_a_resample_scores_as_it_does_in_the_program(corpus):
    candidates, references = corpus
    statistic = meteor(candidates, references)
    drawn = np.random.default_rng(0).integers(0, len(candidates), len(candidates))
    again = meteor([candidates[i] for i in drawn], [references[i] for i in drawn])
    sums = statistic.rows[drawn].sum(axis=0, keepdims=True)
    assert statistic.value(sums)[0] == pytest.approx(again.estimate())
    low, high = intervals({"METEOR": statistic})["METEOR"]
    assert low < statistic.estimate() < high


@needs_java
def test_empty_captions_score_nothing():
    assert meteor([[], []], [[["a", "dog"]], [["a"]]]).estimate() == 0


def test_the_reason_names_what_is_missing(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert "no Java" in why_not()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert "pycocoevalcap" in why_not()
