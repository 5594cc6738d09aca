"""Turns: first come, first served, one turn at a time of each, and none lost."""

import threading
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.app.session import FEW, MANY, Session, Settings, Upload
from captioning.app.turns import Turns
from tests.app.test_session import photograph

SETTINGS = Settings("tiny", beam=2, length_penalty=0.7)
SECONDS = 30


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 3), st.data())
def test_everybody_waits_for_few_turns_of_the_others(work, places, data):
    turns, rest = Turns(places), dict(enumerate(work))
    waiting, inside, had = {}, {}, Counter()
    passed = {}  # what others have begun since one joined, by visitor
    ahead = {}  # how many waited when one joined
    arrivals = deque(data.draw(st.permutations(sorted(rest))))

    def join(visitor):
        passed[visitor], ahead[visitor] = Counter(), len(waiting)
        waiting[visitor] = turns.join(again=had[visitor] > 0)

    while arrivals or waiting or inside:
        if arrivals and (not inside or data.draw(st.booleans())):
            join(arrivals.popleft())
        else:
            visitor = data.draw(st.sampled_from(sorted(inside)))
            turns.leave(inside.pop(visitor))
            rest[visitor] -= 1
            if rest[visitor]:
                join(visitor)
        for visitor in [each for each in waiting if waiting[each].called.is_set()]:
            inside[visitor] = waiting.pop(visitor)
            for other in waiting:
                passed[other][visitor] += 1
            if not had[visitor]:
                assert all(times <= 1 for times in passed[visitor].values())
            assert passed[visitor].total() <= 2 * ahead[visitor] + 1
            had[visitor] += 1
        assert len(inside) == min(places, len(inside) + len(waiting))  # none is free in vain
    assert had == Counter(dict(enumerate(work)))


def test_a_newcomer_overtakes_but_not_two_in_a_row():
    turns = Turns(1)
    tickets = {"holder": turns.join()}
    for name in ("again 1", "again 2", "new 1", "new 2", "new 3"):
        tickets[name] = turns.join(again=name.startswith("again"))
    order = []
    while tickets:
        (name,) = [name for name, ticket in tickets.items() if ticket.called.is_set()]
        turns.leave(tickets.pop(name))
        order.append(name)
    assert order == ["holder", "new 1", "again 1", "new 2", "again 2", "new 3"]


@given(st.lists(st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 30)), max_size=60))
def test_whoever_leaves_while_waiting_or_in_a_turn_holds_up_nobody(steps):
    turns, tickets = Turns(2), []
    for step, index in steps:
        if step == "join":
            tickets.append(turns.join())
        elif tickets:
            turns.leave(tickets.pop(index % len(tickets)))
        called = [ticket.called.is_set() for ticket in tickets]
        assert sum(called) == min(2, len(tickets))
        assert turns.waiting == len(tickets) - sum(called)
        # Those who came first are called first.
        assert called == sorted(called, reverse=True)


def test_an_exception_in_a_turn_ends_it():
    turns = Turns(1)
    with pytest.raises(RuntimeError), turns.turn():
        raise RuntimeError
    with turns.turn():
        assert turns.waiting == 0


def test_whoever_is_gone_gives_up_the_place_in_the_queue():
    class GoneError(BaseException):
        """As Streamlit's own, no Exception."""

    def gone():
        raise GoneError

    turns = Turns(1)
    holder = turns.join()
    with pytest.raises(GoneError), turns.turn(gone, every=0.01):
        raise AssertionError("it was not this one's turn")
    assert turns.waiting == 0
    turns.leave(holder)
    with turns.turn(gone):
        pass


def test_threads_take_turns_and_no_more_than_there_are_places():
    turns, inside, most = Turns(2), [], []

    def work():
        for _ in range(50):
            with turns.turn(every=0.01):
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert len(most) == 400
    assert max(most) <= 2


class Recording:
    """A captioner that remembers which photographs it was given together."""

    def __init__(self, captioner, during=lambda: None):
        self.captioner, self.during, self.batches = captioner, during, []

    def stream(self, photos, **settings):
        batch = list(photos)
        self.batches.append(len(batch))
        self.during()
        return self.captioner.stream(batch, **settings)


UPLOADS = [Upload(f"{seed}.png", photograph(seed)) for seed in range(40)]


def test_a_visitor_alone_has_large_turns(captioner):
    recording = Recording(captioner)
    assert len(list(Session(turns=Turns(1)).captions(recording, UPLOADS, SETTINGS))) == 40
    assert recording.batches == [MANY, MANY, 40 - 2 * MANY]


def test_turns_are_small_while_somebody_waits_and_the_one_is_served_first(captioner):
    turns, order = Turns(1), []

    def other():
        session = Session(turns=turns)
        order.extend(one.source for one in session.captions(captioner, UPLOADS[:1], SETTINGS))

    visitor = threading.Thread(target=other)

    def during():
        if not visitor.ident:  # in the first turn, the other one comes
            visitor.start()
            while not turns.waiting:
                pass

    recording = Recording(captioner, during)
    many = Session(turns=turns).captions(recording, UPLOADS[::-1], SETTINGS)
    order += [next(many).source]
    visitor.join(SECONDS)  # who need not wait until all of the many are asked for
    assert order == ["39.png", "0.png"]
    assert len(list(many)) == 39
    assert recording.batches[0] == MANY


class Busy(Turns):
    """Turns for which somebody always waits."""

    waiting = 1


def test_a_turn_is_small_where_somebody_waits(captioner):
    recording = Recording(captioner)
    assert len(list(Session(turns=Busy()).captions(recording, UPLOADS[:10], SETTINGS))) == 10
    assert recording.batches == [1, FEW, FEW, 10 - 2 * FEW - 1]


def test_a_turn_of_photographs_that_take_long_has_one(captioner, monkeypatch):
    monkeypatch.setattr("captioning.app.session.SECONDS", -1.0)
    recording = Recording(captioner)
    list(Session(turns=Busy()).captions(recording, UPLOADS[:3], SETTINGS))
    assert recording.batches == [1, 1, 1]
