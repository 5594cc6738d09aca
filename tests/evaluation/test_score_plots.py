"""score_plots.py: what the plots of scores hold."""

import numpy as np
import pytest

from captioning.evaluation.catalogue import REPORTED
from captioning.evaluation.published import PUBLISHED
from captioning.evaluation.score_plots import (
    beam_curve,
    length_figure,
    metrics_figure,
    mosaic_figure,
    pointing_figure,
    reliability_figure,
    result_figures,
    score_distribution,
)
from captioning.evaluation.summary import PLOT_TEXTS
from captioning.pictures import attention_heat, evidence_heat, overlay, scale_picture
from captioning.plots import save_figure
from tests.evaluation.report_pages import full, minimal, mosaic, pointing
from tests.figures import stars


def labels(figure):
    """The legend of every panel."""
    return [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]


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
    references = {"2": 1, "4": 3, "5": 2, "6": 3, "7": 1}
    figure = length_figure({"captions": {"3": 2, "4": 2}, "references": references})
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == [0, 0, 0, 50, 50, 0, 0, 0]
    assert [patch.get_height() for patch in axes.patches] == [0, 0, 10, 0, 30, 20, 30, 10]
    assert set(labels(figure)[0]) == {"captions (mean 3.5)", "references (mean 4.9)"}


def test_lengths_of_captions_that_are_longer_than_any_reference_or_empty():
    lengths = {"captions": {"0": 1, "9": 1}, "references": {"4": 1}}
    axes = length_figure(lengths).axes[0]
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


# All that a result has ----------------------------------------------------------------------------


def test_an_older_result_has_the_plots_it_has_the_values_for():
    assert list(result_figures(full())) == [
        "metrics",
        "pointing",
        "reliability",
        "beams",
        "lengths",
    ]
    assert list(result_figures(minimal())) == ["metrics"]
    assert result_figures(minimal(metrics={"loss": 2.5})) == {}
    bare = {"pointing": {"maps": {}}, "calibration": {"of": "CIDEr-D"}, "beams": []}
    assert list(result_figures(minimal(**bare))) == ["metrics"]


def test_every_plot_of_a_result_has_its_texts():
    assert set(result_figures(full())) | {"mosaics", "scores"} == set(PLOT_TEXTS)
    assert all(text.about.endswith(".") and text.alt.endswith(".") for text in PLOT_TEXTS.values())


# Beside other systems -----------------------------------------------------------------------------


def dots(axes, label):
    """The dots of a label: a (value, low, high) for each row."""
    (container,) = [each for each in axes.containers if each.get_label() == label]
    (bars,) = container[2]
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    values = container[0].get_xdata().tolist()
    return [(value, *pair) for value, pair in zip(values, ends, strict=True)]


def rows_of(axes):
    """The labels of the rows, from the top."""
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    return [text.get_text() for text in axes.get_yticklabels()]


def test_the_metrics_are_drawn_beside_those_of_every_published_system():
    (axes,) = metrics_figure(full() | {"against": {}}).axes
    assert rows_of(axes) == ["BLEU-4  22.0", "CIDEr-D  53.1"]
    assert np.allclose(dots(axes, "this result"), [(21.993,) * 3, (53.149, 50.04, 56.36)])
    drawn = [line for line in axes.lines if line.get_marker() == "|" and line.get_markersize() > 9]
    for line, name in zip(drawn, ("BLEU-4", "CIDEr-D"), strict=True):
        values = [system.values[REPORTED.index(name)] for system in PUBLISHED]
        assert line.get_xdata().tolist() == [value for value in values if value is not None]


def test_people_are_beside_this_result_scored_as_they_are():
    row = {"this": 49.4, "other": 80.0, "other interval": [76.0, 85.0]}
    against = {"name": "People: each reference against the others", "metrics": {"CIDEr-D": row}}
    _, axes = metrics_figure(full() | {"against": against}).axes
    assert rows_of(axes) == ["CIDEr-D"]
    assert np.allclose(dots(axes, "people"), [(80, 76, 85)])
    assert np.allclose(dots(axes, "this result"), [(49.4, 46.1, 52.8)])  # not 53.1: that is of all
    del row["other interval"]
    _, axes = metrics_figure(full() | {"against": against}).axes
    assert np.allclose(dots(axes, "people"), [(80, 80, 80)])


# Where maps point ---------------------------------------------------------------------------------


def test_pointing_holds_mass_and_peak_of_each_map_and_chance():
    figure = pointing_figure(pointing() | {"chance": 0.4})
    expected_values = ((0.864, 0.581, 0.499), (0.923, 0.722, 0.504))
    for axes, values in zip(figure.axes, expected_values, strict=True):
        assert rows_of(axes) == [
            f"{label}  {value:.2f}"
            for label, value in zip(("Evidence", "Attention", "Centre map"), values, strict=True)
        ]
        expected = [(value, value - 0.01, value + 0.01) for value in values]
        assert np.allclose(dots(axes, "mean"), expected)
        lines = {line.get_label(): line for line in axes.lines}
        assert lines["chance"].get_xdata() == [0.4, 0.4]
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert np.allclose(lines["dog words"].get_xdata(), [0.953, 0.752, 0.534])
    assert np.allclose(lines["person words"].get_xdata(), [0.893, 0.692, 0.474])


def test_pointing_is_drawn_as_far_as_it_was_measured(tmp_path):
    part = {"maps": {"attention": {"metrics": {"mass": 0.58}}}}
    figure = pointing_figure(part)
    assert rows_of(figure.axes[0]) == ["Attention  0.58"]
    save_figure(figure, tmp_path / "pointing.png")


def panels(figure):
    """The panels with pictures, as (title, pixels)."""
    axes = [each for part in figure.subfigs[:-1] for each in part.axes]
    return [(each.get_title(), np.asarray(each.images[0].get_array())) for each in axes]


def test_mosaics_are_drawn_with_the_evidence_and_the_attention_of_their_word():
    wide, tall = mosaic(), mosaic((224, 448), word="man", caption="A man and a dog.")
    figure = mosaic_figure([wide, tall])
    assert [part.get_suptitle() for part in figure.subfigs[:-1]] == [wide.caption, tall.caption]
    shown = panels(figure)
    assert [title for title, _ in shown] == [
        *("the mosaic", "evidence of “dog”, up to 39 %", "attention of “dog”, up to 2.0 %"),
        *("the mosaic", "evidence of “man”, up to 39 %", "attention of “man”, up to 2.0 %"),
    ]
    expected = [
        (
            each.picture,
            overlay(each.picture, evidence_heat(each.evidence)),
            overlay(each.picture, attention_heat(each.attention)),
        )
        for each in (wide, tall)
    ]
    for (_, pixels), picture in zip(shown, [p for three in expected for p in three], strict=True):
        assert np.array_equal(pixels, np.asarray(picture))
    (scale,) = figure.subfigs[-1].axes
    assert np.array_equal(
        np.asarray(scale.images[0].get_array()), np.asarray(scale_picture(256, 1))
    )
