"""The best checkpoint of a run: only figures of the same search on the same data compete."""

from dataclasses import replace

import pytest

from captioning.network.config import DecodeConfig
from captioning.network.saved_network import save_checkpoint
from captioning.training.selection import best_of

SEARCH = DecodeConfig(beam=4, length_penalty=0.8)
OTHER = DecodeConfig(beam=3, length_penalty=0.0)


@pytest.fixture
def make(checkpoint):
    """A function that makes a checkpoint of these stages, the last one with this CIDEr-D."""

    def make(*stages, score, loss=2.0, decoding=SEARCH, data="photographs"):
        return replace(
            checkpoint,
            decoding=decoding,
            provenance={"data": data, "stages": [{"stage": s, "data": data} for s in stages]},
            figures={"CIDEr-D": score, "loss": loss},
        )

    return make


def test_the_highest_cider_wins_and_the_loss_breaks_a_tie(make, tmp_path):
    first = make("decoder", score=50.0)
    second = make("decoder", "finetune", score=60.0)
    third = make("decoder", "finetune", "refine", score=60.0, loss=1.5)
    assert best_of([first, second], tmp_path / "none.pth") is second
    assert best_of([first, second, third], tmp_path / "none.pth") is third
    same = make("decoder", "finetune", "refine", score=60.0)
    assert best_of([second, same], tmp_path / "none.pth") is second  # of equals the earlier one


SCORED_WITH = "scored with beam 3, length penalty 0, repetition penalty 0 and at most 30 words"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decoding": OTHER}, SCORED_WITH),
        ({"data": "others"}, "scored on other data (others)"),
        ({"data": ""}, "scored on other data ()"),
    ],
)
def test_figures_of_another_search_or_other_data_do_not_count(
    make, tmp_path, capsys, change, reason
):
    other = make("decoder", score=99.0, **change)
    last = make("decoder", "finetune", score=10.0)
    assert best_of([other, last], tmp_path / "none.pth") is last
    printed = capsys.readouterr().out
    assert printed == f"decoder does not count for the best checkpoint: it was {reason}\n"


def test_an_older_best_counts_if_it_was_made_from_the_last_by_the_same_search(
    make, tmp_path, capsys
):
    last, known = make("decoder", score=10.0), tmp_path / "best.pth"
    save_checkpoint(make("decoder", "finetune", score=20.0), known)
    assert best_of([last], known).figures["CIDEr-D"] == 20
    save_checkpoint(make("other", "finetune", score=20.0), known)
    assert best_of([last], known) is last
    assert capsys.readouterr().out == ""
    for stage in ("decoder", "other"):
        save_checkpoint(make(stage, "finetune", score=20.0, decoding=OTHER), known)
        assert best_of([last], known) is last
        assert "best.pth does not count" in capsys.readouterr().out


@pytest.mark.parametrize("figures", [{}, {"CIDEr-D": 9.0}, {"CIDEr-D": "high", "loss": 1.0}])
def test_a_checkpoint_without_figures_does_not_count(make, checkpoint, tmp_path, capsys, figures):
    last = make("decoder", score=10.0)
    foreign = replace(checkpoint, provenance={}, figures=figures)
    assert best_of([foreign, last], tmp_path / "none.pth") is last
    assert "has no CIDEr-D and loss" in capsys.readouterr().out


def test_stages_of_other_training_data_compete_where_they_are_measured_on_the_same(make, tmp_path):
    on_both = make("decoder", score=60.0, data="home: 8 train, 2 dev; web: 9 train")
    on_both.provenance["stages"][-1]["measured on"] = "8 train, 2 dev"
    alone = make("decoder", "finetune", score=50.0, data="8 train, 2 dev")
    assert best_of([on_both, alone], tmp_path / "none.pth") is on_both
    assert best_of([alone, on_both], tmp_path / "none.pth") is on_both
    elsewhere = make("decoder", "finetune", score=50.0, data="9 train")
    assert best_of([on_both, elsewhere], tmp_path / "none.pth") is elsewhere
