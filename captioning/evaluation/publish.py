"""Writes what was measured: JSON, CSV, the report, plots, the model card, the README's table."""

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from captioning.errors import SettingError
from captioning.evaluation.assessment import Assessment, score_captions
from captioning.evaluation.card import model_card
from captioning.evaluation.corpus import references_per_image
from captioning.evaluation.gallery import gallery
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.readme import with_results
from captioning.evaluation.report import report_html
from captioning.evaluation.score_plots import (
    mosaic_figure,
    result_figures,
    score_distribution,
)
from captioning.evaluation.scored_system import ScoredSystem
from captioning.evaluation.scoring_data import ScoringData
from captioning.evaluation.scoring_flags import ScoringFlags
from captioning.evaluation.table import as_csv
from captioning.files import remove_leftovers, require_writable, write_text
from captioning.network.checkpoint import Checkpoint
from captioning.plots import Figure, save_figure

RESULTS = Path("results")


class Named(Protocol):
    """A system, captioned or not yet."""

    @property
    def name(self) -> str: ...


def default_name(system: Named, data: ScoringData, flags: ScoringFlags) -> str:
    """The system, the split, and what was changed: a trial must not replace the whole."""
    changes = {"first": flags.limit, "beam": flags.beam, "penalty": flags.length_penalty}
    parts = [f"_{name}_{value:g}" for name, value in changes.items() if value is not None]
    return f"{system.name}_{data.split}{''.join(parts)}"


def require_free_results(system: Named, data: ScoringData, flags: ScoringFlags) -> None:
    """Raise SettingError where the result would replace a file that is read, or cannot be written.

    To be called before the work, which may take hours.
    """
    name = flags.name or default_name(system, data, flags)
    pictures = [photo.path for photo in data.photographs if flags.needs_photographs]
    for path in (*flags.inputs, *pictures):
        if _is_result(Path(os.path.realpath(path)), name):
            raise SettingError(
                f"{path}: the result would replace this file, which is read here; give the result "
                "another --name"
            )
    for folder in (RESULTS / "metrics", RESULTS / "plots"):
        require_writable(folder / name)


def _is_result(path: Path, name: str) -> bool:
    """Whether a path is one of those to which ``write_result`` writes the result of this name."""
    if path.parent == Path(os.path.realpath(RESULTS / "metrics")):
        return path.name in (f"{name}.csv", f"{name}.json")
    is_plot = path.name.startswith(f"{name}_") and path.suffix == ".png"
    in_plots = path.parent == Path(os.path.realpath(RESULTS / "plots"))
    return in_plots and (is_plot or path.name == f"{name}.html")


def describe(
    system: ScoredSystem, data: ScoringData, flags: ScoringFlags, versions: Mapping[str, str]
) -> dict[str, Any]:
    """What was scored, on what, with what, by which command: the head of the result."""
    return {
        "name": flags.name or default_name(system, data, flags),
        "system": system.about,
        **system.facts,
        "split": data.split,
        "split source": data.splits.source,
        "images": len(data.photographs),
        "references per image": references_per_image(data.references),
        "lengths": {
            "captions": _count_lengths(system.system.captions),
            "references": _count_lengths(text for texts in data.references for text in texts),
        },
        "command": flags.command,
        "versions": {"python": platform.python_version(), **versions},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _count_lengths(texts: Iterable[str]) -> dict[str, int]:
    """How many of the texts have so many words, the shortest first; JSON has keys of text only."""
    counts = Counter(len(ptb_tokenize(text)) for text in texts)
    return {str(words): counts[words] for words in sorted(counts)}


def score_beams(sweep: Mapping[int, Sequence[str]], data: ScoringData) -> list[dict[str, Any]]:
    """Metrics and intervals for each beam width."""
    return [
        {"beam": beam, **score_captions(captions, data.references)}
        for beam, captions in sweep.items()
    ]


def write_result(
    result: Mapping[str, Any],
    system: ScoredSystem,
    data: ScoringData,
    images: Path,
    assessment: Assessment,
) -> Iterator[Path]:
    """Write the report, the CSV, the JSON and the plots, each atomically; yields what is written.

    ``images`` is the folder of the photographs.
    """
    name, metrics, plots = result["name"], RESULTS / "metrics", RESULTS / "plots"
    figures = _draw(result, system, assessment)
    # The report draws the mosaics itself: as one picture they would be too small on a phone.
    shown = {key: figure for key, figure in figures.items() if key != "mosaics"}
    entries = gallery(data.photographs, images, system, assessment)
    examples = system.groups[0].examples if system.groups else ()
    names = [photograph.name for photograph in data.photographs]
    pages = {
        plots / f"{name}.html": report_html(result, entries, shown, system.mosaics, examples),
        metrics / f"{name}.csv": as_csv(names, system.system, assessment),
        metrics / f"{name}.json": _as_json(result),
    }
    for key, figure in figures.items():
        remove_leftovers(plots / f"{name}_{key}.png", abandoned=True)
        save_figure(figure, plots / f"{name}_{key}.png")
    for path, text in pages.items():
        remove_leftovers(path, abandoned=True)
        write_text(path, text)
        yield path


def _draw(
    result: Mapping[str, Any], system: ScoredSystem, assessment: Assessment
) -> dict[str, Figure]:
    """The plots of the result, and those for which the captions themselves are needed."""
    figures = result_figures(result)
    figures["scores"] = score_distribution(assessment.images["CIDEr-D"], "CIDEr-D")
    if system.mosaics:
        figures["mosaics"] = mosaic_figure(system.mosaics)
    return figures


def publish(
    model: Path, checkpoint: Checkpoint, result: Mapping[str, Any], readme: Path | None
) -> Iterator[Path]:
    """Write results.json and the model card beside a model; yields what is written.

    ``readme`` is the file whose table the result goes into too, None for no such file.
    """
    pages = {
        model.parent / "results.json": _as_json(result),
        model.parent / "README.md": model_card(checkpoint, result),
    }
    if readme is not None:
        pages[readme] = with_results(readme.read_text(encoding="utf-8"), result)
    # All are made before the first is written, so that they never disagree.
    for path, text in pages.items():
        remove_leftovers(path, abandoned=True)
        write_text(path, text)
        yield path


def _as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
