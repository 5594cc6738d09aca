"""Splits: the caption file's own, the official lists, and the hash of each name."""

import hashlib
import json
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
