"""A part that is not installed is named in one sentence, with the command that installs it."""

import pytest

from captioning.app.examples import examples
from captioning.errors import MissingPackageError, needed_for
from tests.blocked import ROOT, start


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(MissingPackageError) as caught, needed_for("painting", "'.[paint]'"):
        import paintbrushes.round  # noqa: F401
    sentence = "painting needs paintbrushes, which is not installed: pip install '.[paint]'"
    assert str(caught.value) == sentence


def test_a_missing_module_of_ours_is_a_defect():
    with pytest.raises(ModuleNotFoundError), needed_for("painting", "'.[paint]'"):
        import captioning.paint  # noqa: F401


@pytest.mark.parametrize(
    ("package", "command", "sentence"),
    [
        (
            "torch",
            [ROOT / "main.py"],
            "main.py: training needs PyTorch, which is not installed: pip install '.[train]'",
        ),
        (
            "torch",
            [ROOT / "bleu_scorer.py"],
            "bleu_scorer.py: scoring a model needs PyTorch, which is not installed: "
            "pip install '.[train]'",
        ),
        (
            "jinja2",
            [ROOT / "bleu_scorer.py", "--captions", "theirs.csv"],
            "bleu_scorer.py: scoring needs jinja2, which is not installed: pip install '.[score]'",
        ),
        (
            "streamlit",
            ["captioning.app"],
            "captioning-app: the app needs Streamlit, which is not installed: pip install '.[app]'",
        ),
        (
            "matplotlib",
            ["captioning", examples()[0].path, "--attention", "maps.png"],
            "drawing needs Matplotlib, which is not installed: pip install '.[app]'",
        ),
        (
            "turbohtml",
            ["captioning", "--alt-text", "page.html"],
            "--alt-text needs turbohtml, which is not installed: pip install turbohtml",
        ),
    ],
    ids=["training", "a model's score", "a file's score", "the app", "a drawing", "alt texts"],
)
def test_a_program_whose_part_is_missing_says_so_in_one_sentence(
    package, command, sentence, tmp_path
):
    done = start([package], tmp_path, *command)
    assert (done.returncode != 0, done.stdout, done.stderr) == (True, "", f"{sentence}\n")
