"""tools.precisions: what an engine loses, and that the README has the last measurement."""

import json
from dataclasses import replace

import pytest

from captioning.inference.engines import OFFERED
from tools import precisions
from tools.marks import with_part
from tools.precisions import RESULT, Measured, table

ROWS = json.loads(RESULT.read_text(encoding="utf-8"))
REFERENCE = Measured("torch", "float32", ["a dog", "a cat"], [-1.0, -2.0], 50.0, 0.9, 0.8)


def test_the_readme_has_what_was_measured_of_all_that_is_offered():
    readme = precisions.README.read_text(encoding="utf-8")
    assert with_part(readme, "precisions", table(ROWS)) == readme
    offered = {(engine, one) for engine, those in OFFERED.items() for one in those}
    assert {(row["engine"], row["precision"]) for row in ROWS} == offered


def test_nothing_is_offered_that_loses_much():
    for row in ROWS:
        assert row["loses little"], row
        if row["precision"] == "float32":
            assert row["same captions"] == row["photographs"]
            assert row["greatest difference of a same caption's log-probability"] < 1e-3


@pytest.mark.parametrize(
    ("changes", "little"),
    [
        ({}, True),
        ({"cider": 49.5, "evidence": 0.891}, True),
        ({"cider": 49.4}, False),
        ({"evidence": 0.889}, False),
        ({"attention": 0.789}, False),
        ({"cider": 60.0, "evidence": 1.0}, True),
    ],
)
def test_what_may_be_lost(changes, little):
    assert replace(REFERENCE, **changes).lost(REFERENCE)["loses little"] == little


def test_log_probabilities_are_compared_where_the_caption_is_the_same():
    other = replace(REFERENCE, captions=["a dog", "a bird"], log_probabilities=[-1.25, -9.0])
    lost = other.lost(REFERENCE)
    assert lost["same captions"] == 1
    assert lost["greatest difference of a same caption's log-probability"] == 0.25


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert precisions.main(["--references", str(tmp_path / "none.txt")]) == 1
    assert "no such caption file" in capsys.readouterr().err
