"""A file without the parts that say nothing of its picture, of which it may have millions.

Pillow reads texts, profiles and comments one by one and keeps them: a file of a few megabytes of
empty ones would take gigabytes and minutes.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import BinaryIO, cast

MOST_STEPS = 1 << 20
"""How many parts of a file are looked at: beyond that it was made to take time."""


class Parts:
    """Parts of a stream, in order, as a stream that decoders read."""

    def __init__(self, stream: BinaryIO, parts: Iterable[tuple[int, int]] = ()) -> None:
        """``parts`` are the first, each a start and a size."""
        self._stream = stream
        self._starts: list[int] = []  # of parts, in the stream
        self._ends: list[int] = []  # of parts, in what is read
        self._at = 0
        for start, size in parts:
            self.add(start, size)

    def add(self, start: int, size: int) -> None:
        """Add what begins at ``start``; what lies side by side becomes one part."""
        end = self._ends[-1] if self._ends else 0
        if self._ends and self._stream_end() == start:
            self._ends[-1] += size
        elif size > 0:
            self._starts.append(start)
            self._ends.append(end + size)

    def binary(self) -> BinaryIO:
        """The stream, as a type that decoders take."""
        return cast(BinaryIO, self)

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``; all that are left where it is negative."""
        pieces = []
        part = bisect_right(self._ends, self._at)
        while size and part < len(self._ends):
            left = self._ends[part] - self._at
            begin = self._ends[part - 1] if part else 0
            self._stream.seek(self._starts[part] + self._at - begin)
            piece = self._stream.read(left if size < 0 else min(size, left))
            pieces.append(piece)
            self._at += len(piece)
            size -= len(piece) if size > 0 else 0
            if len(piece) < left:
                break
            part += 1
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to another place."""
        self._at = offset + {0: 0, 1: self._at, 2: self._ends[-1]}[whence]
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def _stream_end(self) -> int:
        """Where the last part ends in the stream."""
        begin = self._ends[-2] if len(self._ends) > 1 else 0
        return self._starts[-1] + self._ends[-1] - begin
