"""Plots of a result: scores beside other systems, lengths, confidence, where maps point, mosaics.

A result is what ``bleu_scorer.py`` writes as JSON; from it alone ``result_figures`` draws, so that
no data set is needed.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.evaluation.catalogue import REPORTED, metric
from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.published import PUBLISHED
from captioning.evaluation.summary import KINDS, MAP_NAMES, people, percent
from captioning.pictures import Heat, heat_of, overlay
from captioning.plots import LINES, WIDTH, Axes, Figure, draw_scale, panel

_MARKS: tuple[dict[str, Any], ...] = tuple(
    {**style, "linestyle": "none", "markersize": 6} for style in LINES
)
_HOLLOW: dict[str, Any] = {"linestyle": "none", "fillstyle": "none", "color": "0.35"}
_OF = "CIDEr-D"  # what confidence is compared with where a result does not say it
_LEGEND: dict[str, Any] = {
    **{"fontsize": "small", "frameon": False},
    **{"borderpad": 0.2, "columnspacing": 1.2, "handletextpad": 0.4},
}
_CELL = 2.6  # inches, the width of a picture among the mosaics


def result_figures(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The plots that a result has the values for, by name, in the order to show them in.

    "metrics", "pointing", "reliability", "beams" and "lengths", as far as there are.
    """
    figures = {}
    if any(name in result["metrics"] for name in REPORTED):
        figures["metrics"] = metrics_figure(result)
    if result.get("pointing", {}).get("maps"):
        figures["pointing"] = pointing_figure(result["pointing"])
    if bins := result.get("calibration", {}).get("bins"):
        figures["reliability"] = reliability_figure(bins, result["calibration"].get("of", _OF))
    if result.get("beams"):
        figures["beams"] = beam_curve(result["beams"])
    if "lengths" in result:
        figures["lengths"] = length_figure(result["lengths"])
    return figures


def metrics_figure(result: Mapping[str, Any]) -> Figure:
    """Plot what papers report, each with its 95 % interval, beside other systems and people.

    A person's caption can be scored only against the other references, so people have a panel of
    their own, where this result is scored in the same way; it is there where a result was compared
    with people. Published values are those of all references.
    """
    compared = people(result)
    names = [name for name in REPORTED if name in result["metrics"]]
    figure = Figure(figsize=(WIDTH, 5.9 if compared else 3.3), layout="constrained")
    panels = figure.subplots(2 if compared else 1, 1, sharex=True, squeeze=False).flat
    _beside_published(panels[0], names, result)
    if compared:
        _beside_people(panels[1], [name for name in names if name in compared], result)
    panels[-1].set_xlabel("x100, higher is better; bars: 95 % intervals")
    panels[-1].set_xlim(left=0)
    return figure


def _beside_published(axes: Axes, names: Sequence[str], result: Mapping[str, Any]) -> None:
    """All references: this result, and what the authors of other systems report."""
    values, ends = result["metrics"], result.get("intervals", {})
    for place, name in enumerate(names):
        others = [system.values[REPORTED.index(name)] for system in PUBLISHED]
        known = [value for value in others if value is not None]
        label = "published, on the test split" if place == 0 else None
        axes.plot(known, [place] * len(known), marker="|", markersize=12, **_HOLLOW, label=label)
    _dots(axes, [(values[name], ends.get(name)) for name in names], _MARKS[0], "this result")
    _label_rows(axes, [f"{name}  {metric(name).format(values[name])}" for name in names])
    axes.set_title("Against all references", fontsize="medium", loc="left", pad=24)
    _legend_above(axes)


def _beside_people(axes: Axes, names: Sequence[str], result: Mapping[str, Any]) -> None:
    """One reference left out in turn: this result and people."""
    rows, ends = people(result), result.get("four references", {}).get("intervals", {})
    theirs = [(rows[name]["other"], rows[name].get("other interval")) for name in names]
    _dots(axes, theirs, _MARKS[1], "people", 0.17)
    ours = [(rows[name]["this"], ends.get(name)) for name in names]
    _dots(axes, ours, _MARKS[0], "this result", -0.17)
    _label_rows(axes, names)
    title = "One reference left out, as people must be scored"
    axes.set_title(title, fontsize="medium", loc="left", pad=24)
    _legend_above(axes)


def _dots(
    axes: Axes,
    rows: Iterable[tuple[float, Sequence[float] | None]],
    style: Mapping[str, Any],
    label: str,
    offset: float = 0,
) -> None:
    """A dot for each row's value, ``offset`` rows below its middle, with a bar for its interval."""
    values, ends = zip(*((value, ends or (value, value)) for value, ends in rows), strict=True)
    low, high = np.array(ends, dtype=np.float64).T
    # A bootstrap interval may just miss its value, and a bar cannot have a negative length.
    reach = np.maximum(0, [values - low, high - values])
    places = np.arange(len(values)) + offset
    axes.errorbar(values, places, xerr=reach, **style, capsize=3, label=label)


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a dot plot, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)


def _legend_above(axes: Axes) -> None:
    """Put the legend between a panel and its title, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, **_LEGEND)


def pointing_figure(pointing: Mapping[str, Any]) -> Figure:
    """Plot where the maps of words point on mosaics: mass and peak, with 95 % intervals.

    ``pointing`` is that section of a result; each of its "maps" is a row. Dog words and person
    words are marked beside their mean, as far as they are known; the dashed line is chance.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    titles = {
        "mass": "Mass: share of the map on the correct half",
        "peak": "Peak: how often its greatest value is there",
    }
    panels = figure.subplots(len(titles), 1, sharex=True)
    for axes, (measure, title) in zip(panels, titles.items(), strict=True):
        _draw_pointing(axes, pointing["maps"], measure)
        axes.axvline(pointing.get("chance", 0.5), color="0.35", linestyle="--", label="chance")
        axes.set_title(title, fontsize="medium", loc="left")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, **_LEGEND)
    panels[-1].set_xlim(0, 1.02)  # so that a mark at 1 is whole
    panels[-1].set_xlabel("share (1: always right; bars: 95 % intervals)")
    return figure


def _draw_pointing(axes: Axes, maps: Mapping[str, Mapping[str, Any]], measure: str) -> None:
    """One measure of each kind of map."""
    for kind, marker in (("dog", "^"), ("person", "s")):
        name = f"{measure} {kind}"
        values = [part["metrics"].get(name, np.nan) for part in maps.values()]
        places = np.arange(len(values)) + 0.25
        axes.plot(values, places, marker=marker, markersize=5, **_HOLLOW, label=KINDS[kind])
    rows = [
        (part["metrics"].get(measure, np.nan), part.get("intervals", {}).get(measure))
        for part in maps.values()
    ]
    _dots(axes, rows, _MARKS[0], "mean")
    labels = [MAP_NAMES.get(kind, kind) for kind in maps]
    shown = [f"{label}  {value:.2f}" for label, (value, _) in zip(labels, rows, strict=True)]
    _label_rows(axes, shown)


def mosaic_figure(examples: Sequence[MosaicExample]) -> Figure:
    """Draw mosaics, each with its caption, and as heat the evidence and the attention of one word.

    The scale of the heat is below; each map's greatest value is printed above it.
    """
    ratios = [each.picture.height / each.picture.width for each in examples]
    heights = [*(_CELL * min(ratio, 1.0) + 0.75 for ratio in ratios), 0.6]
    figure = Figure(figsize=(3 * _CELL + 0.4, sum(heights)), layout="constrained")
    *parts, legend = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    for part, example in zip(parts, examples, strict=True):
        _draw_mosaic(part, example)
    draw_scale(legend.subplots(), "the value above a map")
    return figure


def _draw_mosaic(part: Any, example: MosaicExample) -> None:
    """One mosaic: the picture, the evidence, the attention."""
    part.suptitle(textwrap.fill(example.caption, 80), fontsize=11, x=0.02, ha="left")
    heats = heats_of(example)
    panels = part.subplots(1, 1 + len(heats))
    for axes in panels:
        axes.axis("off")
    panels[0].imshow(example.picture)
    panels[0].set_title("the mosaic", fontsize="small")
    for axes, (kind, heat) in zip(panels[1:], heats.items(), strict=True):
        axes.imshow(overlay(example.picture, heat))
        title = f"{kind} of “{example.word}”, up to {percent(heat.top)}"
        axes.set_title(title, fontsize="small")


def heats_of(example: MosaicExample) -> dict[str, Heat]:
    """The maps of a mosaic's word as heat, by kind, the evidence first."""
    maps = {"evidence": example.evidence, "attention": example.attention}
    return {kind: heat_of(kind, values) for kind, values in maps.items()}


def beam_curve(beams: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot CIDEr-D and BLEU-4 against beam width, with a band for the 95 % interval.

    Each of ``beams`` has ``beam``, ``metrics`` and ``intervals``, both by name; a metric without
    an interval has no band. The best width is starred.
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    widths = [row["beam"] for row in beams]
    panels = figure.subplots(2, 1, sharex=True)
    for axes, name, style in zip(panels, ("CIDEr-D", "BLEU-4"), LINES, strict=False):
        values = [row["metrics"][name] for row in beams]
        axes.plot(widths, values, **style, markersize=5)
        best = int(np.argmax(values))
        axes.plot(widths[best], values[best], marker="*", markersize=15, color=style["color"])
        bands = [row.get("intervals", {}).get(name, (np.nan, np.nan)) for row in beams]
        low, high = zip(*bands, strict=True)
        axes.fill_between(widths, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.set(ylabel=f"{name} (x100)")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("beam width (star: best; band: 95 % interval)")
    panels[-1].set_xticks(widths)
    figure.align_ylabels()
    return figure


def score_distribution(values: Sequence[float] | NDArray[np.float64], name: str) -> Figure:
    """Plot a histogram of the photographs' scores, with the mean and the median marked.

    ``values`` has one score per photograph, x100; ``name`` is the metric's.
    """
    figure, axes = panel()
    highest = max(1.0, float(np.max(values)))
    edges = np.linspace(0, highest, 31).tolist()
    axes.hist(values, bins=edges, color="0.8", edgecolor="0.4", linewidth=0.6)
    marks = {"mean": float(np.mean(values)), "median": float(np.median(values))}
    for (label, value), style in zip(marks.items(), LINES, strict=False):
        dash, colour = style["linestyle"], style["color"]
        axes.axvline(value, color=colour, linestyle=dash, linewidth=2, label=f"{label} {value:.1f}")
    axes.set(xlabel=f"{name} of a photograph (x100)", ylabel="photographs")
    axes.legend()
    return figure


def length_figure(lengths: Mapping[str, Mapping[str, int]]) -> Figure:
    """Plot how long captions and references are, in words: the share of each length.

    ``lengths`` says how many "captions" and how many "references" have so many words. There are
    more references than captions, so shares can be compared and counts cannot.
    """
    figure, axes = panel()
    longest = max(int(words) for counts in lengths.values() for words in counts)
    positions = np.arange(longest + 1)
    shares = {kind: _shares(counts, longest) for kind, counts in lengths.items()}
    means = {kind: float(positions @ share) / 100 for kind, share in shares.items()}
    style: dict[str, Any] = {"color": "0.85", "edgecolor": "0.4", "hatch": "///", "width": 1}
    label = f"references (mean {means['references']:.1f})"
    axes.bar(positions, shares["references"], **style, label=label)
    label = f"captions (mean {means['captions']:.1f})"
    axes.plot(positions, shares["captions"], **LINES[0], linewidth=2, markersize=5, label=label)
    axes.set(xlabel="length (words)", ylabel="share (%)")
    _legend_above(axes)
    return figure


def _shares(counts: Mapping[str, int], longest: int) -> NDArray[np.float64]:
    """The share of each length from 0 to ``longest``, in %."""
    numbers = np.zeros(longest + 1)
    for words, count in counts.items():
        numbers[int(words)] += count
    shares: NDArray[np.float64] = 100 * numbers / numbers.sum()
    return shares


def reliability_figure(bins: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Plot a metric against the model's confidence, bin by bin, with 95 % intervals.

    Each of ``bins`` has ``probability``, the mean probability of a word, the mean of the metric
    under ``name``, and its ``interval``.
    """
    figure, axes = panel()
    probabilities = [row["probability"] for row in bins]
    means = np.array([row[name] for row in bins])
    low, high = np.array([row["interval"] for row in bins], dtype=np.float64).T
    # A bootstrap interval may just miss its mean, and an error bar cannot have a negative length.
    reach = np.maximum(0, [means - low, high - means])
    axes.errorbar(probabilities, means, yerr=reach, **LINES[0], capsize=4, markersize=6)
    axes.set(xlabel="mean probability of a word", ylabel=f"{name} (x100), 95 % interval")
    axes.grid(alpha=0.3)
    return figure
