"""The light environment, in which there is no PyTorch: make test-light

Run by the full one, which has pytest, and not collected on its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.app.examples import examples
from tests.app.server import health
from tests.check_install import CLICK, run
from tools.browser import free_port

ROOT = Path(__file__).resolve().parent.parent
LIGHT = ROOT / ".venv-light" / "bin"
PHOTOGRAPH = examples()[0].path


@pytest.mark.parametrize("package", ["torch", "torchvision", "scipy", "openvino"])
def test_it_has_only_what_it_needs(package):
    code = f"import importlib.util; print(importlib.util.find_spec({package!r}))"
    assert run(LIGHT / "python", "-c", code, folder=ROOT) == "None\n"


def test_its_packages_agree():
    run(LIGHT / "python", "-m", "pip", "check", folder=ROOT)


def test_it_captions_a_photograph_as_torch_does(tmp_path):
    words = ("-m", "captioning", PHOTOGRAPH)
    full = run(sys.executable, *words, "--engine", "torch", folder=ROOT)
    assert run(LIGHT / "python", *words, folder=ROOT) == full
    assert run(LIGHT / "captioning", PHOTOGRAPH, folder=tmp_path) == full
    assert len(full.split()) > 3


def test_it_draws_maps(tmp_path):
    words = (PHOTOGRAPH, "--attention", "maps.png", "--evidence")
    run(LIGHT / "captioning", *words, folder=tmp_path)
    assert (tmp_path / "maps.png").stat().st_size > 10_000


def test_it_scores_a_file_of_captions(tmp_path):
    names = [f"{number}.jpg" for number in range(8)]
    lines = [f"{name},{text}" for name in names for text in ("a dog runs", "the dog is running")]
    (tmp_path / "references.csv").write_text("\n".join(["image,caption", *lines]))
    theirs = [{"file": name, "caption": "a dog runs"} for name in names]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, theirs)))
    flags = ("--captions", "theirs.jsonl", "--references", "references.csv", "--split", "all")
    run(LIGHT / "python", ROOT / "bleu_scorer.py", *flags, folder=tmp_path)
    (path,) = (tmp_path / "results" / "metrics").glob("*.json")
    assert json.loads(path.read_text())["metrics"]["BLEU-1"] == 100


def test_training_says_what_is_missing(tmp_path):
    command = [LIGHT / "python", ROOT / "main.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    sentence = "main.py: training needs PyTorch, which is not installed: pip install '.[train]'\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_it_serves_the_app(tmp_path):
    port = free_port()
    command = [str(LIGHT / "captioning-app"), "--port", str(port)]
    assert health(command, port, tmp_path, PYTHONPATH="") == "ok"


def test_its_app_captions_an_example(tmp_path):
    lines = run(LIGHT / "python", "-c", CLICK, folder=tmp_path).splitlines()
    assert lines[-1] == "1 caption, no exception"
