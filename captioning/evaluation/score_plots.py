"""Plots of how captions score."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.plots import LINES, WIDTH, Figure, panel


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


def length_figure(
    candidate_lengths: Sequence[int] | NDArray[np.int64],
    reference_lengths: Sequence[int] | NDArray[np.int64],
) -> Figure:
    """Plot how long captions and references are, in words: the share of each length.

    There are more references than captions, so shares can be compared and counts cannot.
    """
    figure, axes = panel()
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
    axes.plot(lengths, of_captions, **LINES[0], linewidth=2, markersize=5, label=label)
    axes.set(xlabel="length (words)", ylabel="share (%)")
    axes.legend()
    return figure


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
