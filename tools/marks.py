"""Parts of the README that a tool writes, between marks that name it."""

from captioning.errors import CaptioningError


def marks(name: str) -> tuple[str, str]:
    """What stands before and after the part of a tool."""
    return f"<!-- {name}: written by python -m tools.{name} -->", f"<!-- end of {name} -->"


def with_part(readme: str, name: str, text: str) -> str:
    """The README with ``text`` between a tool's marks; raises CaptioningError without marks."""
    first, last = marks(name)
    before, begin, rest = readme.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise CaptioningError(f"README.md lacks the marks {first} and {last}; put them back")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
