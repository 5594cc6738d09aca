"""The evaluations that ``bleu_scorer.py`` has written."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_REQUIRED = ("name", "metrics", "images", "split", "command")


class Result(NamedTuple):
    """An evaluation: the ``content`` of its JSON file, its report and its mosaics, if any."""

    title: str
    content: Mapping[str, Any]
    report: Path | None
    mosaics: Path | None


def read_result(path: Path, title: str, report: Path) -> Result | None:
    """Read the evaluation at ``path``; None where there is none, or it is another kind of file.

    ``report`` is where its report would be; the picture of its mosaics would be beside that.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or any(key not in content for key in _REQUIRED):
        return None
    mosaics = report.with_name(f"{report.stem}_mosaics.png")
    return Result(title, content, *(path if path.is_file() else None for path in (report, mosaics)))


def read_results(folder: Path) -> list[Result]:
    """Read the evaluations in a ``results`` folder, the newest first."""
    paths = sorted(
        (folder / "metrics").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    read = (read_result(path, path.stem, folder / "plots" / f"{path.stem}.html") for path in paths)
    return [result for result in read if result is not None]
