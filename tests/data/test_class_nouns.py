"""The nouns of ImageNet's classes: one token each, in torchvision's order."""

import csv
from importlib import resources

import pytest
from torchvision.models import ResNet50_Weights

from captioning.data.class_nouns import class_nouns
from captioning.data.vocab import tokenize

CATEGORIES = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
TEXT = resources.files("captioning.data").joinpath("class_nouns.csv").read_text("utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines()))


def test_the_rows_are_torchvisions_classes_in_order():
    assert [row["index"] for row in ROWS] == [str(index) for index in range(1000)]
    assert [row["class"] for row in ROWS] == CATEGORIES


def test_every_noun_is_one_token():
    assert len(class_nouns()) == 1000
    assert [tokenize(noun) for noun in class_nouns()] == [[noun] for noun in class_nouns()]


def test_the_nouns_are_those_of_the_rows():
    assert list(class_nouns()) == [row["noun"] for row in ROWS]


def test_breeds_of_dogs_are_dogs_and_nothing_else_is():
    assert [index for index, noun in enumerate(class_nouns()) if noun == "dog"] == [
        *range(151, 269)
    ]


@pytest.mark.parametrize(
    ("category", "noun"),
    [
        ("tabby", "cat"),
        ("Persian cat", "cat"),
        ("great white shark", "shark"),
        ("indigo bunting", "bird"),
        ("flamingo", "flamingo"),
        ("crane bird", "bird"),  # not the machine
        ("crane", "crane"),
        ("drake", "duck"),
        ("sorrel", "horse"),
        ("Cardigan", "dog"),  # not the garment
        ("cardigan", "sweater"),
        ("maillot", "swimsuit"),
        ("maillot tank suit", "swimsuit"),
        ("plane", "tool"),  # a carpenter's plane
        ("airliner", "airplane"),
        ("pirate", "ship"),
        ("espresso", "coffee"),
        ("cellular telephone", "phone"),
        ("notebook", "laptop"),
        ("moped", "motorcycle"),
        ("fire engine", "truck"),
        ("traffic light", "stoplight"),
        ("sunglass", "sunglasses"),
        ("jean", "jeans"),
        ("toilet tissue", "paper"),
        ("harmonica", "harmonica"),
        ("stethoscope", "stethoscope"),
        ("guacamole", "guacamole"),
    ],
)
def test_the_noun_of_a_class(category, noun):
    assert class_nouns()[CATEGORIES.index(category)] == noun


def test_broad_classes_keep_a_word_that_says_something():
    assert not {"thing", "object", "device", "artifact", "equipment"} & set(class_nouns())
