"""What a checkpoint records of a stage: the data it learned from, and the data it was scored on."""

import pytest

import main
from captioning.data.data_sets import DataSet, DataSets
from captioning.data.splits import Splits
from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import save_checkpoint
from captioning.training.provenance import add_stage, measured_on

HOME = DataSet("home", Splits((), (), (), "a split"))
WEB = DataSet("web", Splits((), (), (), "another split"))
ALONE = "a split: 0 train, 0 dev, 0 test photographs"


@pytest.mark.parametrize(
    ("data", "described"),
    [
        (DataSets((HOME,)), ALONE),
        (
            DataSets((HOME, WEB)),
            f"home: {ALONE}; web: another split: 0 train, 0 dev, 0 test photographs",
        ),
        (DataSets((HOME,), (["a", "dog"],)), f"{ALONE}; text: 1 caption"),
    ],
)
def test_a_stage_says_what_it_learned_from_and_was_measured_on(
    checkpoint, tmp_path, data, described
):
    flags = main.parse_arguments(["--epochs", "3"])
    save_checkpoint(
        add_stage(checkpoint, "third", {"epochs": 3}, data, flags), tmp_path / "made.pth"
    )
    made = Checkpoint.load(tmp_path / "made.pth")
    assert [stage["stage"] for stage in made.stages] == ["first", "second", "third"]
    last = made.stages[-1]
    assert (last["data"], last["config"]) == (described, {"epochs": 3})
    assert last["command"] == "python main.py --epochs 3"
    assert measured_on(made) == ALONE


def test_the_terms_of_the_data_are_those_given_last(checkpoint, tmp_path):
    (tmp_path / "terms.txt").write_text("Flickr8k: for\nresearch.\n\nText: non-commercial.\n")
    (tmp_path / "other.txt").write_text("Everything is free.\n")

    def add(made, *arguments):
        flags = main.parse_arguments(list(arguments))
        return add_stage(made, "third", {}, DataSets((HOME,)), flags)

    first = add(checkpoint, "--data-terms", str(tmp_path / "terms.txt"))
    assert first.terms == ("Flickr8k: for research.", "Text: non-commercial.")
    assert add(first).terms == first.terms
    assert add(first, "--data-terms", str(tmp_path / "other.txt")).terms == ("Everything is free.",)
    assert checkpoint.terms == ()


def test_checkpoints_of_earlier_versions_were_measured_on_what_they_name(checkpoint):
    assert measured_on(checkpoint) == checkpoint.measured_on
