"""A checkpoint gets a detector of its own encoder's features, where there are photographs."""

import numpy as np
import pytest
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.inference.captioner import Captioner
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import save_checkpoint
from captioning.training import novelty
from captioning.training.novelty import with_novelty


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Sixteen photographs of noise."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(16):
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number:02}.png")
    return [Photograph(path.name, path, ("a dog",)) for path in sorted(folder.glob("*.png"))]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(novelty, "FEWEST", 6)


def paths(photographs):
    return [photograph.path for photograph in photographs]


def test_it_is_fitted_to_the_encoders_features(checkpoint, network, photographs):
    training, held_out = photographs[:10], photographs[10:]
    detector = with_novelty(checkpoint, training, held_out).novelty
    parts = checkpoint.images, checkpoint.vocabulary, checkpoint.decoding
    captioner = Captioner(TorchEngine(network), *parts)
    means = [captioner.mean_features(paths(part)) for part in (training, held_out)]
    expected = NoveltyDetector.fit(*means)
    assert detector.quantiles == pytest.approx(expected.quantiles, rel=0.01)
    shares = detector.percentile(detector.distance(means[1]))
    assert (shares.min(), shares.max()) == pytest.approx((0, 1), abs=0.02)


def test_captions_of_the_saved_checkpoint_have_it(checkpoint, photographs, tmp_path):
    made = with_novelty(checkpoint, photographs[:10], photographs[10:])
    save_checkpoint(made, tmp_path / "model.pth")
    captioner = Captioner.load(tmp_path / "model.pth")
    (shown, *_), far = captioner.stream(paths(photographs[10:])), captioner(noise())
    assert 0 <= shown.novelty <= 1
    assert far.is_unusual


def noise():
    """A picture of another kind: fine noise, brighter."""
    pixels = np.random.default_rng(1).integers(0, 2, (64, 64, 3)) * 255
    return Image.fromarray(pixels.astype(np.uint8))


def test_of_many_some_are_drawn_by_seed(checkpoint, photographs, monkeypatch):
    monkeypatch.setattr(novelty, "MOST_TRAINING", 6)
    detectors = [
        with_novelty(checkpoint, photographs[:10], photographs[10:], seed=seed).novelty
        for seed in (0, 0, 1)
    ]
    assert [len(detector.components) for detector in detectors] == [5, 5, 5]
    assert np.array_equal(detectors[0].mean, detectors[1].mean)
    assert not np.array_equal(detectors[0].mean, detectors[2].mean)


@pytest.mark.parametrize(("training", "held_out"), [(16, 5), (5, 16), (16, 0)])
def test_with_too_few_an_older_detector_goes_too(checkpoint, photographs, training, held_out):
    fitted = with_novelty(checkpoint, photographs, photographs)
    assert isinstance(fitted, Checkpoint)
    assert fitted.novelty is not None
    assert with_novelty(fitted, photographs[:training], photographs[:held_out]).novelty is None
