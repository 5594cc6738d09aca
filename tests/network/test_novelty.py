"""Novelty: distances against the formula of the density, and percentiles against counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.errors import SettingError
from captioning.network import novelty
from captioning.network.novelty import UNUSUAL, NoveltyDetector

CHANNELS = 6


def features(count, seed=0, shift=0.0):
    """Mean features (count, 6) above 0, some channels related."""
    random = np.random.default_rng(seed)
    normal = random.normal(size=(count, CHANNELS)) @ random.normal(size=(CHANNELS, CHANNELS))
    return np.exp(0.3 * normal + shift).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return NoveltyDetector.fit(features(400), features(300, seed=0)[::-1])


def roots(means):
    return means.astype(np.float64) ** (1 / 8)


def test_with_all_components_it_is_the_mahalanobis_distance(detector):
    training, others = features(400), features(20, seed=3, shift=1.0)
    offsets = roots(others) - roots(training).mean(axis=0)
    inverse = np.linalg.inv(np.cov(roots(training), rowvar=False, bias=True))
    expected = np.sqrt(np.einsum("bc,cd,bd->b", offsets, inverse, offsets))
    assert detector.distance(others) == pytest.approx(expected, rel=0.02)


def test_with_few_components_it_is_the_density_of_probabilistic_pca(monkeypatch):
    monkeypatch.setattr(novelty, "COMPONENTS", 2)
    training, others = features(400), features(20, seed=3, shift=1.0)
    detector = NoveltyDetector.fit(training, training)
    values, vectors = np.linalg.eigh(np.cov(roots(training), rowvar=False, bias=True))
    noise = values[:-2].mean()
    covariance = noise * np.eye(CHANNELS)
    for value, vector in zip(values[-2:], vectors.T[-2:], strict=True):
        covariance += (value - noise) * np.outer(vector, vector)
    offsets = roots(others) - roots(training).mean(axis=0)
    expected = np.sqrt(np.einsum("bc,cd,bd->b", offsets, np.linalg.inv(covariance), offsets))
    assert detector.components.shape == (2, CHANNELS)
    assert detector.distance(others) == pytest.approx(expected, rel=0.02)


def test_the_percentile_is_the_share_of_held_out_photographs_that_are_less_far():
    training, held_out, others = features(400), features(300, seed=1), features(50, seed=2)
    detector = NoveltyDetector.fit(training, held_out)
    less = detector.distance(held_out)[None] < detector.distance(others)[:, None]
    shares = detector.percentile(detector.distance(others))
    assert shares == pytest.approx(less.mean(axis=1), abs=0.01)
    assert 0.1 < shares.mean() < 0.9


def test_one_in_fifty_held_out_photographs_is_unusual():
    held_out = features(1000, seed=1)
    detector = NoveltyDetector.fit(features(400), held_out)
    distances = detector.distance(held_out)
    assert (detector.percentile(distances) >= UNUSUAL).mean() == pytest.approx(0.02, abs=0.002)
    assert (distances >= detector.distance_at(UNUSUAL)).mean() == pytest.approx(0.02, abs=0.002)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=9))
def test_percentiles_are_shares_and_rise_with_the_distance(detector, distances):
    shares = detector.percentile(np.sort(distances))
    assert (shares >= 0).all()
    assert (shares <= 1).all()
    assert (np.diff(shares) >= 0).all()


def test_nearest_and_farthest_are_0_and_1(detector):
    assert detector.percentile(np.array([0.0, 1e9])).tolist() == [0, 1]


def test_a_photograph_alone_is_as_far_as_in_a_batch(detector):
    others = features(9, seed=4)
    together = detector.distance(others)
    alone = np.concatenate([detector.distance(one[None]) for one in others])
    assert together == pytest.approx(alone, rel=1e-5)


def test_channels_that_never_vary_or_are_never_active_do_no_harm():
    training = features(30)
    training[:, 0], training[:, 1] = 0, 2
    detector = NoveltyDetector.fit(training, training)
    changed = training[:5].copy()
    changed[:, 0] = 1
    assert np.isfinite(detector.distance(training)).all()
    assert (detector.distance(changed) > 10 * detector.distance(training[:5])).all()


def test_fewer_photographs_than_channels_are_enough():
    detector = NoveltyDetector.fit(features(3), features(2, seed=1))
    assert detector.components.shape == (2, CHANNELS)
    assert np.isfinite(detector.distance(features(4, seed=2))).all()


@pytest.mark.parametrize(("training", "held_out"), [(0, 5), (1, 5), (5, 0)])
def test_too_few_photographs_are_refused(training, held_out):
    with pytest.raises(SettingError, match="add photographs"):
        NoveltyDetector.fit(features(training), features(held_out))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", np.zeros(CHANNELS + 1)),
        ("mean", np.full(CHANNELS, np.nan)),
        ("components", np.zeros(CHANNELS)),
        ("components", np.zeros((5, 0))),
        ("components", np.full((5, CHANNELS), np.inf)),
        ("variances", np.ones(5)),
        ("variances", np.zeros(6)),
        ("quantiles", np.ones(1)),
        ("quantiles", np.ones((2, 2))),
        ("quantiles", np.array([2.0, 1.0])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(detector, name, value):
    parts = {part: getattr(detector, part) for part in ("mean", "components", "variances")}
    parts |= {"quantiles": detector.quantiles}
    assert NoveltyDetector(**parts)
    with pytest.raises(SettingError):
        NoveltyDetector(**parts | {name: value.astype(np.float32)})
