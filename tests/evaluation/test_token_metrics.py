"""Metrics of the next word against scikit-learn, and by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from captioning.evaluation.token_metrics import TeacherForced, perplexity
from captioning.evaluation.uncertainty import estimates, intervals

several = settings(max_examples=150, deadline=None, database=None)


def sample(size, vocabulary_size, seed, photographs=7):
    """Targets with five different predictions, the target often among them."""
    rng = np.random.default_rng(seed)
    top5 = np.argsort(rng.random((size, vocabulary_size)), axis=1)[:, :5]
    rank = np.minimum(rng.geometric(0.4, size) - 1, 6)
    anything = np.minimum(rng.zipf(1.5, size), vocabulary_size) - 1
    picked = top5[np.arange(size), np.minimum(rank, 4)]
    return TeacherForced(
        vocabulary_size,
        photographs=rng.integers(0, photographs, size),
        targets=np.where(rank < 5, picked, anything),
        top5=top5,
        losses=rng.exponential(2.0, size),
    )


def expected_metrics(forced):
    """The same by scikit-learn."""
    targets, predicted = forced.targets, forced.top5[:, 0]
    present = np.unique(targets)
    macro = f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
    weighted = f1_score(targets, predicted, average="weighted", zero_division=0)
    among = [target in row for target, row in zip(targets, forced.top5, strict=True)]
    return {
        "loss": forced.losses.mean(),
        "accuracy": 100 * accuracy_score(targets, predicted),
        "accuracy top-5": 100 * np.mean(among),
        "F1 macro": 100 * macro,
        "F1 weighted": 100 * weighted,
    }


@pytest.mark.parametrize(
    ("size", "vocabulary_size"), [(1, 5), (3, 50), (40, 6), (500, 30), (5000, 300)]
)
@pytest.mark.parametrize("seed", range(4))
def test_they_agree_with_scikit_learn(size, vocabulary_size, seed):
    forced = sample(size, vocabulary_size, seed)
    expected = pytest.approx(expected_metrics(forced))
    assert forced.metrics() == expected
    assert estimates(forced.statistics(images=7)) == expected
    micro = f1_score(forced.targets, forced.top5[:, 0], average="micro", zero_division=0)
    assert forced.metrics()["accuracy"] == pytest.approx(100 * micro)


def test_a_resample_is_scored_as_if_it_were_the_data():
    forced, images = sample(2000, 20, seed=1, photographs=30), 30
    drawn = np.random.default_rng(0).integers(0, images, images)
    rows = np.concatenate([np.flatnonzero(forced.photographs == image) for image in drawn])
    again = TeacherForced(
        forced.vocabulary_size,
        forced.photographs[rows],
        forced.targets[rows],
        forced.top5[rows],
        forced.losses[rows],
    )
    assert set(again.targets) == set(forced.targets)  # or macro F1 is over other words
    expected = expected_metrics(again)
    for name, statistic in forced.statistics(images).items():
        sums = statistic.rows[drawn].sum(axis=0, keepdims=True)
        assert statistic.value(sums)[0] == pytest.approx(expected[name])
    for low, high in intervals(forced.statistics(images)).values():
        assert low < high


@several
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(0, 999))
def test_joined_parts_are_the_whole(cuts, seed):
    whole = sample(60, 12, seed)
    columns = ("photographs", "targets", "top5", "losses")
    parts = [TeacherForced.empty(12)]
    for start, stop in pairwise([0, *sorted(cuts), 60]):
        part = slice(start, stop)
        parts.append(TeacherForced(12, *(getattr(whole, name)[part] for name in columns)))
    joined = TeacherForced.join(parts)
    for name in columns:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_without_a_target_all_are_zero():
    metrics = TeacherForced.empty(4).metrics()
    assert set(metrics) == {"loss", "accuracy", "accuracy top-5", "F1 macro", "F1 weighted"}
    assert set(metrics.values()) == {0.0}


def test_perplexity_is_the_number_of_equally_likely_words():
    fair = TeacherForced(
        8,
        photographs=np.array([0, 0, 1]),
        targets=np.array([1, 2, 3]),
        top5=np.array([[1, 2, 3, 4, 5]] * 3),
        losses=np.full(3, np.log(8)),
    )
    assert perplexity(fair.statistics(images=2)["loss"]).estimate() == pytest.approx(8)


@pytest.mark.parametrize(
    ("targets", "top5", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 5), int), r"must be \(M,\)"),
        (np.zeros(2, int), np.zeros((2, 4), int), r"must be \(M,\)"),
        (np.zeros(2, int), np.zeros((3, 5), int), r"must be \(M,\)"),
        (np.array([7]), np.zeros((1, 5), int), "from 0 to 6"),
        (np.array([0]), np.full((1, 5), -1), "from 0 to 6"),
    ],
)
def test_what_does_not_fit_is_refused(targets, top5, message):
    none = np.zeros(len(targets), int)
    with pytest.raises(ValueError, match=message):
        TeacherForced(7, none, targets, top5, none.astype(float))
