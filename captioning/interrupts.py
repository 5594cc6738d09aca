"""How an entry point ends where nobody waits for its answer any more: quietly.

Ctrl-C while modules are imported would print a traceback from the middle of some library, and so
would a standard output that was closed, as ``head`` closes it.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the exit status that a shell gives a program which Ctrl-C has ended


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once and without a word: for the imports of a program.

    A shell then sees the status 130. Nothing changes where Ctrl-C has another handler than
    Python's own, as in a job that ignores it, or outside the main thread.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def ending_quietly(status: int = 1) -> Iterator[None]:
    """Within it a closed standard output ends the process with ``status``, and prints nothing.

    What is printed is flushed at its end, and not by the interpreter's shutdown, where nothing can
    catch the error. Raises SystemExit for a closed output; other errors pass.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        if not is_output_closed():  # it is another pipe
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for what is left to print
        os.close(nowhere)
        raise SystemExit(status) from None


def is_output_closed() -> bool:
    """Whether nobody reads standard output any more."""
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return False
    if not hasattr(select, "poll"):  # on Windows nothing tells
        return True
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
