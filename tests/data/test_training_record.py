"""Photographs that a model was trained on are known again by name and look."""

from dataclasses import replace
from pathlib import Path

import pytest

from captioning.data.splits import name_hash
from captioning.data.training_record import count_recorded, record, recorded_among
from tests.data.pictures import draw, save


@pytest.fixture
def photographs(tmp_path):
    return [save(tmp_path / "a", f"{i}.png", draw(i)) for i in range(3)]


def test_an_entry_has_the_hash_of_the_name_and_sixteen_digits(photographs, tmp_path):
    entries = sorted(record(photographs, tmp_path / "cache"))
    names, digits = zip(*(entry.split(":") for entry in entries), strict=True)
    assert sorted(names) == sorted(name_hash(f"{i}.png") for i in range(3))
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in digits)
    assert len(set(digits)) == 3


def test_the_same_name_counts_only_for_the_same_photograph(photographs, tmp_path):
    entries = record(photographs, tmp_path / "cache")
    assert recorded_among(entries, photographs) == photographs
    small = save(tmp_path / "b", "0.png", draw(0).resize((60, 60)))
    other = save(tmp_path / "b", "1.png", draw(9))
    renamed = save(tmp_path / "b", "new.png", draw(2))
    assert recorded_among(entries, [small, other, renamed]) == [small]


def test_two_photographs_of_one_name_are_both_known(photographs, tmp_path):
    other = save(tmp_path / "b", "1.png", draw(9))
    entries = record([*photographs, other], tmp_path / "cache")
    assert count_recorded(entries) == 4
    assert recorded_among(entries, [other, photographs[1]]) == [other, photographs[1]]


def test_entries_of_earlier_versions_go_by_name_alone(photographs, tmp_path):
    old = {name_hash("0.png"), name_hash("gone.png")}
    other = save(tmp_path / "b", "0.png", draw(9))
    assert recorded_among(old, [other, photographs[1]]) == [other]
    # Also beside new entries of the same name: what the old one looked like is not known.
    assert recorded_among(old | record(photographs, tmp_path / "cache"), [other]) == [other]


def test_where_a_photograph_cannot_be_read_its_name_decides(photographs, tmp_path):
    entries = record(photographs, tmp_path / "cache")
    absent = [replace(photo, path=Path("nowhere") / photo.name) for photo in photographs[:1]]
    unknown = replace(photographs[0], name="unknown.png", path=Path("nowhere.png"))
    assert recorded_among(entries, [*absent, unknown]) == absent


@pytest.mark.parametrize("digits", ["", "xyz", "00", "00" * 9])
def test_an_entry_of_another_form_goes_by_name_alone(photographs, digits):
    assert recorded_among({f"{name_hash('0.png')}:{digits}"}, photographs) == photographs[:1]


@pytest.mark.parametrize(
    ("entries", "count"),
    [([], 0), (["a", "b"], 2), (["a", "a:00", "b"], 2), (["a:00", "a:01", "c"], 3)],
)
def test_a_photograph_that_was_recorded_twice_counts_once(entries, count):
    assert count_recorded(entries) == count
