"""The feature cache, whatever state its files are in, and the features of control experiments."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.data.caption_files import DataError, Photograph
from captioning.data.dataset import Pixels
from captioning.data.features import (
    Features,
    cached_features,
    with_mean_features,
    with_other_features,
)
from captioning.data.images import ImageConfig


def test_with_the_mean_everywhere_no_place_differs_from_another():
    features = torch.rand(5, 4, 6).half()
    shown = with_mean_features(lambda index: features[index])(3)
    assert shown.shape == (4, 6)
    expected = features[3].float().mean(dim=0).half()
    assert all(torch.equal(row, expected) for row in shown)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_each_photograph_is_shown_once_and_never_with_its_own_captions(count):
    visual = with_other_features(lambda index: torch.tensor([index]), count)
    shown = [int(visual(index)) for index in range(count)]
    assert sorted(shown) == list(range(count))
    assert all(index != other for index, other in enumerate(shown))


def test_a_single_photograph_has_no_other():
    with pytest.raises(ValueError, match="single photograph"):
        with_other_features(lambda index: torch.zeros(1), 1)


# The feature cache ------------------------------------------------------------------------------

SMALL = ImageConfig(size=8)


@pytest.fixture
def photographs(tmp_path):
    """Seven small photographs of noise."""
    random = np.random.default_rng(0)
    found = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
        found.append(Photograph(path.name, path, ("a dog",)))
    return found


class Encode:
    """A cheap encoder to (B, 4, 6) that counts photographs, and fails when told to."""

    def __init__(self, fail_after=None):
        self.count, self.fail_after = 0, fail_after

    def __call__(self, pixels):
        self.count += len(pixels)
        if self.fail_after is not None and self.count > self.fail_after:
            raise KeyboardInterrupt
        return pixels.flatten(1)[:, :24].reshape(-1, 4, 6)


def directly(photographs, config=SMALL):
    pixels = torch.stack([Pixels(photographs, config)(i) for i in range(len(photographs))])
    return Encode()(pixels).to(torch.float16).numpy()


def cached(folder, photographs, encode, weights_hash="w", config=SMALL):
    return cached_features(folder, photographs, config, weights_hash, encode, batch_size=2)


def test_cached_features_are_those_of_encoding(tmp_path, photographs):
    features = cached(tmp_path / "cache", photographs, Encode())
    assert len(np.unique(directly(photographs), axis=0)) == 7
    np.testing.assert_array_equal(features, directly(photographs))
    one = Features(features)(5)
    np.testing.assert_array_equal(one.numpy(), directly(photographs)[5])


def test_the_second_time_nothing_is_encoded(tmp_path, photographs):
    cached(tmp_path / "cache", photographs, Encode())
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == 0
    np.testing.assert_array_equal(features, directly(photographs))


@pytest.mark.parametrize(("fail_after", "left"), [(0, 7), (1, 7), (3, 5), (5, 3), (7, 1)])
def test_an_interruption_costs_only_what_was_not_done(tmp_path, photographs, fail_after, left):
    # The first photograph is always encoded once more, to learn the shape.
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", photographs, Encode(fail_after))
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == left + 1
    np.testing.assert_array_equal(features, directly(photographs))


@pytest.mark.parametrize(
    "change",
    [
        {"weights_hash": "other"},
        {"config": ImageConfig(size=8, mean=(0.5, 0.5, 0.5))},
        {"photographs": slice(0, 6)},
        {"photographs": slice(None, None, -1)},
    ],
    ids=["weights", "image settings", "fewer photographs", "another order"],
)
def test_features_of_other_settings_are_not_mistaken(tmp_path, photographs, change):
    cached(tmp_path / "cache", photographs, Encode())
    own = photographs[change.pop("photographs", slice(None))]
    again = Encode()
    features = cached(tmp_path / "cache", own, again, **change)
    assert again.count == len(own) + 1
    np.testing.assert_array_equal(features, directly(own, change.get("config", SMALL)))


def test_a_cache_that_lost_a_file_is_named(tmp_path, photographs):
    cached(tmp_path / "cache", photographs, Encode())
    for path in (tmp_path / "cache").iterdir():
        if not path.name.endswith(".done.npy"):
            os.unlink(path)
    with pytest.raises(DataError, match="delete the cache folder"):
        cached(tmp_path / "cache", photographs, Encode())
