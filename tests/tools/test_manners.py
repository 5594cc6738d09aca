"""tools.manners: whose captions read like ordinary ones."""

import pytest
from PIL import Image

from captioning.data.dataset import batches
from captioning.data.splits import hashed_split
from captioning.data.vocab import tokenize
from captioning.training.language import TextDataset, text_loss
from tests.conftest import VOCABULARY
from tools import manners

NAMES = [f"web_{number}.png" for number in range(12)]
TRAINING = [name for name in NAMES if hashed_split(name) == "train"]
CAPTIONS = ("a dog", "the man runs on grass", "two red", "a ball 's dog", "the the the")


@pytest.fixture
def data(tmp_path):
    """Photographs with one or two captions each, and one of another source."""
    rows = {
        name: [CAPTIONS[n % 5], CAPTIONS[n * 3 % 5]][: 1 + n % 2] for n, name in enumerate(NAMES)
    }
    rows["plain.png"] = ["a dog"]
    for name in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    lines = [f"{name},{caption}\n" for name, captions in rows.items() for caption in captions]
    (tmp_path / "captions.csv").write_text("image,caption\n" + "".join(lines))
    return tmp_path, rows


def test_the_named_photographs_have_likely_captions_alone(network, checkpoint_path, data, capsys):
    folder, rows = data

    def loss(caption):
        alone = TextDataset([tokenize(caption)], VOCABULARY, None)
        return text_loss(network, batches(alone, 1))

    worst = {name: max(map(loss, rows[name])) for name in TRAINING}
    most = sorted(worst.values())[len(worst) // 2] + 1e-3
    flags = ["--captions", folder / "captions.csv", "--images", folder, "--most", most]
    assert manners.main([str(checkpoint_path), *map(str, flags)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [name for name in TRAINING if worst[name] <= most]
    assert 0 < len(printed) < len(TRAINING)


def test_a_missing_model_gets_one_sentence(data, capsys):
    folder, _ = data
    flags = ["--captions", str(folder / "captions.csv"), "--images", str(folder)]
    assert manners.main([str(folder / "none.pth"), *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tools.manners: ")
    assert error.count("\n") == 1
