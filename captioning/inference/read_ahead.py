"""Reading ahead in threads, so that the network does not wait for photographs to be decoded."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READERS = 2  # threads: enough for two cores, and each may take a gigabyte

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], readers: int, ahead: int
) -> Generator[Result, None, None]:
    """What ``read`` makes of each item, in order, with ``readers`` threads; of 0, in this thread.

    At most ``ahead`` results beyond the one that is asked for are read or waiting. ``items`` is
    only ever advanced by the caller's thread, and may be endless. What ``read`` raises is raised
    in its turn. When the iterator is closed, no thread is left.
    """
    if not readers:
        yield from map(read, items)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="reader")
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
