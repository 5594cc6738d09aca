"""Which captions should be checked."""

import json

import pytest

from captioning.evaluation.calibration import Calibration
from captioning.network.checkpoint import SHIPPED_MODEL, file_hash


def section(*bins):
    """A calibration section; each bin is its probability, its score and its photographs."""
    rows = [{"probability": p, "CIDEr-D": score, "images": count} for p, score, count in bins]
    return {"sha256": "abc", "calibration": {"of": "CIDEr-D", "bins": rows}}


def test_the_least_confident_fifth_is_unsure():
    tenths = [(0.1 * k, 10.0 * k, 10) for k in range(1, 11)]
    calibration = Calibration.from_result(section(*reversed(tenths)))
    assert calibration.threshold == pytest.approx(0.25)
    assert calibration.unsure_score == pytest.approx(15)
    assert calibration.other_score == pytest.approx(sum(10 * k for k in range(3, 11)) / 8)
    assert calibration.is_unsure(0.2)
    assert not calibration.is_unsure(0.3)


def test_bins_count_by_their_photographs():
    calibration = Calibration.from_result(section((0.2, 10, 30), (0.4, 20, 10), (0.6, 50, 30)))
    assert calibration.threshold == pytest.approx(0.3)  # one bin at least
    assert calibration.other_score == pytest.approx((20 * 10 + 50 * 30) / 40)


@pytest.mark.parametrize("result", [{}, section(), section((0.5, 10, 5))])
def test_without_bins_nothing_is_unsure(result):
    assert Calibration.from_result(result) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sha256": "abc", "calibration": {"bins": [1]}}'])
def test_a_damaged_file_is_none(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    assert Calibration.read(path, "abc") is None
    assert Calibration.read(tmp_path / "missing.json", "abc") is None


def test_the_result_of_another_model_does_not_count(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(section((0.2, 10, 20), (0.5, 50, 80))))
    assert Calibration.read(path, "abc").unsure_score == 10
    assert Calibration.read(path, "abd") is None


def test_the_model_that_ships_is_calibrated():
    calibration = Calibration.read(
        SHIPPED_MODEL.with_name("results.json"), file_hash(SHIPPED_MODEL)
    )
    assert calibration.unsure_score < calibration.other_score
    assert 0 < calibration.threshold < 1
