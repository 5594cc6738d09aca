"""Reading ahead: in order, within bounds, and nothing left behind."""

import threading
import time
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.inference.read_ahead import read_ahead


def readers_alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@given(st.lists(st.integers(), max_size=40), st.integers(0, 4), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_results_are_in_order(items, readers, ahead):
    assert list(read_ahead(items, lambda item: item * 2, readers, ahead)) == [2 * i for i in items]
    assert not readers_alive()


def test_later_items_may_be_ready_first_but_come_in_their_turn():
    def read(item):
        time.sleep(0.05 if item == 0 else 0)
        return item

    assert list(read_ahead(range(10), read, 4, 8)) == list(range(10))


@pytest.mark.parametrize(("readers", "ahead"), [(0, 5), (1, 0), (2, 5), (8, 3)])
def test_no_more_is_read_than_asked_for_and_allowed(readers, ahead):
    taken, read = [], []
    items = (taken.append(number) or number for number in count())
    results = read_ahead(items, lambda item: read.append(item) or item, readers, ahead)
    assert list(islice(results, 7)) == list(range(7))
    assert len(taken) == 7 + (ahead if readers else 0)
    assert len(read) <= len(taken)
    results.close()
    assert not readers_alive()


def test_several_are_read_at_the_same_time():
    meet = threading.Barrier(3, timeout=20)
    assert list(read_ahead(range(3), lambda item: meet.wait() >= 0, 3, 3)) == [True] * 3


def test_an_error_comes_in_its_turn_and_ends_it():
    results = read_ahead([1, 0, 2], lambda item: 1 // item, 2, 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not readers_alive()


def test_items_are_taken_in_the_thread_that_asks():
    def items():
        for _ in range(5):
            yield threading.current_thread()

    assert set(read_ahead(items(), lambda item: item, 3, 2)) == {threading.current_thread()}
