"""What the scorer's flags mean together."""

import shlex
from pathlib import Path

import pytest

from captioning.errors import SettingError
from captioning.evaluation.scoring_flags import ScoringFlags, is_model


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"baseline": "frequent", "beam": 2}, "--beam is for a model"),
        ({"baseline": "frequent", "length_penalty": 0.0}, "--length-penalty is for a model"),
        ({"baseline": "frequent", "beams": True}, "--beams is for a model"),
        ({"captions": Path("theirs.csv"), "beams": True}, "--beams is for a model"),
        ({"baseline": "frequent", "strange": Path("strange")}, "--strange is for a model"),
        ({"baseline": "frequent", "publish": True}, "--publish is for a model"),
        ({"baseline": "human", "also": ((Path("a.csv"), Path("a")),)}, "--also is for a model"),
        ({"captions": Path("b.csv"), "also": ((Path("a.csv"), Path("a")),)}, "--also is for a mod"),
        ({"manner": ("web_*=web",)}, "--manner is for the photographs of other data sets"),
        ({"manner": ("web",)}, "--manner must be GLOB=NAME"),
        ({"publish": True, "limit": 3}, "leave --limit out"),
        ({"publish": True, "split": "train"}, "leave --split out"),
        ({"publish": True, "split": "all"}, "leave --split out"),
        ({"publish": True, "allow_training_images": True}, "leave --allow-training-images out"),
        ({"limit": 0}, "--limit must be at least 1, not 0"),
        ({"name": "../there"}, "cannot be a path"),
        ({"name": "here/"}, "cannot be a path"),
        ({"name": "/"}, "cannot be a path"),
        ({"name": "."}, "cannot be a path"),
        ({"name": ".."}, "cannot be a path"),
        ({"words": ("--model", "caf\udce9.pth")}, "'caf\\\\udce9.pth' is not UTF-8 text"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(flags, words):
    with pytest.raises(SettingError, match=words):
        ScoringFlags(**flags)


@pytest.mark.parametrize(
    "flags",
    [
        {"publish": True, "split": "dev", "beams": True},
        {"publish": True, "also": ((Path("a.csv"), Path("a")),), "manner": ("web_*=web",)},
        {"baseline": "human", "four_references": True, "limit": 1},
        {"beam": 1, "length_penalty": 0.0, "name": "..."},
        {"captions": Path("theirs.csv"), "name": ""},
    ],
    ids=str,
)
def test_what_fits_is_accepted(flags):
    assert ScoringFlags(**flags)


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        ({}, True),
        ({"captions": Path("a.csv")}, False),
        ({"captions": Path("a.csv"), "against": "b.csv"}, False),
        ({"captions": Path("a.csv"), "against": "b.pth"}, True),
        ({"captions": Path("a.csv"), "against": "nearest"}, True),
        ({"baseline": "nearest"}, True),
        ({"baseline": "frequent", "against": "human"}, False),
    ],
    ids=str,
)
def test_photographs_are_needed_where_a_system_sees_them(flags, needed):
    assert ScoringFlags(**flags).needs_photographs == needed


def test_the_command_can_be_run_again():
    words = ("--captions", "my captions.csv", "--name", "it's")
    command = ScoringFlags(words=words).command
    assert shlex.split(command) == ["python", "bleu_scorer.py", *words]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.pth", True), ("b/a.pt", True), ("a.csv", False), ("pth", False), (None, False)],
)
def test_a_model_is_known_by_its_suffix(name, expected):
    assert is_model(name) == expected
