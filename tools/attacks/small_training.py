"""A training of all stages that takes seconds, as real processes of main.py, and its files."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet50

from captioning.data.splits import hashed_split
from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import load_plain
from tools.attacks.killing import start

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("language", "decoder", "finetune", "refine", "reinforce", "blend", "best")
SETTINGS: Mapping[str, object] = {
    "image-size": 64,
    "train-size": 48,
    "embedding-dim": 8,
    "attention-dim": 6,
    "decoder-dim": 7,
    "min-count": 2,
    "batch-size": 2,
    "epochs": 2,
    "beam": 2,
    "precision": "float32",
    "device": "cpu",
}
NO_SHIPPED = """
import sys
from pathlib import Path
import main
from captioning.training import pipeline, starts
for module in (pipeline, starts):
    module.SHIPPED_MODEL = Path("model/model.pth")
sys.exit(main.main(sys.argv[1:]))
"""


def draw_photographs(folder: Path, **missing: int) -> list[str]:
    """Photographs of noise in a folder, so many of each split; their names."""
    noise, names = np.random.default_rng(0), []
    for name in (f"{i}.png" for i in range(1000)):
        if missing.get(hashed_split(name), 0):
            missing[hashed_split(name)] -= 1
            pixels = noise.integers(0, 256, (6, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((90, 60)).save(folder / name)
            names.append(name)
    return names


class SmallTraining:
    """A folder with a data set of ten photographs, in which main.py trains.

    Most of the training captions have words of their own. The model that ships is model/model.pth
    in the folder, where there is one, and never that of the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        torch.manual_seed(0)
        torch.save(resnet50(weights=None).state_dict(), folder / "resnet50.pth")
        (folder / "photos").mkdir()
        rows = ["image,caption"]
        for name in draw_photographs(folder / "photos", train=7, dev=3):
            rows += [f"{name},A man rides horse {k} , {name[0]} fast ." for k in range(2)]
        (folder / "captions.txt").write_text("\n".join(rows) + "\n")
        (folder / "text.txt").write_text("".join(f"A dog number {k} runs .\n" for k in range(7)))

    def command(self, *arguments: str) -> list[str]:
        """The words of a command that trains."""
        settings = [text for name, value in SETTINGS.items() for text in (f"--{name}", str(value))]
        data = ["--captions", "captions.txt", "--images", "photos", "--text", "text.txt"]
        weights = ["--encoder-weights", "resnet50.pth"]
        return [sys.executable, "-c", NO_SHIPPED, *data, *weights, *settings, *arguments]

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a training; what it prints is added to log.txt."""
        return start(self.command(*arguments), self.folder, **environment)

    def finish(self, *arguments: str) -> None:
        """Train to the end."""
        status = self.start(*arguments).wait(600)
        assert status == 0, f"a run ended with {status}: {self.log()[-600:]}"

    def log(self) -> str:
        """What all runs have printed."""
        return (self.folder / "log.txt").read_text()

    def require_whole(self, name: str) -> None:
        """Check that every file with a final name can be read by another program than ours.

        One that was being written has another name.
        """
        for path in (self.folder / "runs" / name).glob("[!.]*"):
            _require(path, load_plain)
        for path in (self.folder / "results" / "metrics").glob("[!.]*"):
            lines = path.read_text().splitlines()
            assert lines, f"{path.name} is empty"
            _require(path, lambda _, lines=lines: [json.loads(line) for line in lines])
        for path in (self.folder / "results" / "plots").glob("[!.]*"):
            _require(path, _load_picture)
        for path in (self.folder / "cache").glob("[!.]*"):
            _require(path, lambda path: np.load(path, mmap_mode="r"))

    def require_same(self, name: str, expected: str) -> None:
        """Check that two runs have the same weights, bit for bit, and the same records.

        And that neither has left a temporary file.
        """
        for model in MODELS:
            first, second = (self._weights(run, model) for run in (expected, name))
            assert first.keys() == second.keys(), f"{model}: other weights"
            others = [each for each in first if not np.array_equal(first[each], second[each])]
            assert not others, f"{model}: {len(others)} weights differ, such as {others[:1]}"
        assert self.records(name) == self.records(expected), "the records differ"
        parts = ("runs", "results", "cache")
        left = [str(path) for part in parts for path in (self.folder / part).rglob(".*")]
        assert not left, f"left behind: {left}"

    def records(self, name: str) -> list[dict[str, Any]]:
        """The records of a run, but for the time that its epochs took."""
        path = self.folder / "results" / "metrics" / f"{name}.jsonl"
        return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]

    def forget(self, name: str) -> None:
        """Remove a run and the cache: hundreds of megabytes."""
        for folder in (self.folder / "runs" / name, self.folder / "cache"):
            shutil.rmtree(folder, ignore_errors=True)
        (self.folder / "results" / "metrics" / f"{name}.jsonl").unlink(missing_ok=True)

    def _weights(self, name: str, model: str) -> Mapping[str, Any]:
        return Checkpoint.load(self.folder / "runs" / name / f"{model}.pth").weights


def _require(path: Path, read: Any) -> None:
    try:
        read(path)
    except Exception as error:
        raise AssertionError(f"{path.name} cannot be read: {error!r}") from None


def _load_picture(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
