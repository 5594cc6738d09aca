"""tools.ranges: the ranges of a model are measured on training photographs, and belong to it."""

import json

from captioning.inference.engine_config import EngineConfig
from captioning.inference.engines import make_engine, ranges_path
from captioning.network.checkpoint import file_hash
from captioning.network.shipped import SHIPPED_MODEL
from tests.inference.test_captioner import PHOTOS
from tools import ranges


def test_a_model_of_ones_own_gets_its_ranges(tmp_path, checkpoint, checkpoint_path, capsys):
    model = tmp_path / "mine.pth"
    model.symlink_to(checkpoint_path)
    lines = ["image,caption"]
    for number, photo in enumerate(PHOTOS * 4):
        photo.save(tmp_path / f"{number}.png")
        lines += [f"{number}.png,a dog runs", f"{number}.png,a man"]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    flags = ["--model", model, "--references", tmp_path / "captions.csv", "--images", tmp_path]
    assert ranges.main(list(map(str, flags))) == 0
    assert capsys.readouterr().out == f"written to {tmp_path / 'mine.ranges.json'}\n"
    engine = make_engine(checkpoint, model, EngineConfig("onnx", "int8"))
    assert engine.precision == "int8"


def test_the_shipped_ranges_are_of_the_shipped_model():
    shipped = json.loads(ranges_path(SHIPPED_MODEL).read_text())
    assert shipped["checkpoint"] == file_hash(SHIPPED_MODEL)
    assert shipped["photographs"] == ranges.PHOTOGRAPHS


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert ranges.main(["--references", str(tmp_path / "none.txt")]) == 1
    assert "no such caption file" in capsys.readouterr().err
