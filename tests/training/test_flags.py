"""The flags of main.py: the names and stages that they imply."""

import pytest

from captioning.errors import SettingError
from captioning.training.flags import is_file_name
from captioning.training.recipe import STAGES
from main import parse_arguments


@pytest.mark.parametrize(
    ("arguments", "name", "stages"),
    [
        ([], "flickr8k", STAGES[1:]),
        (["--text", "a.txt"], "flickr8k", STAGES),
        (["--text", "a.txt", "--stage", "language"], "flickr8k", ("language",)),
        (["--text", "a.txt", "--stage", "decoder"], "flickr8k", ("decoder",)),
        (["--stage", "refine"], "flickr8k", ("refine",)),
        (["--stage", "blend", "--name", "mine"], "mine", ("reinforce",)),
        (["--init", "model.pth"], "adapted", ("adapt",)),
        (["--init", "model.pth", "--text", "a.txt"], "adapted", ("adapt",)),
        (["--init", "model.pth", "--name", "mine"], "mine", ("adapt",)),
    ],
)
def test_name_and_stages_of_a_run(arguments, name, stages):
    flags = parse_arguments(arguments)
    assert (flags.run_name, flags.stages) == (name, stages)


def test_a_language_model_needs_text():
    with pytest.raises(SettingError, match="--stage language needs --text"):
        parse_arguments(["--stage", "language"])


@pytest.mark.parametrize("name", ["a", "flickr8k", "second try", "v1.2", "-", "größer"])
def test_plain_names_are_file_names(name):
    assert is_file_name(name)
    assert parse_arguments([f"--name={name}"]).run_name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "../a", "/a", "a/", "a\\b", "a\0b"])
def test_names_that_lead_to_another_folder_or_hide_the_files_are_refused(name):
    assert not is_file_name(name)
    with pytest.raises(SettingError, match="--name must be a plain name"):
        parse_arguments([f"--name={name}"])


PAIR = ["--captions", "a.csv", "--images", "photos"]


def test_captions_and_images_are_pairs_with_one_by_default():
    flags = parse_arguments([])
    assert [str(path) for path in (*flags.captions, *flags.images)] == [
        "flickr8k/Flickr8k_Subset/captions.txt",
        "flickr8k/Flickr8k_Subset/Images",
    ]
    flags = parse_arguments([*PAIR, "--images", "more", "--captions", "b.csv"])
    assert [str(path) for path in flags.captions] == ["a.csv", "b.csv"]
    assert [str(path) for path in flags.images] == ["photos", "more"]
    assert (flags.text, flags.manner, flags.leave_out) == ((), (), None)


@pytest.mark.parametrize("arguments", [["--captions", "b.csv"], ["--images", "more"] * 2])
def test_unequal_pairs_are_refused(arguments):
    with pytest.raises(SettingError, match="--captions and --images must be given equally often"):
        parse_arguments([*PAIR, *arguments])


def test_text_files_add_up():
    flags = parse_arguments(["--text", "a.txt", "b.gz", "--text", "c.txt"])
    assert [str(path) for path in flags.text] == ["a.txt", "b.gz", "c.txt"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [("web_*=web", ("web_*", "web")), ("a=b*=news", ("a=b*", "news")), ("*=x", ("*", "x"))],
)
def test_a_manner_is_a_pattern_and_a_word(text, rule):
    assert parse_arguments(["--manner", text]).manners == (rule,)


@pytest.mark.parametrize(
    "text", ["", "web", "=web", "web_*=", "web_*=Web", "web_*=two words", "web_*=start", "a=<web>"]
)
def test_a_malformed_manner_is_refused(text):
    with pytest.raises(SettingError, match="--manner must be GLOB=NAME"):
        parse_arguments([f"--manner={text}"])
