"""Several data sets: their names, their union, and what is left out of training."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import ImageOps

from captioning.data.data_sets import (
    DataSet,
    DataSets,
    drop_held_out,
    drop_held_out_captions,
    name_sets,
)
from captioning.data.splits import Splits
from tests.data.pictures import draw, save


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["flickr8k/Flickr8k_Subset/captions.txt"], ["Flickr8k_Subset"]),
        (["a/b/captions.txt", "../everyday/captions.txt"], ["b", "everyday"]),
        (["data/one/../two/captions.txt", "/one/captions.txt"], ["two", "one"]),
        (["data/first.csv", "data/second.json"], ["first", "second"]),
        (["a/data/mine.csv", "b/data/yours.csv"], ["mine", "yours"]),
        (["/captions.txt"], ["captions"]),
        (["a/data/mine.csv", "b/data/mine.json"], ["mine 1", "mine 2"]),
        (["a/c.txt", "a/c.txt", "b/c.txt"], ["c 1", "c 2", "c 3"]),
    ],
)
def test_names_tell_the_sets_apart(paths, names):
    assert name_sets([Path(path) for path in paths]) == names


class Maker:
    """Makes data sets in a folder; ``parts`` are the seeds of train, dev and test pictures."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name, *parts, change=lambda picture: picture):
        made = [
            tuple(save(self.folder / name, f"{s}.png", change(draw(s))) for s in seeds)
            for seeds in parts
        ]
        return DataSet(name, Splits(*made, source="a split"))


@pytest.fixture
def make(tmp_path):
    return Maker(tmp_path)


def names(photographs):
    return [f"{photo.path.parent.name}/{photo.name}" for photo in photographs]


def test_the_union_has_all_training_photographs_in_order(make):
    sets = (make("a", [1, 2], [3], [4]), make("b", [7, 1], [], [8]))
    data = DataSets(sets, text=(["a", "dog"],) * 1500)
    assert names(data.train) == ["a/1.png", "a/2.png", "b/7.png", "b/1.png"]
    assert names(data.dev) == ["a/3.png"]
    assert (data.first, data.others) == (sets[0], sets[1:])
    assert data.describe() == (
        "a: a split: 2 train, 1 dev, 1 test photographs; "
        "b: a split: 2 train, 0 dev, 1 test photographs; text: 1,500 captions"
    )
    limited = data.limited(1)
    assert names(limited.train) == ["a/1.png", "b/7.png"]
    assert [len(each.splits.test) for each in limited.sets] == [1, 1]
    assert data.limited(None) == data


def test_a_single_set_is_described_as_its_split(make):
    alone = make("a", [1, 2], [3], [])
    assert DataSets((alone,)).describe() == alone.splits.describe()


def test_manners_are_those_of_any_photograph(make):
    data_set = make("a", [1], [2], [3])
    splits = data_set.splits
    dev = tuple(replace(photo, manner="web") for photo in splits.dev)
    test = tuple(replace(photo, manner="news") for photo in splits.test)
    marked = replace(data_set, splits=replace(splits, dev=dev, test=test))
    assert DataSets((data_set,)).manners == ()
    assert DataSets((data_set, marked)).manners == ("news", "web")


def squeezed_and_mirrored(picture):
    return ImageOps.mirror(picture.resize((70, 70)))


def test_training_photographs_that_another_set_holds_out_are_left_out(make, tmp_path):
    first = make("a", [1, 2, 3], [4], [5])
    second = make("b", [5, 6, 3, 4], [2], [7], change=squeezed_and_mirrored)
    (kept, other), remarks = drop_held_out([first, second], tmp_path / "cache")
    assert names(kept.splits.train) == ["a/1.png", "a/3.png"]
    assert names(other.splits.train) == ["b/6.png", "b/3.png"]  # 3 is in both training parts
    assert (kept.splits.held_out, other.splits.held_out) == (
        first.splits.held_out,
        second.splits.held_out,
    )
    assert remarks == [
        "left out 3 photographs of the training data that another data set holds out, such as "
        "2.png of a, which is 2.png of b"
    ]


def test_the_same_name_in_two_sets_is_no_copy(make, tmp_path):
    first = make("a", [1, 2], [3], [4])
    second = make("b", [3, 4], [1], [2], change=lambda picture: ImageOps.flip(picture))
    kept, remarks = drop_held_out([first, second], tmp_path / "cache")
    assert kept == (first, second)
    assert remarks == []


def test_copies_within_one_set_stay_and_a_single_set_is_not_hashed(make, tmp_path):
    alone = make("a", [1, 1], [1], [1])
    assert drop_held_out([alone], tmp_path / "cache") == ((alone,), [])
    assert not (tmp_path / "cache").exists()
    other = make("b", [2], [3], [])
    assert drop_held_out([alone, other], tmp_path / "cache") == ((alone, other), [])


def test_a_set_may_lack_any_part(make, tmp_path):
    sets = [make("a", [1], [2], []), make("b", [], [], [1]), make("c", [2], [], [])]
    kept, _ = drop_held_out(sets, tmp_path / "cache")
    assert [len(each.splits.train) for each in kept] == [0, 0, 0]


def test_captions_of_held_out_photographs_are_left_out_of_the_text(tmp_path):
    train = save(tmp_path, "1.png", draw(1), ("A man rides .",))
    dev = save(tmp_path, "2.png", draw(2), ("Two dogs play !", "A dog's ball ."))
    test = save(tmp_path, "3.png", draw(3), ("A cup .",))
    sets = [DataSet("a", Splits((train,), (dev,), (test,), "a split"))]
    text = [["a", "man", "rides"], ["a", "dog", "'s", "ball"], ["a", "cup"], ["a", "cup", "falls"]]
    kept, remarks = drop_held_out_captions(text, sets)
    assert kept == (["a", "man", "rides"], ["a", "cup", "falls"])
    assert remarks == [
        "left out 2 captions of the training data that held-out photographs have too, such as "
        "“a dog's ball”"
    ]
    assert drop_held_out_captions(text[:1], sets) == ((text[0],), [])
