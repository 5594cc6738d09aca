"""The commands of the README do what it says."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from torch.distributed.run import parse_args as parse_launch

import bleu_scorer
import main as trainer
from captioning import __main__ as command_line
from captioning.app.examples import examples
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from tools import judge

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


COMMANDS = [
    shlex.split(line, comments=True) for block in blocks("bash") for line in block.splitlines()
]


def commands(*start: str) -> list[list[str]]:
    return [words[len(start) :] for words in COMMANDS if tuple(words[: len(start)]) == start]


def test_every_command_is_of_a_kind_that_is_tested_here():
    kinds = [("make",), ("python", "-m", "captioning"), ("captioning",), ("captioning-app",)]
    kinds += [
        ("python", "main.py"),
        ("torchrun",),
        ("python", "bleu_scorer.py"),
        ("python", "-m", "tools.judge"),
        ("streamlit", "run", "streamlit_app.py"),
    ]
    assert len(COMMANDS) == sum(len(commands(*kind)) for kind in kinds)


def test_the_two_commands_are_at_the_top():
    assert commands("make")[:2] == [["app"], ["test"]]
    assert [words[:2] for words in COMMANDS[:2]] == [["make", "app"], ["make", "test"]]


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_knows_the_target(words):
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", commands("python", "main.py"), ids=" ".join)
def test_training_flags_are_accepted(words):
    trainer.RECIPE.override(trainer.parse_arguments(words).settings)


@pytest.mark.parametrize("words", commands("torchrun"), ids=" ".join)
def test_torchrun_starts_the_training(words):
    launch = parse_launch(words)
    assert launch.training_script == "main.py"
    trainer.RECIPE.override(trainer.parse_arguments(launch.training_script_args).settings)


@pytest.mark.parametrize("words", commands("python", "bleu_scorer.py"), ids=" ".join)
def test_scoring_flags_are_accepted(words):
    bleu_scorer.parse_arguments(words)


@pytest.mark.parametrize("words", commands("python", "-m", "tools.judge"), ids=" ".join)
def test_judging_flags_are_accepted(words):
    judge.parse_arguments(words)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as the README's reader has it: the shipped model, a photograph, a folder of them.

    What the reader has trained by then is the shipped model under its name.
    """
    folder = tmp_path_factory.mktemp("desk")
    (folder / "model").symlink_to(ROOT / "model")
    trained = folder / "runs" / "adapted" / "best.pth"
    trained.parent.mkdir(parents=True)
    trained.symlink_to(SHIPPED_MODEL)
    (folder / "photos").mkdir()
    for name, example in zip(("photo.jpg", "photos/cat.jpg"), examples(), strict=False):
        (folder / name).symlink_to(example.path)
    (folder / "page.html").write_text("<img src='photos/cat.jpg'>")
    return folder


@pytest.mark.parametrize("words", commands("python", "-m", "captioning"), ids=" ".join)
def test_captioning_commands_work(words, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    assert command_line.main(words) == 0
    writes_a_file = {"--output", "--alt-text"} & set(words)
    assert capsys.readouterr().out.count("\n") == (0 if writes_a_file else 1)


@pytest.mark.parametrize("words", commands("captioning"), ids=" ".join)
def test_the_installed_command_works(words, desk, monkeypatch, capsys):
    """``make test-install`` runs the command itself; here is what it calls."""
    monkeypatch.chdir(desk)
    try:
        status = command_line.main(words)
    except SystemExit as stop:  # --version
        status = stop.code
    assert status == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    exec(compile(code, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == code.count("print(") > 0


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_model_card_is_of_the_model_that_ships():
    import json

    from captioning.evaluation.card import model_card
    from captioning.network.checkpoint import SHIPPED_MODEL, file_hash

    result = json.loads((ROOT / "model" / "results.json").read_text(encoding="utf-8"))
    card = (ROOT / "model" / "README.md").read_text(encoding="utf-8")
    assert result["sha256"] == file_hash(SHIPPED_MODEL)
    assert card == model_card(Checkpoint.load(SHIPPED_MODEL), result)


def test_every_shipped_figure_lies_in_its_interval():
    import json

    from captioning.evaluation.assessment import WITHOUT_INTERVAL

    result = json.loads((ROOT / "model" / "results.json").read_text(encoding="utf-8"))
    for part in (result, result["four references"]):
        assert not set(part["intervals"]) & WITHOUT_INTERVAL
        for name, (low, high) in part["intervals"].items():
            assert low <= part["metrics"][name] <= high, name
