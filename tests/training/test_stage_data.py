"""Which development photographs of other sets are scored: each manner apart, and not too many."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.caption_files import Photograph
from captioning.data.data_sets import DataSet
from captioning.data.splits import Splits
from captioning.training import stage_data as module
from captioning.training.stage_data import scored_by_manner

several = settings(max_examples=100, deadline=None, database=None)


def scored(manners):
    photos = [Photograph(str(i), Path(str(i)), ("a",), manner=m) for i, m in enumerate(manners)]
    other = Photograph("train", Path("train"), ("a",), manner="poem")
    return photos, scored_by_manner(DataSet("web", Splits((other,), tuple(photos), (), "a split")))


@pytest.mark.parametrize(
    ("manners", "counts"),
    [
        ([], {}),
        ([""] * 3, {"web": 3}),
        ([""] * 900, {"web": 500}),
        (["news"] * 900 + [""] * 60, {"web, news": 440, "web": 60}),
        ([""] * 900 + ["news"] * 900, {"web": 250, "web, news": 250}),
        (["a"] * 900 + ["b"] * 200 + ["c"] * 10, {"web, a": 290, "web, b": 200, "web, c": 10}),
    ],
)
def test_small_manners_are_scored_whole_and_large_ones_share_the_rest(manners, counts):
    assert {name: len(photos) for name, photos in scored(manners)[1].items()} == counts


@several
@given(st.lists(st.sampled_from(["", "a", "b", "c"])), st.integers(4, 12))
def test_the_first_of_each_manner_are_scored_and_no_more_than_allowed(manners, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCORED", most)
        photos, chosen = scored(manners)
    assert sum(map(len, chosen.values())) == min(most, len(photos))
    for name, group in chosen.items():
        manner = name.partition(", ")[2]
        assert group
        assert group == [photo for photo in photos if photo.manner == manner][: len(group)]
    assert len(chosen) == len(set(manners))
