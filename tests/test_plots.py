"""plots.py: what the plots hold, and how they are saved."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from captioning.errors import SettingError
from captioning.pictures import attention_heat, evidence_heat, overlay, thumbnail
from captioning.plots import (
    PairOfCaptions,
    as_svg,
    judging_sheet,
    maps_figure,
    save_figure,
    training_curves,
)
from tests.figures import stars
from tests.maps import grey_photo, peaked

WORDS = ["a", "man", "'s", "dog"]


def even(count, side=7):
    """Maps (count, side, side) of even attention."""
    return np.full((count, side, side), 1 / side**2, np.float32)


def record(epoch, cider, stage="decoder"):
    """One line of a run's metrics file."""
    names = ("loss", "accuracy", "accuracy top-5", "F1 weighted", "F1 macro", "ROUGE-L")
    bleu = {f"BLEU-{order}": 60.0 / order for order in (1, 2, 3, 4)}
    metrics = dict.fromkeys(names, 10.0 + epoch) | bleu | {"CIDEr-D": cider}
    return {"stage": stage, "epoch": epoch, "train_loss": 5.0 - epoch, "dev": metrics}


# All maps of a caption ---------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "grid"), [(1, 2), (4, 5), (5, 10), (30, 35)])
def test_the_photograph_and_every_word_have_a_panel(count, grid):
    words = [f"word{number}" for number in range(count)]
    figure = maps_figure(grey_photo(), words, even(count))
    *panels, scale = figure.axes
    titles = [axes.get_title() for axes in panels if axes.images]
    assert titles == ["", *(f"{word}  (2%)" for word in words)]
    assert len(panels) == grid  # a short caption gets a narrow figure
    assert [label.get_text() for label in scale.get_xticklabels()] == ["0 %", "the % in brackets"]


def test_each_panel_shows_its_own_map():
    photo = thumbnail(grey_photo(), 320)
    attention = np.stack([peaked(row, row) for row in range(len(WORDS))])
    figure = maps_figure(photo, WORDS, attention, 3 * attention[::-1])
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    heats = [evidence_heat(3 * weights) for weights in attention[::-1]]
    heats += [attention_heat(weights) for weights in attention]
    expected = [overlay(photo, heat) for heat in heats]
    expected[len(WORDS) : len(WORDS)] = [photo]  # each group begins with the photograph
    for panel, picture in zip(shown, [photo, *expected], strict=False):
        assert np.array_equal(panel, np.asarray(picture))
    assert len(shown) == 2 * (1 + len(WORDS)) + 1  # and the scale


def test_a_caption_without_words_has_no_map_to_draw():
    with pytest.raises(SettingError, match="no words"):
        maps_figure(grey_photo(), [], np.zeros((0, 7, 7), np.float32))


@pytest.mark.parametrize(
    ("size", "tallest"),
    [((4000, 100), 100), ((100, 4000), 700), ((5000, 2), 100), ((2, 5000), 700), ((1, 1), 350)],
)
def test_a_very_wide_or_tall_photograph_is_drawn_at_a_sensible_size(tmp_path, size, tallest):
    path = tmp_path / "attention.png"
    save_figure(maps_figure(grey_photo(*size), WORDS, even(4)), path)
    width, height = Image.open(path).size
    assert 1000 < width < 1500
    assert 50 < height < tallest + 110  # the heading and the scale


# Training ----------------------------------------------------------------------------------------


def labels(figure):
    """The legend of every panel."""
    return [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]


def shaded(figure):
    """The shaded spans of every panel, as (left, right)."""
    return [[span(patch) for patch in axes.patches] for axes in figure.axes]


def span(patch):
    """The left and the right of a patch, which is a polygon before Matplotlib 3.9."""
    box = patch.get_path().transformed(patch.get_patch_transform()).get_extents()
    return box.x0, box.x1


def test_the_curves_of_one_epoch(tmp_path):
    figure = training_curves([record(1, 20.0)], "Training of base")
    save_figure(figure, tmp_path / "curves.png")
    assert all("best: epoch 1" in legend for legend in labels(figure))
    assert shaded(figure) == [[], [], [], []]
    left, right = figure.axes[0].get_xlim()
    assert [tick for tick in figure.axes[0].get_xticks() if left <= tick <= right] == [1]


def test_the_curves_of_two_stages_mark_the_best_epoch_and_the_second_stage():
    lines = [record(1, 20.0), record(2, 50.0), record(1, 60.0, "finetune")]
    lines += [record(2, 55.0, "finetune")]
    figure = training_curves(lines, "Training of base")
    assert all("best: epoch 3" in legend for legend in labels(figure))
    assert shaded(figure) == [[(2.5, 4.5)]] * 4
    assert figure.get_suptitle() == "Training of base"


def test_every_second_stage_is_shaded_and_all_are_named_in_their_order():
    stages = ("decoder", "finetune", "refine", "reinforce")
    lines = [record(epoch, 20.0, stage) for stage in stages for epoch in (1, 2)]
    figure = training_curves(lines, "Training of base")
    assert shaded(figure) == [[(2.5, 4.5), (6.5, 8.5)]] * 4
    assert figure.axes[0].get_xlabel() == "epoch: decoder, finetune, refine, reinforce"


def test_the_curves_hold_the_metrics():
    lines = [record(1, 20.0), record(2, 50.0)]
    figure = training_curves(lines, "Training of base")
    drawn = {
        line.get_label(): list(line.get_ydata()) for axes in figure.axes for line in axes.lines
    }
    assert drawn["training objective"] == [4.0, 3.0]
    assert drawn["loss, dev"] == [11.0, 12.0]
    assert drawn["CIDEr-D, dev"] == [20.0, 50.0]
    assert drawn["BLEU-4, dev"] == [15.0, 15.0]


def test_the_best_epoch_is_starred_where_it_was_chosen():
    figure = training_curves([record(1, 20.0), record(2, 50.0), record(3, 40.0)], "Training")
    assert stars(figure) == [[], [], [], [(2, 50.0)]]


def test_curves_differ_without_colour():
    figure = training_curves([record(1, 20.0), record(2, 50.0)], "Training")
    for axes in figure.axes:
        curves = [line for line in axes.lines if line.get_label().endswith(("dev", "objective"))]
        assert len({line.get_marker() for line in curves}) == len(curves) > 0


def test_no_legend_hides_a_curve():
    figure = training_curves([record(1, 20.0), record(2, 50.0)], "Training")
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert not axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


# Saving ------------------------------------------------------------------------------------------


def test_a_figure_is_saved_as_png_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "results" / "plots" / "base.png"
    save_figure(training_curves([record(1, 20.0)], "Training of base"), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 1000 < image.width < 1500
        assert 600 < image.height < 1000
    assert [file.name for file in path.parent.iterdir()] == ["base.png"]


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "base.png"
    path.write_bytes(b"earlier")

    def fail(figure, target, **options):
        target.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="full"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [(140, 70), (70, 140), (90, 90)])
@pytest.mark.parametrize("count", [1, 5, 6])
def test_every_caption_is_on_its_judging_sheet(size, count):
    long = "a man in a red shirt is standing on a rock beside a large body of water with a dog " * 2
    texts = [(long, long), ("a dog", long), ("a dog", "a cat")]
    entries = [
        PairOfCaptions(f"{number}.jpg", grey_photo(*size), *texts[number % 3])
        for number in range(count)
    ]
    figure = judging_sheet(entries)
    figure.draw_without_rendering()
    for axes, entry in zip(figure.axes, entries, strict=False):
        words = [entry.name, "A:", *entry.first.split(), "B:", *entry.second.split()]
        assert axes.get_title("left").split() == words
        box = axes.get_tightbbox()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


def test_a_figure_as_svg_is_the_same_each_time_and_needs_no_font():
    first, second = (as_svg(training_curves([record(1, 20.0)], "Training")) for _ in range(2))
    assert first == second
    assert b"</svg>" in first
    assert b"<text" not in first
