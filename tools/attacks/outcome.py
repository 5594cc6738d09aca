"""What came of an attack: how often it was tried, and how often it did harm."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One kind of attack, and what came of it.

    ``tried`` counts attempts; ``harm`` names each attempt that did not end as promised: a crash, a
    hang, something lost, code that ran, an answer that is wrong. ``slowest`` is in seconds, the
    longest of one attempt; ``memory`` in bytes, the most that a process held or grew by.
    ``notes`` are what else was counted, such as how many of the files were captioned.
    """

    what: str
    tried: int = 0
    harm: list[str] = field(default_factory=list)
    slowest: float | None = None
    memory: int | None = None
    notes: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Count one attempt and its time; an AssertionError within it is harm, and is kept."""
        started = time.perf_counter()
        try:
            yield
        except AssertionError as error:
            self.harm.append(f"{name}: {error}")
        finally:
            self.tried += 1
            self.slowest = max(self.slowest or 0.0, time.perf_counter() - started)

    def note(self, name: str, count: float = 1) -> None:
        """Add to one of the other counts."""
        self.notes[name] = self.notes.get(name, 0) + count
