"""Taking turns: who has little to do is served soon, however much the others have.

A visitor with fifty photographs takes many short turns and queues anew for each, so a visitor with
one photograph waits for at most one turn of each of the others. Most wait for less: whoever asks
for a first turn overtakes those who have had one, but only one at a time, so that many newcomers
hold up nobody for ever.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

PLACES = 2  # at a time: enough for two cores, and each may decode a gigabyte
EVERY = 0.5  # seconds between two looks at whether the one who waits is still there


class Ticket:
    """A place in the queue; ``called`` is set when its turn has come."""

    def __init__(self, number: int, again: bool) -> None:
        self.number, self.again = number, again
        self.called = threading.Event()


class Turns:
    """A queue before ``places`` places. Threads may share it."""

    def __init__(self, places: int = PLACES) -> None:
        self._free = places
        self._new, self._again = deque[Ticket](), deque[Ticket]()
        self._numbers = count()
        self._overtook = False  # the one who was called last
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._new) + len(self._again)

    @contextmanager
    def turn(
        self,
        while_waiting: Callable[[], None] = lambda: None,
        again: bool = False,
        every: float = EVERY,
    ) -> Iterator[None]:
        """Wait for a turn, and end it with the block, however that ends.

        ``again`` is for whoever has had a turn of the same work. Whoever waits calls
        ``while_waiting`` again and again, ``every`` seconds; what it raises gives up the place in
        the queue. One who holds a turn must not ask for another.
        """
        ticket = self.join(again)
        try:
            while not ticket.called.wait(every):
                while_waiting()
            yield
        finally:
            self.leave(ticket)

    def join(self, again: bool = False) -> Ticket:
        """Queue at the end."""
        with self._lock:
            ticket = Ticket(next(self._numbers), again)
            self._queue_of(ticket).append(ticket)
            self._call()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """End a turn, or give up waiting for it."""
        with self._lock:
            if ticket.called.is_set():
                self._free += 1
            else:
                self._queue_of(ticket).remove(ticket)
            self._call()

    def _queue_of(self, ticket: Ticket) -> deque[Ticket]:
        return self._again if ticket.again else self._new

    def _call(self) -> None:
        while self._free and (self._new or self._again):
            self._free -= 1
            self._next().called.set()

    def _next(self) -> Ticket:
        """Take the first of the queue, or the first newcomer if nobody has just overtaken."""
        heads = [queue[0] for queue in (self._new, self._again) if queue]
        first = min(heads, key=lambda ticket: ticket.number)
        chosen = first if self._overtook else heads[0]
        self._overtook = chosen is not first
        return self._queue_of(chosen).popleft()


# Of all visitors, for they share one computer: to caption, and to make small pictures for the page,
# which takes a moment and should not wait for captions.
TURNS, PICTURES = Turns(), Turns(places=1)
