"""The lowest versions that pyproject.toml allows, as constraints for pip: python -m tools.lowest

For make test-lowest. It needs nothing but Python: the environment that it is run in is still empty.
The tools for development are left out, and may be new.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?\s*([^;]*?)\s*(;.*)?$")
_LOWEST = re.compile(r"(?:>=|==)\s*([^,\s]+)")


def requirements(pyproject: Path = PYPROJECT) -> Iterator[str]:
    """What the base and the extras require, without ``dev`` and without our own extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lists = [part for name, part in extras.items() if name != "dev"]
    for part in (project["dependencies"], *lists):
        yield from (text for text in part if not text.startswith(f"{project['name']}["))


def lowest(requirement: str) -> str:
    """The constraint to the lowest version of a requirement, with its marker.

    Raises ValueError for a requirement that has no lowest version.
    """
    parts = _REQUIREMENT.match(requirement)
    bound = parts and _LOWEST.search(parts[2])
    if not parts or not bound:
        raise ValueError(f"{requirement}: name the lowest version, as in >=1.0")
    return f"{parts[1]}=={bound[1]}{parts[3] or ''}"


def constraints() -> list[str]:
    """A constraint for each package, sorted."""
    return sorted({lowest(text) for text in requirements()}, key=str.lower)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in constraints()))
