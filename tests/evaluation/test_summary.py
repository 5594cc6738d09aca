"""summary.py: a result as rows; what the report and the app show of them is tested there."""

import pytest

from captioning.evaluation.catalogue import metric
from captioning.evaluation.summary import (
    Row,
    attention_rows,
    comparisons,
    facts,
    leave_one_out,
    metric_groups,
    metric_row,
    split_name,
)
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
        "Hallucinated objects": ["CHAIR-s"],
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
