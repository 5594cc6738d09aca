"""summary.py: a result as rows; what the report and the app show of them is tested there."""

from pathlib import Path

import pytest

from captioning.data.caption_files import Photograph
from captioning.data.splits import Splits
from captioning.evaluation.catalogue import metric
from captioning.evaluation.scoring_data import ScoringData
from captioning.evaluation.scoring_flags import ScoringFlags
from captioning.evaluation.summary import (
    Row,
    attention_rows,
    comparisons,
    facts,
    leave_one_out,
    metric_groups,
    metric_row,
    occlusion_rows,
    other_sets,
    people,
    percent,
    pointing_rows,
    split_name,
)
from captioning.evaluation.systems import Systems
from tests.evaluation.report_pages import full, minimal

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def test_facts_are_those_of_the_result():
    assert facts(minimal()) == ["1,000 photographs"]
    assert facts(full()) == [
        "1,000 photographs",
        "5 references each",
        "beam 3",
        "length penalty 0.7",
        "2026-11-24",
    ]


@pytest.mark.parametrize(("split", "expected"), [("dev", "development split"), ("mine", "mine")])
def test_a_split_is_named_in_words(split, expected):
    assert split_name(minimal(split=split)) == expected


def test_metrics_are_grouped_and_unknown_ones_come_last():
    groups = metric_groups(full())
    assert {heading: [row.name for row in rows] for heading, rows in groups.items()} == {
        "Captions against the references": ["BLEU-4", "CIDEr-D"],
        "Next word, given the true words before it": ["loss"],
        "Objects in captions": ["CHAIR-s"],
        "Other metrics": ["odd"],
    }
    assert list(groups)[-1] == "Other metrics"
    assert groups["Other metrics"] == [Row("odd", "", "", "3.1")]


def test_a_metric_that_the_result_lacks_is_a_dash():
    row = metric_row(metric("METEOR"), full())
    assert (row.value, row.interval, row.unit) == (DASH, "", "x100")


def test_a_metric_with_one_reference_left_out_is_paired_with_itself():
    ((part, whole),) = leave_one_out(full())
    assert (part.name, part.value, whole.name, whole.value) == (
        "CIDEr-D",
        "49.4",
        "CIDEr-D",
        "53.1",
    )


def test_of_attention_the_metrics_are_shown_and_the_greatest_entropy_in_words():
    rows = {row.name: row for row in attention_rows(full())}
    assert list(rows) == ["faithfulness", "drop", "drop at random places", "entropy"]
    assert (rows["drop"].value, rows["faithfulness"].interval) == ("0.532", "0.361 to 0.471")
    assert rows["entropy"].about.endswith("0 is all at one location, 3.892 is evenly over all.")
    assert attention_rows(minimal()) == []


def test_a_comparison_has_two_digits_at_least_and_signs():
    row = {"this": 2.5, "other": 2.75, "difference": -0.25, "interval": [-0.5, 0], "p": 0.00001}
    against = {"name": "other", "metrics": {"loss": row, "BLEU-4": row}}
    loss, bleu = comparisons(minimal(against=against))
    assert (loss.this, loss.difference) == ("2.500", f"{MINUS}0.250")
    assert bleu[1:6] == ("2.50", "2.75", f"{MINUS}0.25", f"{MINUS}0.50 to 0.00", "< 0.0001")


def test_a_comparison_has_the_interval_of_the_other_where_that_is_known():
    row = {"this": 2.5, "other": 2.75, "difference": -0.25, "interval": [-0.5, 0], "p": 0.01}
    rows = {"BLEU-4": row | {"other interval": [2.5, 3.0]}, "loss": row}
    bleu, loss = comparisons(minimal(against={"name": "other", "metrics": rows}))
    assert (bleu.other_interval, loss.other_interval) == ("2.50 to 3.00", "")


def test_pointing_has_a_row_for_each_map_and_what_is_missing_is_a_dash():
    evidence, attention, centre = pointing_rows(full())
    assert [row.name for row in (evidence, attention, centre)] == [
        "Evidence",
        "Attention",
        "Centre map",
    ]
    assert {name: cell.value for name, cell in evidence.cells.items()} == {
        **{"mass": "0.86", "mass dog": "0.88", "mass person": "0.84"},
        **{"peak": "0.92", "peak dog": "0.95", "peak person": "0.89"},
    }
    assert attention.cells["peak"].interval == "0.71 to 0.73"
    (bare,) = pointing_rows(minimal(pointing={"maps": {"mine": {"metrics": {"peak": 0.25}}}}))
    assert bare.name == "mine"
    assert [bare.cells[name][3:] for name in ("mass", "peak")] == [(DASH, ""), ("0.25", "")]
    assert pointing_rows(minimal()) == []


def test_agreement_with_occlusion_has_a_row_for_each_map():
    rows = occlusion_rows(full())
    assert [(row.name, row.value, row.interval) for row in rows] == [
        ("Evidence", "0.95", "0.94 to 0.96"),
        ("Attention", "0.10", ""),
    ]
    assert occlusion_rows(minimal()) == []


def test_other_sets_have_the_same_metrics_and_what_is_missing_is_a_dash():
    everyday, web = other_sets(full())
    assert (everyday.name, web.name) == ("everyday", "everyday, web")
    assert everyday.facts == ["243 photographs", "1 to 5 references each"]
    assert web.facts == ["2,230 photographs", "1 reference each"]
    assert list(everyday.cells) == list(web.cells) == ["CIDEr-D", "supported objects"]
    assert everyday.cells["supported objects"][3:] == ("41.2", "36.4 to 46.9")
    assert web.cells["supported objects"][3:] == (DASH, "")
    ((cider,), nothing) = everyday.against, web.against
    assert (cider.difference, cider.verdict) == ("+12.30", "better")
    assert nothing == []
    (bare,) = other_sets(minimal(**{"other sets": [{"name": "mine", "metrics": {}}]}))
    assert (bare.facts, bare.cells) == ([], {})
    assert other_sets(minimal()) == []


def test_only_the_human_baseline_counts_as_people():
    against = full()["against"]
    assert people(full()) == people(minimal()) == {}
    named = against | {"name": "People: each reference against the others"}
    assert people(minimal(against=named)) == against["metrics"]


def test_the_human_baseline_is_known_by_its_sentence():
    """``people`` reads the sentence that ``systems`` writes."""
    photographs = [Photograph("a.jpg", Path("a.jpg"), ("a dog", "a cat"))]
    data = ScoringData(Splits((), (), tuple(photographs), "none"), "test", photographs, (), ())
    system = Systems(data, ScoringFlags(), Path("none"), "cpu", print).from_baseline("human")
    assert people({"against": {"name": system.about, "metrics": {"loss": {}}}}) == {"loss": {}}


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.6248, "62 %"), (1, "100 %"), (0.0204, "2.0 %"), (0.0999, "10 %"), (0.0994, "9.9 %")],
)
def test_a_small_share_has_a_digit_after_the_point(share, expected):
    assert percent(share) == expected
