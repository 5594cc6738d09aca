"""Text of the model card and of the README's scores: paragraphs, lists, values in brackets."""

import textwrap
from collections.abc import Sequence

from captioning.evaluation.summary import OtherSet, Row

_WIDTH = 100  # characters per line


def paragraph(text: str, indent: str = "") -> str:
    """A text broken into lines; those after the first are indented."""
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def items(texts: Sequence[str]) -> str:
    """A list with an item for each text."""
    return "\n".join(paragraph(f"- {text}", indent="  ") for text in texts)


def in_brackets(cell: Row) -> str:
    """A value with its interval in brackets."""
    return f"{cell.value} ({cell.interval})" if cell.interval else cell.value


def name_and_facts(other: OtherSet) -> str:
    """Another data set's name with its facts in brackets."""
    name = other.name.replace("|", r"\|")  # which would end a cell of a table
    return f"{name} ({', '.join(other.facts)})" if other.facts else name
