"""Splits: the caption file's own, the official lists, and the hash of each name."""

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data import splits as module
from captioning.data.caption_files import Photograph
from captioning.data.splits import (
    SPLITS,
    hashed_split,
    hold_back,
    name_hash,
    official_split,
    split_photographs,
)

several = settings(max_examples=60, deadline=None, database=None)

LISTS = json.loads(resources.files("captioning.data").joinpath("official_split.json").read_text())
ROOT = Path(__file__).resolve().parents[2]
names = st.lists(st.from_regex(r"[a-z0-9_]{1,12}\.jpg", fullmatch=True), unique=True, max_size=30)


def named(names):
    return [Photograph(name, Path(name), ("a dog",)) for name in names]


def split_of_each(names):
    splits = split_photographs(named(names))
    return {p.name: part for part in SPLITS for p in getattr(splits, part)}


def published_names(list_name):
    """The names of a published list, which the repository must not hold."""
    path = ROOT.parent / "shared" / "flickr8k" / list_name
    if not path.exists():
        pytest.skip("../shared/flickr8k is not here: no official names to look up")
    return path.read_text().split()


def test_the_hash_of_a_name_is_the_start_of_its_sha256():
    assert name_hash("abc") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1


def test_a_name_has_one_hash_in_each_normal_form_and_any_bytes():
    assert name_hash("cafe\u0301.jpg") == name_hash("caf\xe9.jpg")
    assert name_hash("a\udce9.jpg") == hashlib.sha256(b"a\xe9.jpg").hexdigest()[:12]


def test_the_official_lists_hold_a_thousand_hashes_each_and_share_none():
    assert len(set(LISTS["dev"])) == len(set(LISTS["test"])) == 1000
    assert not set(LISTS["dev"]) & set(LISTS["test"])


def test_names_in_the_official_lists_go_where_the_lists_say(monkeypatch):
    monkeypatch.setattr(module, "name_hash", lambda name: name)  # so that each hash is a name
    expected = {name: part for part in ("dev", "test") for name in LISTS[part]}
    expected |= {f"other{i}.jpg": "train" for i in range(100)}
    assert split_of_each(expected) == expected
    assert "official" in split_photographs(named(expected)).describe()


def test_a_few_photographs_of_flickr8k_do_not_change_the_splits_of_another_set(monkeypatch):
    monkeypatch.setattr(module, "name_hash", lambda name: LISTS["dev"][0] if name == "x" else "ab")
    monkeypatch.setattr(module, "hashed_split", lambda name: "test" if name < "m" else "train")
    others = {f"a{i}": "test" for i in range(15)} | {f"n{i}": "train" for i in range(15)}
    assert split_of_each(others) == others
    assert split_of_each([*others, "x"]) == others | {"x": "dev"}  # held out, as the lists say
    assert "official" not in split_photographs(named([*others, "x"])).source


def test_the_published_development_names_are_in_the_development_split():
    names = published_names("Flickr_8k.devImages.txt")
    assert len(names) == 1000
    assert {official_split(name) for name in names} == {"dev"}


def test_the_published_training_names_are_in_the_training_split():
    assert {official_split(name) for name in published_names("Flickr_8k.trainImages.txt")} == {
        "train"
    }


@several
@given(names, names)
def test_a_photograph_stays_in_its_split_when_others_are_added(names, others):
    before, after = split_of_each(names), split_of_each([*others, *reversed(names)])
    assert before == {name: after[name] for name in names}


@several
@given(names)
def test_every_photograph_is_in_one_split_by_its_hash_and_in_order(names):
    splits = split_photographs(named(names))
    for part in SPLITS:
        in_part = [photograph.name for photograph in getattr(splits, part)]
        assert in_part == [name for name in names if expected_split(name) == part]
    assert "official" not in splits.source


def expected_split(name):
    percent = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) % 100
    return "dev" if percent < 10 else "test" if percent < 20 else "train"


def test_a_tenth_goes_to_development_and_a_tenth_to_testing():
    parts = [hashed_split(f"photo{i}.jpg") for i in range(20_000)]
    assert parts.count("dev") / len(parts) == pytest.approx(0.1, abs=0.01)
    assert parts.count("test") / len(parts) == pytest.approx(0.1, abs=0.01)


def test_limited_splits_keep_the_first_of_each():
    splits = split_photographs(named(f"{i}.jpg" for i in range(100)))
    limited = splits.limited(3)
    assert [len(getattr(limited, part)) for part in SPLITS] == [3, 3, 3]
    assert limited.train == splits.train[:3]
    assert splits.limited(None) == splits


# Training by a split ----------------------------------------------------------------------------


@several
@given(names)
def test_two_photographs_can_be_trained_on_whatever_the_hash_says(names):
    splits = split_photographs(named(names))
    held = hold_back(splits)
    parts = {p.name: part for part in SPLITS for p in getattr(held, part)}
    moved = [name for name in names if parts[name] != expected_split(name)]
    if len(names) > 1:
        assert held.train
        assert held.dev
    enough = len(splits.dev) >= 2 or (splits.dev and 0 < len(splits.train) < 4)
    assert (held == splits) == (bool(splits.train and enough) or len(names) < 2)
    assert ("always held back" in held.source) == bool(moved)
    assert sorted(parts) == sorted(names)


@pytest.mark.parametrize(("count", "held_back"), [(1, 0), (2, 1), (3, 1), (4, 2), (8, 2), (30, 2)])
def test_a_few_are_held_back_the_nearest_to_the_tenth(count, held_back):
    names = [name for name in (f"{i}.jpg" for i in range(99)) if expected_split(name) == "train"]
    held = hold_back(split_photographs(named(names[:count])))
    assert [photo.name for photo in held.test] == []
    rank = {name: int(name_hash(name), 16) % 100 for name in names[:count]}
    dev = [photo.name for photo in held.dev]
    assert sorted(rank[name] for name in dev) == sorted(rank.values())[:held_back]
    assert [photo.name for photo in held.train] == [n for n in names[:count] if n not in dev]


@pytest.mark.parametrize(("count", "moved"), [(1, 0), (3, 0), (4, 1), (9, 1), (40, 1)])
def test_beside_a_single_one_another_is_held_back_where_four_can_be_trained_on(count, moved):
    """For the CIDEr-D of a single image is always 0."""
    by_part = {
        part: [name for name in (f"{i}.jpg" for i in range(1000)) if expected_split(name) == part]
        for part in ("train", "dev")
    }
    names = [*by_part["dev"][:1], *by_part["train"][:count]]
    held = hold_back(split_photographs(named(names)))
    assert [len(getattr(held, part)) for part in SPLITS] == [count - moved, 1 + moved, 0]


@pytest.mark.parametrize("part", ["dev", "test"])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_what_only_the_hash_holds_out_is_trained_on_where_nothing_else_is(part, count):
    """Of scoring, in contrast, all of them are to be scored."""
    names = [name for name in (f"{i}.jpg" for i in range(1000)) if expected_split(name) == part]
    splits = split_photographs(named(names[:count]))
    assert len(getattr(splits, part)) == count
    held = hold_back(splits)
    assert len(held.train) == count // 2
    assert len(held.dev) >= (1 if count > 1 or part == "dev" else 0)


@pytest.mark.parametrize("count", [1, 3])
def test_beside_a_single_training_photograph_others_choose_the_best_epoch(count):
    by_part = {
        part: [name for name in (f"{i}.jpg" for i in range(1000)) if expected_split(name) == part]
        for part in ("train", "test")
    }
    names = [*by_part["train"][:1], *by_part["test"][:count]]
    held = hold_back(split_photographs(named(names)))
    sizes = [len(getattr(held, part)) for part in SPLITS]
    assert sizes == [1, min(2, count), count - min(2, count)]


@pytest.mark.parametrize("by", ["the file", "the lists"])
def test_what_others_hold_out_is_never_trained_on(monkeypatch, by):
    if by == "the lists":
        monkeypatch.setattr(module, "name_hash", lambda name: name)
        splits = split_photographs(named(LISTS["test"]))
    else:
        splits = own(test=9)
    assert hold_back(splits) == splits


def test_a_large_set_is_split_by_the_hash_alone():
    splits = split_photographs(named(f"photo{i}.jpg" for i in range(400)))
    assert hold_back(splits) == splits


def own(**counts):
    photographs = [
        Photograph(f"{part}{i}", Path("x"), ("a",), part)
        for part, count in counts.items()
        for i in range(count)
    ]
    return split_photographs(photographs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((8, 0, 0), (6, 2, 0)),
        ((8, 0, 3), (6, 2, 3)),
        ((3, 0, 0), (2, 1, 0)),
        ((2, 0, 9), (1, 1, 9)),  # none of those to test on, and half are left to train on
        ((8, 1, 0), (8, 1, 0)),
        ((1, 0, 0), (1, 0, 0)),
        ((0, 0, 5), (0, 0, 5)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_of_a_files_own_split_some_are_held_back_where_it_has_none(given, expected):
    splits = own(**dict(zip(SPLITS, given, strict=True)))
    held = hold_back(splits)
    assert tuple(len(getattr(held, part)) for part in SPLITS) == expected
    assert set(held.test) == set(splits.test)
    assert (held == splits) == (given == expected)
    assert ("moved" in held.source) == (given != expected)


def test_names_that_are_not_unicode_have_a_split_too():
    names = [os.fsdecode(b"caf\xe9.jpg"), "\ud800.jpg", "caf\u00e9.jpg"]
    assert len(set(map(name_hash, names))) == 3
    assert set(split_of_each(names)) == set(names)
