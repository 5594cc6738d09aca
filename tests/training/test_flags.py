"""The flags of main.py: the names and stages that they imply."""

import pytest

from captioning.errors import SettingError
from captioning.training.flags import is_file_name
from captioning.training.recipe import STAGES
from main import parse_arguments


@pytest.mark.parametrize(
    ("arguments", "name", "stages"),
    [
        ([], "flickr8k", STAGES),
        (["--stage", "refine"], "flickr8k", ("refine",)),
        (["--stage", "blend", "--name", "mine"], "mine", ("reinforce",)),
        (["--init", "model.pth"], "adapted", ("adapt",)),
        (["--init", "model.pth", "--name", "mine"], "mine", ("adapt",)),
    ],
)
def test_name_and_stages_of_a_run(arguments, name, stages):
    flags = parse_arguments(arguments)
    assert (flags.run_name, flags.stages) == (name, stages)


@pytest.mark.parametrize("name", ["a", "flickr8k", "second try", "v1.2", "-", "größer"])
def test_plain_names_are_file_names(name):
    assert is_file_name(name)
    assert parse_arguments([f"--name={name}"]).run_name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "../a", "/a", "a/", "a\\b", "a\0b"])
def test_names_that_lead_to_another_folder_or_hide_the_files_are_refused(name):
    assert not is_file_name(name)
    with pytest.raises(SettingError, match="--name must be a plain name"):
        parse_arguments([f"--name={name}"])
