"""Random changes: only those that are set, within bounds, and the same for the same seed."""

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.data.augment import Augmented
from captioning.data.augment_config import AugmentConfig
from captioning.data.caption_files import Photograph
from captioning.data.images import ImageConfig, load_image

IMAGES = ImageConfig(size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    """Dark on the left, bright on the right, a gradient between."""
    path = tmp_path_factory.mktemp("augment") / "gradient.png"
    columns = np.linspace(20, 220, 64).astype(np.uint8)
    Image.fromarray(np.broadcast_to(columns[None, :, None], (48, 64, 3)).copy()).save(path)
    return Photograph(path.name, path, ("a dog on the left",))


def views(photograph, count=40, seed=0, **settings):
    torch.manual_seed(seed)
    augmented = Augmented([photograph], IMAGES, AugmentConfig(**settings))
    return [augmented(0) for _ in range(count)]


def plain(photograph):
    return torch.from_numpy(load_image(photograph.path, IMAGES))


def test_without_changes_the_photograph_stays_as_it_is(photograph):
    (view,) = views(photograph, 1)
    assert torch.equal(view.pixels, plain(photograph))
    assert not view.mirrored


def test_a_mirrored_photograph_is_mirrored_and_marked_so(photograph):
    flipped = views(photograph, flip=0.5)
    for view in flipped:
        expected = plain(photograph).flip(-1) if view.mirrored else plain(photograph)
        assert torch.equal(view.pixels, expected)
    assert {view.mirrored for view in flipped} == {True, False}
    assert all(view.mirrored for view in views(photograph, 5, flip=1.0))


def test_a_crop_keeps_a_part_of_the_photograph_the_right_way_round(photograph):
    crops = [view.pixels for view in views(photograph, crop=0.5)]
    assert len({round(float(pixels.mean()), 4) for pixels in crops}) > 10
    for pixels in crops:
        assert pixels.shape == (3, 32, 32)
        columns = pixels.mean(dim=(0, 1))
        assert (columns.diff() >= -1e-3).all()  # still brighter to the right
        # Half the area, at the narrowest aspect ratio, is 61 % of the width at least.
        spread = (columns[-1] - columns[0]) / (220 - 20) * 255
        assert 0.5 < spread < 1.01


def test_jitter_changes_the_colours_and_moves_nothing(photograph):
    jittered = [view.pixels for view in views(photograph, jitter=0.3)]
    means = [float(pixels.mean()) for pixels in jittered]
    whole = float(plain(photograph).mean())
    assert min(means) < 0.95 * whole < 1.05 * whole < max(means)
    assert all((pixels.mean(dim=(0, 1)).diff() >= -1e-3).all() for pixels in jittered)


def test_the_seed_decides_everything(photograph):
    everything = {"crop": 0.6, "flip": 0.5, "jitter": 0.2}
    first, same, other = (views(photograph, 6, seed, **everything) for seed in (1, 1, 2))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, same, strict=True))
    assert not all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    "settings", [{"crop": 0.0}, {"crop": 1.1}, {"flip": -0.1}, {"flip": 1.1}, {"jitter": 2.0}]
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        AugmentConfig(**settings)
