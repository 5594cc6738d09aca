"""The evaluations that were written before, for whoever shows them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_NEEDED = ("name", "metrics", "images", "split", "command")


class Result(NamedTuple):
    """An evaluation: its figures as ``bleu_scorer.py`` wrote them, and its report, if any."""

    title: str
    figures: Mapping[str, Any]
    report: Path | None


def read_result(path: Path, title: str, report: Path) -> Result | None:
    """Read the figures at ``path``; None where there are none, or it is another kind of file."""
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(figures, dict) or any(name not in figures for name in _NEEDED):
        return None
    return Result(title, figures, report if report.is_file() else None)


def read_results(folder: Path) -> list[Result]:
    """The evaluations in a ``results`` folder, the newest first."""
    paths = sorted(
        (folder / "metrics").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    found = (read_result(path, path.stem, folder / "plots" / f"{path.stem}.html") for path in paths)
    return [result for result in found if result is not None]
