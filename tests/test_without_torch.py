"""Without PyTorch: what captions, scores files and serves the app, where it cannot be imported."""

import json

import pytest

import bleu_scorer
from captioning.app.examples import examples
from captioning.app.results import read_result
from tests.blocked import ROOT, start
from tests.check_install import CLICK
from tests.test_architecture import FOREIGN, MODULES

BLOCKED = ("torch", "torchvision")
# Modules that cannot be imported, each with the reason.
IMPORT = """
import importlib, json
failed = {}
for name in program.split(","):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""
# The other pages of the app in Streamlit's test harness.
OTHER_PAGES = """
from streamlit.testing.v1 import AppTest
for name in ("evaluation_page", "about_page"):
    code = f"from captioning.app import {name} as page; page.main()"
    page = AppTest.from_string(code, default_timeout=60).run()
    print(name, len(page.markdown) + len(page.tabs) > 0, [each.message for each in page.exception])
"""
PHOTOGRAPHS = [example.path for example in examples()]


def may_import(package, module):
    """Whether a module is among those that may import a package, by the table of the imports."""
    return any(module == name or module.startswith(f"{name}.") for name in FOREIGN[package])


TORCH_FREE = sorted(
    name.removesuffix(".__init__")
    for name in MODULES
    if name.startswith("captioning.") and not any(may_import(each, name) for each in BLOCKED)
)


def test_what_has_no_leave_to_import_torch_needs_none():
    done = start(BLOCKED, ROOT, ",".join(TORCH_FREE), code=IMPORT)
    assert json.loads(done.stdout) == {}, done.stderr


def test_the_parts_that_caption_are_among_them():
    free = {"data.images", "data.vocab", "network.checkpoint", "inference.captioner"}
    free |= {"inference.decode", "batch.command", "evaluation.systems", "app.navigation"}
    assert {f"captioning.{name}" for name in free} <= set(TORCH_FREE)


def test_photographs_get_the_captions_that_torch_gives_them(tmp_path):
    done = start(BLOCKED, tmp_path, "captioning", *PHOTOGRAPHS)
    with_torch = start((), tmp_path, "captioning", *PHOTOGRAPHS, "--engine", "torch")
    assert with_torch.returncode == 0, with_torch.stderr
    assert (done.returncode, done.stdout) == (0, with_torch.stdout), done.stderr


@pytest.fixture
def captions(tmp_path, monkeypatch):
    """The flags that score a file of captions; the current folder is where results land."""
    monkeypatch.chdir(tmp_path)
    texts = ("a dog runs on grass", "two men play", "a red ball", "the man is on the grass")
    rows = {f"{number}.jpg": texts for number in range(8)}
    lines = [f"{name},{text}" for name, captions in rows.items() for text in captions]
    (tmp_path / "references.csv").write_text("\n".join(["image,caption", *lines]))
    theirs = [{"file": name, "caption": "a man runs on grass"} for name in rows]
    (tmp_path / "theirs.jsonl").write_text("\n".join(map(json.dumps, theirs)))
    return ["--references", "references.csv", "--images", "nowhere", "--name", "theirs"]


@pytest.mark.parametrize("system", [["--captions", "theirs.jsonl"], ["--baseline", "human"]])
def test_what_others_wrote_is_scored_as_it_is_with_torch(system, captions, tmp_path):
    words = [*captions, *system, "--split", "all"]
    done = start(BLOCKED, tmp_path, ROOT / "bleu_scorer.py", *words)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "results" / "metrics" / "theirs.json"
    without = json.loads(path.read_text())
    assert bleu_scorer.main(words) == 0
    assert json.loads(path.read_text()) | {"command": ""} == without | {"command": ""}
    assert read_result(path, "theirs", tmp_path / "results" / "plots" / "theirs.html").report


def test_the_app_captions_and_shows_its_other_pages(tmp_path):
    done = start(BLOCKED, tmp_path, "", code=CLICK)
    assert done.stdout.splitlines()[-1:] == ["1 caption, no exception"], done.stderr
    done = start(BLOCKED, tmp_path, "", code=OTHER_PAGES)
    assert done.stdout.splitlines() == ["evaluation_page True []", "about_page True []"]
