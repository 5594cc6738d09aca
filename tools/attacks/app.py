"""Everything against the running app: fifty visitors at once, then attacks on its server."""

from collections.abc import Iterator
from pathlib import Path

from tools.attacks import server, visitors
from tools.attacks.outcome import Outcome


def attacks(folder: Path) -> Iterator[Outcome]:
    """First those who come for captions, then those who do not."""
    yield from visitors.attacks(folder)
    yield from server.attacks(folder)
