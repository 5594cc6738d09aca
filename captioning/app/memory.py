"""The server's memory: what was freed goes back to the system."""

import ctypes
import sys
from contextlib import suppress

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt(3)
_LARGE = 2**20  # bytes


def return_what_is_freed() -> bool:
    """Let large blocks go back to the system when they are freed; whether the system can.

    The GNU C library keeps them for the thread that had them, and more of them the larger they are
    (mallopt(3), M_MMAP_THRESHOLD, "dynamic"). The app decodes each visitor's photographs in another
    thread, so that without this the pictures of all of them would stay.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # another C library
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE))
    return False
