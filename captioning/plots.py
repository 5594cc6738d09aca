"""Plots: training curves, the maps of a caption, sheets to judge captions by, and how to save them.

The plots of scores are in ``evaluation.score_plots``; they share the styles of this module.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.errors import SettingError, needed_for
from captioning.files import write_atomically
from captioning.pictures import Heat, heat_of, overlay, scale_picture, thumbnail

with needed_for("drawing", "'.[app]'"):
    import matplotlib
    from matplotlib.axes import Axes as Axes  # also for modules that draw with this one
    from matplotlib.figure import Figure as Figure

_PHOTO_SIDE = 320  # pixels, the longer one
_CELL = 2.3  # inches
PICTURE_KINDS = ("png", "jpg", "jpeg", "svg", "pdf")
_DPI = 110
_HEADING, _SCALE = 0.45, 0.5  # inches, above a group of maps and at its foot
_EVIDENCE = "Evidence: how much support the word loses when a place is hidden"
_ATTENTION = "Attention: how much of it lay on each place while the word was chosen"
WIDTH = 4.6  # inches, of a plot of scores: its print stays legible on a phone
_PANELS = (
    ("loss (nats per token)", ("loss",)),
    ("next word, teacher-forced (%)", ("accuracy", "accuracy top-5", "F1 weighted", "F1 macro")),
    ("captions: BLEU and ROUGE-L (x100)", ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L")),
    ("captions: CIDEr-D (x100)", ("CIDEr-D",)),
)

# Colours of Okabe and Ito, which colour-blind readers can tell apart: those dark enough to be seen
# on white. Dash and marker tell the lines apart in a greyscale print.
_BLUE, _RED, _GREEN, _PINK, _BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"

LINES: tuple[dict[str, Any], ...] = (
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
            axes.plot(best, max(values), marker="*", markersize=14, color=LINES[0]["color"])
        axes.axvline(best, color="0.35", linewidth=1.2, zorder=1, label=f"best: epoch {best}")
        for (name, curve), style in zip(_curves(records, names).items(), LINES, strict=False):
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


def panel() -> tuple[Figure, Axes]:
    """A figure with one panel."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
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
    groups = {_ATTENTION: [heat_of("attention", each) for each in attention]}
    if evidence is not None:
        groups = {_EVIDENCE: [heat_of("evidence", each) for each in evidence]} | groups
    rows = -(-(len(words) + 1) // columns)
    height = rows * (_CELL * min(2.0, max(0.1, photo.height / photo.width)) + 0.35)
    sizes = [*[height + _HEADING] * len(groups), _SCALE]
    figure = Figure(figsize=(max(columns * _CELL, WIDTH), sum(sizes)), layout="constrained")
    *parts, foot = figure.subfigures(len(sizes), height_ratios=sizes, squeeze=False).flat
    for part, (title, heats) in zip(parts, groups.items(), strict=True):
        part.suptitle(textwrap.fill(title, 18 * columns), x=0.01, ha="left", fontsize=11)
        _draw_maps(list(part.subplots(rows, columns, squeeze=False).flat), photo, words, heats)
    draw_scale(foot.subplots(), "the % in brackets")
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


def draw_scale(axes: Axes, end: str) -> None:
    """Draw the colours of heat, from 0 to what ``end`` says."""
    axes.imshow(scale_picture(256, 1), extent=(0, 1, 0, 1), aspect="auto")
    axes.set_xticks([0, 1], ["0 %", end], fontsize=10)
    axes.set_yticks([])
    axes.set_box_aspect(0.03)


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
    """Write a figure atomically, as what its suffix says: PNG, JPEG, SVG or PDF.

    Raises SettingError for another suffix.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in PICTURE_KINDS:
        kinds = ", ".join(f".{each}" for each in PICTURE_KINDS)
        raise SettingError(f"{path}: pictures are written as {kinds}; name such a file")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=_DPI))


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
