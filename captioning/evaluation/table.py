"""A result as text: the CSV with one row per image, and the lines that a terminal shows."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captioning.data.image_names import as_utf8
from captioning.evaluation.assessment import Assessment, System
from captioning.evaluation.catalogue import format_value, metric
from captioning.evaluation.summary import (
    Row,
    novelty_rows,
    occlusion_rows,
    other_sets,
    pointing_rows,
)


def as_csv(names: Sequence[str], system: System, assessment: Assessment) -> str:
    """One row per image, by name; the scorer reads it too (``--captions``)."""
    text = io.StringIO()
    writer = csv.writer(text)  # with its own line ends, since a caption may hold any of them
    new = [] if assessment.new is None else ["new"]
    # The values for people are means over all references, of which only the first is here, so
    # this must not be read as a file of captions.
    caption = "first reference" if system.human else "caption"
    writer.writerow(["image", caption, *assessment.images, "invented objects", *new])
    for index, name in sorted(enumerate(names), key=lambda pair: pair[1]):
        values = [round(float(column[index]), 4) for column in assessment.images.values()]
        unseen = [] if assessment.new is None else [int(assessment.new[index])]
        hallucinated = " ".join(assessment.hallucinated[index])
        writer.writerow([as_utf8(name), system.captions[index], *values, hallucinated, *unseen])
    return text.getvalue()


def as_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The metrics with their intervals, the comparison, and the notes."""
    yield from _metric_lines(result)
    if "attention" in result:
        attention, shown = result["attention"], metric("faithfulness")
        value, interval = shown.format(attention["faithfulness"]), attention["interval"]
        yield f"{shown.name:>22} {value:>8}   {shown.format_interval(interval)} {shown.unit}"
    yield from _map_lines(result)
    yield from _novelty_lines(result)
    yield from _comparison_lines(result)
    for part, other in zip(result.get("other sets", ()), other_sets(result), strict=True):
        yield f"{other.name}: {', '.join(other.facts)}"
        yield from _metric_lines(part)
        yield from _comparison_lines(part)
    yield from result["notes"]


def _metric_lines(result: Mapping[str, Any]) -> Iterator[str]:
    for name, value in result["metrics"].items():
        ends = result["intervals"].get(name)
        interval = "" if ends is None else f"   95 % interval {metric(name).format_interval(ends)}"
        yield f"{name:>22} {format_value(name, value):>8}{interval}"


def _comparison_lines(result: Mapping[str, Any]) -> Iterator[str]:
    for name, row in result.get("against", {}).get("metrics", {}).items():
        yield (
            f"{name:>22} {format_value(name, row['this']):>8} against "
            f"{format_value(name, row['other']):>8}: "
            f"{row['difference']:+.2f} ({row['interval'][0]:+.2f} to {row['interval'][1]:+.2f}), "
            f"p = {row['p']:.4f}"
        )


def _novelty_lines(result: Mapping[str, Any]) -> Iterator[str]:
    for row in novelty_rows(result):
        label = f"AUROC, {row.kind}"
        yield f"{label:>22} {row.auroc:>8}   95 % interval {row.interval}, {row.unusual} unusual"


def _map_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Where the maps of words point, and how they agree with occlusion."""
    for kind, cells in pointing_rows(result):
        for measure in ("mass", "peak"):
            yield _map_line(f"{measure}, {kind.lower()}", cells[measure])
    for row in occlusion_rows(result):
        yield _map_line(f"occlusion, {row.name.lower()}", row) + " rank correlation"


def _map_line(label: str, row: Row) -> str:
    interval = f"   95 % interval {row.interval}" if row.interval else ""
    return f"{label:>22} {row.value:>8}{interval}"
