"""catalogue.py: every metric that a result has, with its digits and its better direction."""

import json
import subprocess
import sys

import pytest

from captioning.evaluation import catalogue
from captioning.evaluation.catalogue import METRICS, Metric, format_value, metric
from captioning.network.checkpoint import SHIPPED_MODEL


def test_the_catalogue_has_every_metric_of_the_shipped_result():
    result = json.loads(SHIPPED_MODEL.with_name("results.json").read_text(encoding="utf-8"))
    names = [each.name for each in METRICS]
    assert len(names) == len(set(names))
    assert set(result["metrics"]) <= set(names)
    of_attention = set(result["attention"]) - {"interval", "greatest entropy", "words"}
    assert of_attention == set(catalogue.names_under(catalogue.ATTENTION))


def test_every_metric_is_explained_in_sentences():
    assert all(each.about[0].isupper() and each.about.endswith(".") for each in METRICS)


@pytest.mark.parametrize("names", [catalogue.REPORTED, catalogue.OF_A_PHOTOGRAPH])
def test_what_tables_select_is_in_the_catalogue(names):
    assert set(names) <= {each.name for each in METRICS}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CIDEr-D", 61.636, "61.6"),
        ("loss", 2.8239, "2.824"),
        ("perplexity", 16.8424, "16.84"),
        ("length ratio", 0.9431, "0.943"),
        ("vocabulary used", 1266.0, "1,266"),
        ("faithfulness", 0.056, "0.056"),
        ("log-probability", -9.876, "-9.88"),
        ("no such metric", 3.14, "3.1"),
    ],
)
def test_values_have_their_digits(name, value, expected):
    assert format_value(name, value) == expected


def test_an_interval_has_the_digits_of_its_metric():
    assert metric("loss").format_interval([2.7835, 2.86351]) == "2.784 to 2.864"


def test_a_name_that_the_catalogue_lacks_gets_a_plain_entry():
    assert metric("odd") == Metric("odd")
    assert metric("odd").description == ""


def test_what_is_better_is_said():
    lower = {"loss", "perplexity", "most frequent caption", "CHAIR-s", "CHAIR-i"}
    neither = {"length", "reference length", "length ratio", "drop", "drop at random places"}
    neither |= {"entropy"}
    assert {each.name for each in METRICS if each.better == "lower"} == lower
    assert {each.name for each in METRICS if not each.better} == neither
    assert metric("loss").description.endswith(". Lower is better.")


def test_what_the_app_shows_needs_neither_matplotlib_nor_jinja():
    code = (
        "import sys, captioning.evaluation.catalogue, captioning.evaluation.summary\n"
        "print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
