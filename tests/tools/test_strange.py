"""tools.strange: what it chooses follows the rule, what it makes can be made again."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import ResNet50_Weights

from captioning.training import novelty
from tests.training.shapes import name_in
from tests.training.test_novelty import noise
from tools import strange
from tools.browser import CHROMIUM
from tools.strange_pictures import drawings, plots, screenshots

NAMES = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]


@pytest.mark.parametrize("maker", [plots, drawings])
def test_pictures_are_made_from_the_seed_alone(maker):
    first, again, other = (list(maker(4, seed)) for seed in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        assert one.mode == "RGB"
        assert one.tobytes() == same.tobytes() != different.tobytes()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_screenshots_are_of_windows_of_several_sizes():
    pictures = list(screenshots(3))
    assert len({picture.size for picture in pictures}) > 1
    assert all(np.asarray(picture).std() > 1 for picture in pictures)  # none is blank


def test_a_picture_is_graphic_by_the_sum_of_its_classes(network, tmp_path):
    noise().save(tmp_path / "a.png")
    weight, bias = torch.zeros(1000, 2048), torch.full((1000,), -100.0)
    for name in ("menu", "comic book", "tench"):
        bias[NAMES.index(name)] = 0.0
    (share,) = strange.graphic(network.encoder, (weight, bias), [tmp_path / "a.png"])
    assert share == pytest.approx(2 / 3)


def test_only_pictures_of_the_web_are_chosen_the_first_by_name(network, tmp_path, monkeypatch):
    images = tmp_path / "Images"
    images.mkdir()
    for name in ("coco_1.webp", "web_1.webp", "web_2.webp", "web_3.webp"):
        Image.new("RGB", (8, 8)).save(images / name)
    state = dict(network.encoder.stages.state_dict())
    bias = torch.full((1000,), -100.0)
    bias[NAMES.index("web site")] = 0.0
    state |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": bias}
    torch.save(state, tmp_path / "resnet.pth")
    monkeypatch.setattr(strange, "FIRST", 2)
    assert list(strange.choose(images, tmp_path / "resnet.pth")) == ["web_1.webp", "web_2.webp"]


def test_what_is_made_is_measured(checkpoint_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(novelty, "FEWEST", 3)
    monkeypatch.setattr(strange, "MAKERS", {"drawings": drawings})
    data, random = tmp_path / "data", np.random.default_rng(0)
    (data / "Images").mkdir(parents=True)
    names = [name_in(split, f"{n}") for split in ("train", "dev") for n in range(12)]
    for name in names:
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(data / "Images" / name)
    rows = ["image,caption", *(f"{name},a dog" for name in names)]
    (data / "captions.txt").write_text("\n".join(rows))
    (tmp_path / "posters.txt").write_text(f"{names[0]}\n")
    made = str(tmp_path / "strange")
    posters = ("--posters", str(tmp_path / "posters.txt"))
    flags = ("--count", "3", "--images", str(data / "Images"))
    assert strange.main(["make", made, *flags, *posters]) == 0
    assert {p.name for p in (tmp_path / "strange").glob("*/*")} == {
        *("0000.png", "0001.png", "0002.png", names[0])
    }
    where = ("--model", str(checkpoint_path), "--data", str(data), *posters)
    assert strange.main(["measure", made, *where]) == 0
    ordinary, of_drawings, of_posters = capsys.readouterr().out.splitlines()
    assert ordinary.startswith("ordinary: 6, ")
    assert of_drawings.startswith("drawings: 3, AUROC ")
    assert of_posters.startswith("posters: 1, AUROC ")


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert strange.main(["measure", str(tmp_path), "--data", str(tmp_path)]) == 1
    assert "no such caption file" in capsys.readouterr().err
