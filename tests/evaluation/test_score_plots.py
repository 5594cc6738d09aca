"""score_plots.py: what the plots of scores hold."""

import numpy as np
import pytest

from captioning.evaluation.score_plots import (
    beam_curve,
    length_figure,
    reliability_figure,
    score_distribution,
)
from captioning.plots import save_figure


def labels(figure):
    """The legend of every panel."""
    return [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]


def stars(figure):
    """Where every panel has stars."""
    return [
        [
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in axes.lines
            if line.get_marker() == "*"
        ]
        for axes in figure.axes
    ]


def beam(width, cider):
    """The scores of one beam width."""
    return {
        "beam": width,
        "metrics": {"CIDEr-D": cider, "BLEU-4": 20.0 + width},
        "intervals": {"CIDEr-D": [cider - 3, cider + 4]},
    }


def test_a_beam_curve_holds_the_values_and_their_intervals():
    figure = beam_curve([beam(1, 50.0), beam(2, 53.0), beam(5, 52.0)])
    assert [axes.get_ylabel() for axes in figure.axes] == ["CIDEr-D (x100)", "BLEU-4 (x100)"]
    for axes, values in zip(figure.axes, ([50, 53, 52], [21, 22, 25]), strict=True):
        assert list(axes.lines[0].get_xdata()) == [1, 2, 5]
        assert list(axes.lines[0].get_ydata()) == values
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert {(1, 47), (1, 54), (2, 50), (2, 57), (5, 49), (5, 56)} <= set(map(tuple, corners))


def test_a_beam_curve_stars_the_best_width_and_does_without_intervals():
    figure = beam_curve([beam(1, 50.0), beam(2, 53.0), {**beam(3, 52.0), "intervals": {}}])
    assert stars(figure) == [[(2, 53.0)], [(3, 23.0)]]


def test_a_score_distribution_counts_every_photograph_and_marks_mean_and_median():
    figure = score_distribution([0.0, 0.0, 30.0, 250.0], "CIDEr-D")
    (axes,) = figure.axes
    assert sum(patch.get_height() for patch in axes.patches) == 4
    assert labels(figure) == [["mean 70.0", "median 15.0"]]
    assert [line.get_xdata()[0] for line in axes.lines] == [70, 15]
    assert axes.get_xlabel() == "CIDEr-D of a photograph (x100)"


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], np.array([53.1])])
def test_a_score_distribution_of_one_score(tmp_path, values):
    figure = score_distribution(values, "CIDEr-D")
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == len(values)
    save_figure(figure, tmp_path / "scores.png")


def test_lengths_are_shares_because_there_are_more_references():
    figure = length_figure([3, 3, 4, 4], [2, 4, 4, 4, 5, 5, 6, 6, 6, 7])
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == [0, 0, 0, 50, 50, 0, 0, 0]
    assert [patch.get_height() for patch in axes.patches] == [0, 0, 10, 0, 30, 20, 30, 10]
    assert set(labels(figure)[0]) == {"captions (mean 3.5)", "references (mean 4.9)"}


def test_lengths_of_captions_that_are_longer_than_any_reference_or_empty():
    axes = length_figure(np.array([0, 9]), np.array([4])).axes[0]
    assert axes.lines[0].get_ydata()[[0, 9]].tolist() == [50, 50]


def test_reliability_holds_the_bins_and_their_intervals():
    bins = [
        {"probability": 0.2, "CIDEr-D": 30.0, "interval": [25.0, 36.0], "images": 50},
        {"probability": 0.5, "CIDEr-D": 60.0, "interval": [60.1, 70.0], "images": 50},
    ]
    (axes,) = reliability_figure(bins, "CIDEr-D").axes
    assert list(axes.lines[0].get_xdata()) == [0.2, 0.5]
    assert list(axes.lines[0].get_ydata()) == [30, 60]
    # The second interval just misses its mean, and is drawn from the mean.
    (bars,) = axes.collections
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[25, 36], [60, 70]]
