"""AUROC against comparing every pair, and what is measured of a captioner."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.caption_files import DataError
from captioning.errors import SettingError
from captioning.evaluation.novelty import (
    NoveltyResults,
    auroc,
    auroc_interval,
    measure_novelty,
    pictures_by_kind,
)
from captioning.inference.captioner import Captioner
from captioning.network.novelty import UNUSUAL, NoveltyDetector
from tests.inference.test_captioner import PHOTOS

VALUES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(VALUES, VALUES)
@settings(deadline=None)
def test_auroc_is_the_share_of_pairs_in_which_the_strange_one_is_farther(ordinary, strange):
    pairs = [(s > o) + (s == o) / 2 for s in strange for o in ordinary]
    measured = auroc(np.array(ordinary), np.array(strange))
    assert measured == pytest.approx(np.mean(pairs))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth, covered = 0.7602, 0  # of normal distributions one standard deviation apart
    for seed in range(60):
        random = np.random.default_rng(seed)
        ordinary, strange = random.normal(size=80), random.normal(1, 1, 60)
        low, high = auroc_interval(ordinary, strange, resamples=200, seed=seed)
        assert low <= auroc(ordinary, strange) <= high
        covered += low <= truth <= high
    assert 51 <= covered <= 60


def test_the_section_has_each_kind():
    ordinary = np.arange(100.0)
    strange = {"drawings": np.array([200.0, 98.5]), "noise": np.array([50.0])}
    section = NoveltyResults(ordinary, strange, limit=98.0).to_json()
    assert section["level"] == UNUSUAL
    assert (section["ordinary"], section["ordinary called unusual"]) == (100, 0.02)
    drawings = section["kinds"]["drawings"]
    assert (drawings["pictures"], drawings["called unusual"]) == (2, 1.0)
    assert drawings["AUROC"] == pytest.approx((1 + 0.99) / 2)
    assert section["kinds"]["noise"]["called unusual"] == 0
    assert json.loads(json.dumps(section)) == section


def test_pictures_are_measured_by_their_mean_features(captioner):
    means = captioner.mean_features(PHOTOS)
    detector = NoveltyDetector.fit(means[:4], means[:4])
    parts = captioner.engine, captioner.images, captioner.vocabulary, captioner.decoding
    results = measure_novelty(Captioner(*parts, detector), PHOTOS[:4], {"others": PHOTOS[4:]})
    assert results.ordinary == pytest.approx(detector.distance(means[:4]), rel=1e-4)
    assert results.strange["others"] == pytest.approx(detector.distance(means[4:]), rel=1e-4)
    assert results.to_json()["kinds"]["others"]["AUROC"] == 1  # not what it was fitted to


def test_a_model_without_a_detector_says_so(captioner):
    with pytest.raises(SettingError, match="leave --strange out"):
        measure_novelty(captioner, PHOTOS, {"others": PHOTOS})


def test_kinds_are_the_folders_pictures(tmp_path):
    for name in ("plots/b.png", "plots/a.JPG", "plots/notes.txt", "posters/c.webp", "d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    kinds = {kind: [p.name for p in paths] for kind, paths in pictures_by_kind(tmp_path).items()}
    assert kinds == {"plots": ["a.JPG", "b.png"], "posters": ["c.webp"]}


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_folder_without_pictures_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="put those of each kind into one"):
        pictures_by_kind(tmp_path / name)
