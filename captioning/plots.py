"""Plots: training curves, how captions score, and where the model looked for each word."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Figure  # also for modules that pass plots on
from matplotlib.figure import SubFigure
from numpy.typing import NDArray
from PIL import Image

from captioning.errors import SettingError
from captioning.files import write_atomically
from captioning.pictures import (
    Heat,
    attention_heat,
    evidence_heat,
    overlay,
    scale_picture,
    thumbnail,
)

_PHOTO_SIDE = 320  # pixels, the longer one
_CELL = 2.3  # inches
_DPI = 110
_HEADING, _SCALE = 0.45, 0.5  # inches, above a group of maps and at its foot
_EVIDENCE = "Evidence: how much less likely the word becomes when a place is hidden"
_ATTENTION = "Attention: how much of it lay on each place while the word was chosen"
_WIDTH = 4.6  # inches, of a plot of scores: its print stays legible on a phone
_PANELS = (
    ("loss (nats per token)", ("loss",)),
    ("next word, teacher-forced (%)", ("accuracy", "accuracy top-5", "F1 weighted", "F1 macro")),
    ("captions: BLEU and ROUGE-L (x100)", ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L")),
    ("captions: CIDEr-D (x100)", ("CIDEr-D",)),
)

# Colours of Okabe and Ito, which colour-blind readers can tell apart: those dark enough to be seen
# on white. Dash and marker tell the lines apart in a greyscale print.
_BLUE, _RED, _GREEN, _PINK, _BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

_LINES: tuple[dict[str, Any], ...] = (
    {"color": _BLUE, "linestyle": "-", "marker": "o"},
    {"color": _RED, "linestyle": "--", "marker": "s"},
    {"color": _GREEN, "linestyle": "-.", "marker": "^"},
    {"color": _BLACK, "linestyle": ":", "marker": "D"},
    {"color": _PINK, "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
)


def training_curves(records: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Plot the metrics of every epoch; ``records`` are the lines of the run's metrics file.

    An epoch has ``stage``, ``train_loss`` and ``dev``, the metrics by name. Lines differ by dash
    and marker as well as colour; the best epoch by CIDEr-D is marked, and every second stage is
    shaded.
    """
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(title)
    values = [record["dev"]["CIDEr-D"] for record in records]
    best = int(np.argmax(values)) + 1
    stages = list(dict.fromkeys(record["stage"] for record in records))
    for axes, (label, names) in zip(figure.subplots(2, 2).flat, _PANELS, strict=True):
        if names == ("CIDEr-D",):
            axes.plot(best, max(values), marker="*", markersize=14, color=_LINES[0]["color"])
        axes.axvline(best, color="0.35", linewidth=1.2, zorder=1, label=f"best: epoch {best}")
        for (name, curve), style in zip(_curves(records, names).items(), _LINES, strict=False):
            axes.plot(range(1, len(curve) + 1), curve, **style, markersize=4, label=name)
        _shade_stages(axes, records, stages)
        axes.set(xlabel=f"epoch: {', '.join(stages)}" if stages[1:] else "epoch", ylabel=label)
        axes.set_xlim(0.5, len(records) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        _legend_above(axes)
    return figure


def _curves(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[float]]:
    """The lines of a panel, by their labels."""
    curves = {f"{name}, dev": [record["dev"][name] for record in records] for name in names}
    if "loss" in names:
        curves["training objective"] = [record["train_loss"] for record in records]
    return curves


def _shade_stages(axes: Axes, records: Sequence[Mapping[str, Any]], stages: Sequence[str]) -> None:
    """Shade every second stage."""
    for stage in stages[1::2]:
        epochs = [epoch for epoch, record in enumerate(records, 1) if record["stage"] == stage]
        axes.axvspan(epochs[0] - 0.5, epochs[-1] + 0.5, color="0.93", zorder=0)


def _legend_above(axes: Axes) -> None:
    """Put the legend above the panel, where it hides no line."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", frameon=False)


def beam_curve(beams: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot CIDEr-D and BLEU-4 against beam width, with a band for the 95 % interval.

    Each of ``beams`` has ``beam``, ``metrics`` and ``intervals``, both by name; a metric without
    an interval has no band. The best width is starred.
    """
    figure = Figure(figsize=(_WIDTH, 4.6), layout="constrained")
    widths = [row["beam"] for row in beams]
    panels = figure.subplots(2, 1, sharex=True)
    for axes, name, style in zip(panels, ("CIDEr-D", "BLEU-4"), _LINES, strict=False):
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
    figure, axes = _panel()
    highest = max(1.0, float(np.max(values)))
    edges = np.linspace(0, highest, 31).tolist()
    axes.hist(values, bins=edges, color="0.8", edgecolor="0.4", linewidth=0.6)
    marks = {"mean": float(np.mean(values)), "median": float(np.median(values))}
    for (label, value), style in zip(marks.items(), _LINES, strict=False):
        dash, colour = style["linestyle"], style["color"]
        axes.axvline(value, color=colour, linestyle=dash, linewidth=2, label=f"{label} {value:.1f}")
    axes.set(xlabel=f"{name} of a photograph (x100)", ylabel="photographs")
    axes.legend()
    return figure


def length_figure(
    candidate_lengths: Sequence[int] | NDArray[np.int64],
    reference_lengths: Sequence[int] | NDArray[np.int64],
) -> Figure:
    """Plot how long captions and references are, in words: the share of each length.

    There are more references than captions, so shares can be compared and counts cannot.
    """
    figure, axes = _panel()
    longest = int(max(np.max(candidate_lengths), np.max(reference_lengths)))
    lengths = np.arange(longest + 1)
    of_references, of_captions = (
        100 * np.bincount(np.asarray(words), minlength=longest + 1) / len(words)
        for words in (reference_lengths, candidate_lengths)
    )
    label = f"references (mean {np.mean(reference_lengths):.1f})"
    style: dict[str, Any] = {"color": "0.85", "edgecolor": "0.4", "hatch": "///", "width": 1}
    axes.bar(lengths, of_references, **style, label=label)
    label = f"captions (mean {np.mean(candidate_lengths):.1f})"
    axes.plot(lengths, of_captions, **_LINES[0], linewidth=2, markersize=5, label=label)
    axes.set(xlabel="length (words)", ylabel="share (%)")
    axes.legend()
    return figure


def reliability_figure(bins: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Plot a metric against the model's confidence, bin by bin, with 95 % intervals.

    Each of ``bins`` has ``probability``, the mean probability of a word, the mean of the metric
    under ``name``, and its ``interval``.
    """
    figure, axes = _panel()
    probabilities = [row["probability"] for row in bins]
    means = np.array([row[name] for row in bins])
    low, high = np.array([row["interval"] for row in bins], dtype=np.float64).T
    # A bootstrap interval may just miss its mean, and an error bar cannot have a negative length.
    reach = np.maximum(0, [means - low, high - means])
    axes.errorbar(probabilities, means, yerr=reach, **_LINES[0], capsize=4, markersize=6)
    axes.set(xlabel="mean probability of a word", ylabel=f"{name} (x100), 95 % interval")
    axes.grid(alpha=0.3)
    return figure


def _panel() -> tuple[Figure, Axes]:
    """A figure with one panel."""
    figure = Figure(figsize=(_WIDTH, 3.1), layout="constrained")
    return figure, figure.subplots()


def maps_figure(
    photo: Image.Image,
    words: Sequence[str],
    attention: NDArray[np.float32],
    evidence: NDArray[np.float32] | None = None,
    columns: int = 5,
) -> Figure:
    """Draw an upright photograph, then its heat for each word: of evidence, if any, and attention.

    ``attention`` and ``evidence`` (T, h, w) have a map for each of the T ``words``; the percentage
    next to a word is where its scale ends. There are at most ``columns`` panels per row. Raises
    SettingError for a caption without words.
    """
    if not words:
        raise SettingError("the caption has no words, so there is no map to draw")
    photo = thumbnail(photo, _PHOTO_SIDE)
    columns = min(columns, len(words) + 1)
    groups = {_ATTENTION: [attention_heat(each) for each in attention]}
    if evidence is not None:
        groups = {_EVIDENCE: [evidence_heat(each) for each in evidence]} | groups
    rows = -(-(len(words) + 1) // columns)
    height = rows * (_CELL * min(2.0, max(0.1, photo.height / photo.width)) + 0.35)
    sizes = [*[height + _HEADING] * len(groups), _SCALE]
    figure = Figure(figsize=(max(columns * _CELL, _WIDTH), sum(sizes)), layout="constrained")
    *parts, foot = figure.subfigures(len(sizes), height_ratios=sizes, squeeze=False).flat
    for part, (title, heats) in zip(parts, groups.items(), strict=True):
        part.suptitle(textwrap.fill(title, 18 * columns), x=0.01, ha="left", fontsize=11)
        _draw_maps(list(part.subplots(rows, columns, squeeze=False).flat), photo, words, heats)
    _draw_scale(foot)
    return figure


def _draw_maps(
    panels: Sequence[Axes], photo: Image.Image, words: Sequence[str], heats: Sequence[Heat]
) -> None:
    """Draw the photograph in the first panel, and each word's heat in one of the others."""
    for axes in panels:
        axes.axis("off")
    panels[0].imshow(photo)
    for axes, word, heat in zip(panels[1:], words, heats, strict=False):
        axes.imshow(overlay(photo, heat))
        axes.set_title(f"{word}  ({heat.top:.0%})", fontsize=12)


def _draw_scale(figure: SubFigure) -> None:
    """Draw the colours of heat, from 0 to the percentage in brackets."""
    axes = figure.subplots()
    axes.imshow(scale_picture(256, 1), extent=(0, 1, 0, 1), aspect="auto")
    axes.set_xticks([0, 1], ["0 %", "the % in brackets"], fontsize=10)
    axes.set_yticks([])


class PairOfCaptions(NamedTuple):
    """A photograph with two captions to be judged."""

    name: str
    photo: Image.Image
    first: str
    second: str


def judging_sheet(entries: Sequence[PairOfCaptions]) -> Figure:
    """Draw photographs with captions A and B above each, three in a row."""
    rows = -(-len(entries) // 3)
    figure = Figure(figsize=(15, 6.4 * rows), layout="compressed")
    grid = figure.subplots(rows, 3, squeeze=False).flat
    for axes in grid:
        axes.set_axis_off()
    for axes, entry in zip(figure.axes, entries, strict=False):
        axes.imshow(thumbnail(entry.photo, 2 * _PHOTO_SIDE))
        captions = {"A": entry.first, "B": entry.second}
        lines = [textwrap.fill(f"{label}: {text}", 48) for label, text in captions.items()]
        # A title, because the layout makes room for it.
        axes.set_title("\n".join([entry.name, *lines]), loc="left", fontsize=13)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=_DPI))


def as_png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def as_svg(figure: Figure) -> bytes:
    """A figure as SVG, the same bytes for the same figure; letters are shapes and need no font."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "captioning"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
