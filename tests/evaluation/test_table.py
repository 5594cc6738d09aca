"""A result as CSV and as lines."""

import csv
import io

import numpy as np
import pytest

from captioning.evaluation import meteor
from captioning.evaluation.assessment import System, assess
from captioning.evaluation.predictions import read_predictions
from captioning.evaluation.table import as_csv, as_lines
from tests.evaluation.report_pages import novelty, other_sets

NAMES = ["b.jpg", "a.jpg"]
CAPTIONS = ['a dog, "big"\nand brown', "a man with a ball"]
REFERENCES = [["a big brown dog", "a dog"], ["a man", "a man sits"]]


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "why_not", lambda: "METEOR is left out of these tests")


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_row_per_image_by_name(tmp_path):
    system = System(CAPTIONS, scores=np.array([-0.5, -1.23456]))
    assessment = assess(system, REFERENCES, training={("a", "man", "with", "a", "ball")})
    text = as_csv(NAMES, system, assessment)
    rows = rows_of(text)
    assert [row["image"] for row in rows] == ["a.jpg", "b.jpg"]
    assert [row["invented objects"] for row in rows] == ["ball", ""]
    assert [row["score"] for row in rows] == ["-1.2346", "-0.5"]
    assert [row["new"] for row in rows] == ["0", "1"]
    (tmp_path / "table.csv").write_text(text, newline="")
    captions = dict(zip(NAMES, CAPTIONS, strict=True))
    assert read_predictions(tmp_path / "table.csv") == captions


def test_the_table_of_people_has_no_captions():
    system = System([texts[0] for texts in REFERENCES], human=True)
    rows = rows_of(as_csv(NAMES, system, assess(system, REFERENCES, training=None)))
    assert "caption" not in rows[0]
    assert "new" not in rows[0]
    assert [row["first reference"] for row in rows] == ["a man", "a big brown dog"]


def test_lines_have_values_intervals_comparisons_and_notes():
    comparison = {
        "this": 12.345,
        "other": 10.0,
        "difference": 2.345,
        "interval": [1.0, 3.5],
        "p": 0.012,
    }
    result = {
        "metrics": {"BLEU-4": 12.345, "F1 macro": 5.0},
        "intervals": {"BLEU-4": [11.1111, 13.0]},
        "attention": {"faithfulness": 0.51234, "interval": [0.4, 0.6]},
        "pointing": {
            "maps": {
                "evidence": {"metrics": {"mass": 0.864}, "intervals": {"mass": [0.85, 0.871]}},
                "centre": {"metrics": {"mass": 0.5, "peak": 0.512}},
            }
        },
        "split": "dev",
        "novelty": novelty(),
        "occlusion": {
            "metrics": {"evidence": 0.951},
            "intervals": {"evidence": [0.94, 0.96]},
        },
        "against": {"metrics": {"BLEU-4": comparison}},
        "other sets": other_sets(),
        "notes": ["A note."],
    }
    assert list(as_lines(result)) == [
        "                BLEU-4     12.3   95 % interval 11.1 to 13.0",
        "              F1 macro      5.0",
        "          faithfulness    0.512   0.400 to 0.600 nats per word",
        "        mass, evidence     0.86   95 % interval 0.85 to 0.87",
        "        peak, evidence        \N{EN DASH}",
        "      mass, centre map     0.50",
        "      peak, centre map     0.51",
        "   occlusion, evidence     0.95   95 % interval 0.94 to 0.96 rank correlation",
        "       AUROC, drawings    0.961   95 % interval 0.944 to 0.975, 42 % unusual",
        "        AUROC, posters    0.683   95 % interval 0.640 to 0.730, 6.1 % unusual",
        "                BLEU-4     12.3 against     10.0: +2.35 (+1.00 to +3.50), p = 0.0120",
        "everyday: 243 photographs, 1 to 5 references each",
        "               CIDEr-D     25.5   95 % interval 20.7 to 31.4",
        "     supported objects     41.2   95 % interval 36.4 to 46.9",
        "               CIDEr-D     25.5 against     13.2: +12.30 (+8.10 to +16.50), p = 0.0004",
        "everyday, web: 2,230 photographs, 1 reference each",
        "               CIDEr-D      8.7   95 % interval 7.9 to 9.6",
        "A note.",
    ]
