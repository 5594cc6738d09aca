"""Captions without a model."""

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.data.images import ImageConfig
from captioning.evaluation.baselines import most_frequent_caption, nearest_captions
from captioning.evaluation.model_systems import cached_mean_features


def photograph(name, *captions, path=None):
    return Photograph(name, path, captions)


TRAINING = [
    photograph("a", "A dog runs .", "two cats"),
    photograph("b", "a dog runs", "A man jumps ."),
    photograph("c", "a man jumps", "a horse"),
]


def test_the_most_frequent_caption_is_counted_without_case_and_punctuation():
    assert most_frequent_caption([*TRAINING, photograph("d", "a man jumps!")]) == "a man jumps"
    assert most_frequent_caption(TRAINING) == "a dog runs"  # a tie: the first by alphabet


def test_the_nearest_photograph_is_that_of_the_highest_cosine():
    features = {"a": [1.0, 0.0], "b": [0.0, 9.0], "c": [5.0, 5.0], "x": [0.1, 3.0], "y": [2, 1.9]}

    def mean_features(photographs):
        return np.array([features[photo.name] for photo in photographs])

    wanted = [photograph("x", "-"), photograph("y", "-")]
    assert nearest_captions(wanted, TRAINING, mean_features) == ["a dog runs", "a man jumps"]


def test_mean_features_are_means_over_locations_and_are_kept(tmp_path):
    photographs = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(path)
        photographs.append(photograph(path.name, "-", path=path))
    calls = []

    def encode(pixels):
        calls.append(len(pixels))
        return torch.stack([pixels.flatten(1)[:, :6], 3 + pixels.flatten(1)[:, :6]], dim=1)

    arguments = (tmp_path / "cache", photographs, ImageConfig(size=32), "digest", encode)
    means = np.array(cached_mean_features(*arguments))
    assert means.shape == (3, 6)
    assert means[1, 0] - means[0, 0] == pytest.approx(80 / 255 / 0.229, abs=0.01)
    assert means[0, 0] == pytest.approx((0 - 0.485) / 0.229 + 1.5, abs=0.01)
    done = len(calls)
    np.testing.assert_array_equal(cached_mean_features(*arguments), means)
    assert len(calls) == done
