"""tools.pointing: each kind of evidence is measured; the numbers are for docs/experiments.md."""

from pathlib import Path

from captioning.data.caption_files import Photograph
from captioning.inference.torch_engine import TorchEngine
from tests.inference.test_captioner import PHOTOS
from tools import pointing


def test_each_variant_has_mass_peak_and_rank_correlation(checkpoint, network, tmp_path):
    photographs = []
    for number, photo in enumerate(PHOTOS):
        path = tmp_path / f"{number}.png"
        photo.save(path)
        captions = ("a dog runs",) * 5 if number % 2 else ("a man plays",) * 5
        photographs.append(Photograph(path.name, Path(path), captions))
    rows = pointing.measure(checkpoint, TorchEngine(network), photographs, seed=0)
    weights = [weight for weights in pointing.VARIANTS.values() for weight in weights]
    for weight, (mass, peak, correlation) in zip(weights, rows, strict=True):
        assert 0 <= mass <= 1
        assert 0 <= peak <= 1
        assert -1 <= correlation <= 1
        if weight == 1:
            assert correlation > 0.99  # with itself


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert pointing.main(["--references", str(tmp_path / "none.txt")]) == 1
    assert "no such caption file" in capsys.readouterr().err
