"""Intervals, paired tests and correlations against scipy, loops, and what must hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from captioning.evaluation.metrics import bleu_of_sums, bleu_rows, bleu_statistics
from captioning.evaluation.uncertainty import (
    Statistic,
    averaged,
    compare,
    estimates,
    intervals,
    mean,
    rank_correlation,
    ranks,
    ratio,
    reliability,
)

rng = np.random.default_rng(0)
several = settings(max_examples=25, deadline=None, database=None)
VALUES = st.one_of(st.integers(-2, 2).map(float), st.floats(allow_nan=False))  # equal ones too


def corpus_bleu_4(statistics):
    return bleu_of_sums(bleu_rows(statistics).sum(axis=0))[3]


def normal(count=400, center=5.0):
    return np.random.default_rng(1).normal(center, 2.0, count)


def test_the_interval_of_a_mean_agrees_with_theory_and_scipy():
    values = normal()
    low, high = intervals({"mean": mean(values)})["mean"]
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=1000, rng=np.random.default_rng(3)
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.03)


def test_95_of_100_intervals_hold_the_truth():
    random = np.random.default_rng(5)
    hits = 0
    for seed in range(300):
        values = random.exponential(1.0, 150)
        low, high = intervals({"": mean(values)}, resamples=400, seed=seed)[""]
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_resampled_bleu_is_the_bleu_of_the_resample():
    words = ["a", "b", "c", "d", "e"]
    captions = [list(rng.choice(words, 8)) for _ in range(30)]
    references = [[list(rng.choice(words, 8)) for _ in range(2)] for _ in captions]
    own = list(map(bleu_statistics, captions, references))
    statistic = Statistic(bleu_rows(own), lambda sums: bleu_of_sums(sums)[:, 3])
    drawn = rng.integers(0, 30, 30)
    sums = statistic.rows[drawn].sum(axis=0, keepdims=True)
    assert statistic.value(sums)[0] == pytest.approx(corpus_bleu_4([own[i] for i in drawn]))
    assert statistic.estimate() == pytest.approx(corpus_bleu_4(own))
    low, high = intervals({"BLEU-4": statistic})["BLEU-4"]
    assert low < statistic.estimate() < high


def test_the_same_seed_gives_the_same_interval_and_one_image_gives_a_point():
    values = normal(50)
    assert intervals({"": mean(values)}) == intervals({"": mean(values)})
    assert intervals({"": mean(np.array([2.5]))})[""] == (2.5, 2.5)


def test_a_ratio_is_of_sums_and_0_where_its_denominator_is():
    assert ratio(np.array([1.0, 5.0]), np.array([2.0, 2.0]), 100).estimate() == 150
    assert ratio(np.zeros(3), np.zeros(3)).estimate() == 0


def test_an_average_is_resampled_together():
    first, second = mean(np.array([1.0, 2.0])), mean(np.array([3.0, 6.0]))
    both = averaged([first, second])
    assert both.estimate() == pytest.approx((1.5 + 4.5) / 2)
    assert both.value(np.array([[4.0, 2.0, 12.0, 2.0]])) == pytest.approx([4.0])
    assert estimates({"x": first, "y": both}) == {"x": 1.5, "y": 3.0}


def test_only_systems_that_differ_are_told_apart():
    values = normal()
    result = compare({"m": mean(values)}, {"m": mean(values[::-1].copy())})["m"]
    assert result.difference == pytest.approx(0)
    assert result.p > 0.9
    better = compare({"m": mean(values + 1.0)}, {"m": mean(values)})["m"]
    assert better.difference == pytest.approx(1.0)
    assert better.interval == pytest.approx((1.0, 1.0))
    assert better.p == pytest.approx(1 / 10_001)


def test_p_is_that_of_scipys_permutation_test():
    random = np.random.default_rng(8)
    a, b = random.normal(0.0, 1.0, 60), random.normal(0.2, 1.0, 60)
    ours = compare({"m": mean(a)}, {"m": mean(b)})["m"].p
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert 0.01 < ours < 0.99
    assert ours == pytest.approx(theirs, abs=0.03)


def test_under_the_null_small_p_are_rare():
    random = np.random.default_rng(4)
    small = 0
    for seed in range(200):
        a, b = random.normal(size=80), random.normal(size=80)
        result = compare({"": mean(a)}, {"": mean(b)}, resamples=10, permutations=200, seed=seed)
        small += result[""].p <= 0.05
    assert small / 200 <= 0.10


def test_only_shared_metrics_are_compared_and_images_must_be_the_same():
    values = normal(10)
    assert compare({"a": mean(values)}, {"b": mean(values)}) == {}
    assert set(compare({"a": mean(values), "b": mean(values)}, {"b": mean(values)})) == {"b"}
    with pytest.raises(ValueError, match="same images"):
        compare({"a": mean(values)}, {"a": mean(values[:5])})
    with pytest.raises(ValueError, match="same images"):
        intervals({"a": mean(np.zeros(0))})


@several
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=VALUES))
def test_ranks_are_scipys(values):
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values, axis=1))


@several
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40))
def test_rank_correlation_is_scipys(pairs):
    first, second = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    result = rank_correlation(first, second, resamples=20).value
    if first.std() == 0 or second.std() == 0:
        assert result == 0
    else:
        assert result == pytest.approx(stats.spearmanr(first, second).statistic)


def test_the_interval_of_a_correlation_is_around_it():
    first = normal(300)
    second = first + np.random.default_rng(2).normal(0, 3, 300)
    result = rank_correlation(first, second)
    assert result.interval.low < result.value < result.interval.high
    assert result.interval.low > 0


def test_reliability_has_bins_of_equal_size_in_order():
    confidence = np.random.default_rng(0).random(103)
    bins = reliability(confidence, confidence * 100)
    assert [each.images for each in bins] == [11, 11, 11, *[10] * 7]
    assert [each.confidence for each in bins] == sorted(each.confidence for each in bins)
    assert all(each.interval.low <= each.quality <= each.interval.high for each in bins)
    assert sum(each.quality * each.images for each in bins) == pytest.approx(confidence.sum() * 100)
    assert len(reliability(confidence[:4], confidence[:4])) == 4
