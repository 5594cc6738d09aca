"""Several processes of one training, seen from one: what each gets, and what all have made."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning import processes
from captioning.data import dataset
from captioning.data.dataset import Item, batches, batches_by_length
from captioning.data.vocab import END, START

several = settings(max_examples=60, deadline=None, database=None)


def test_a_single_process_has_and_does_everything():
    assert (processes.count(), processes.rank(), processes.is_first()) == (1, 0, True)
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.gather("a") == ["a"]
    assert processes.interleave([1, 2]) == [1, 2]
    assert processes.broadcast("a") == "a"
    assert processes.any_of(True)
    assert not processes.any_of(False)
    assert not processes.has_lost()
    assert processes.device_of("cuda") == "cuda"
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert torch.equal(processes.total(values), values)
    processes.wait()
    with processes.joined(), processes.first_alone(), processes.first_speaks():
        assert processes.count() == 1


def as_process(patch, rank, count):
    patch.setattr(processes, "rank", lambda: rank)
    patch.setattr(processes, "count", lambda: count)


@several
@given(st.lists(st.integers(), max_size=20), st.integers(1, 6))
def test_what_all_make_of_their_shares_comes_in_the_order_of_the_items(items, count):
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(count):
            as_process(patch, rank, count)
            shares.append(processes.share(items))
        patch.setattr(processes, "gather", lambda own: shares)
        assert processes.interleave(shares[0]) == items


class Numbered:
    """Items whose feature is their number."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        drawn = torch.rand(1)
        return Item(torch.cat([torch.tensor([float(index)]), drawn]), [[START, 4, END]])


def shared(count, make):
    """The batches of each of so many processes."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for rank in range(count):
            as_process(patch, rank, count)
            found.append(list(make()))
    return found


def rows(batch):
    """What counts of a batch: each item with what was drawn for it, and its seed."""
    seeds = batch.seeds.tolist() if batch.seeds is not None else [None] * len(batch.visual)
    pairs = zip(batch.visual.tolist(), seeds, strict=True)
    return [(*visual, seed) for visual, seed in pairs] if batch.counts else []


@several
@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 7), st.integers(0, 3))
def test_processes_have_a_part_of_each_shuffled_batch(items, size, count, skip):
    def make():
        return batches(Numbered(items), size, 5, skip=skip)

    whole = [rows(batch) for batch in make()]
    parts = shared(count, make)
    assert all(len(part) == len(whole) for part in parts)  # all take every step
    for number, expected in enumerate(whole):
        together = [row for part in parts for row in rows(part[number])]
        assert sorted(together) == sorted(expected)
        assert all(len(part[number].visual) > 0 for part in parts)


def test_processes_have_a_part_of_each_batch_of_similar_lengths():
    lengths = [1 + number * 7 % 11 for number in range(23)]

    def make():
        return batches_by_length(Numbered(23), lengths, 4, 1, 0)

    whole, parts = [rows(batch) for batch in make()], shared(3, make)
    for number, expected in enumerate(whole):
        assert sorted(row for part in parts for row in rows(part[number])) == sorted(expected)


def test_processes_have_whole_batches_of_those_in_order():
    def make():
        return batches(Numbered(11), 3)

    parts = shared(2, make)
    first = [[[int(row[0]) for row in rows(batch)] for batch in part] for part in parts]
    assert first == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10]]]


def test_what_is_drawn_has_a_row_for_each_seed():
    seeds = torch.tensor([3, -5, 2**62])
    drawn = dataset.draw(seeds, 3, 1000)
    assert drawn.dtype == torch.float64
    assert ((drawn >= 0) & (drawn < 1)).all()
    for row, seed in enumerate(seeds.tolist()):
        assert torch.equal(dataset.draw(torch.tensor([seed]), 1, 1000)[0], drawn[row])
    assert abs(float(torch.corrcoef(drawn)[0, 1])) < 0.15
    # They are not those that the photograph was changed by.
    same = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(drawn[0], same)
