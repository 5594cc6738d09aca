"""Names and heads of results, and publishing them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.data.caption_files import Photograph
from captioning.data.splits import Splits
from captioning.errors import CaptioningError, SettingError
from captioning.evaluation import meteor
from captioning.evaluation.assessment import System, assess
from captioning.evaluation.publish import (
    default_name,
    describe,
    publish,
    require_free_results,
    write_result,
)
from captioning.evaluation.score_plots import length_figure
from captioning.evaluation.scored_system import ScoredSystem
from captioning.evaluation.scoring_data import ScoringData
from captioning.evaluation.scoring_flags import ScoringFlags
from captioning.files import WriteError
from captioning.network.checkpoint import SHIPPED_MODEL
from tests.evaluation.report_pages import Page, mosaic

SYSTEM = ScoredSystem("mine", "A system", {"beam": 2}, System(["a dog", "a cat"]))


def data(*counts):
    """Photographs with these numbers of references."""
    photographs = tuple(
        Photograph(f"{n}.jpg", Path(f"{n}.jpg"), ("a dog",) * count)
        for n, count in enumerate(counts)
    )
    splits = Splits((), (), photographs, "their own split")
    return ScoringData(splits, "test", photographs, photographs, ())


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({}, "mine_test"),
        ({"limit": 20, "beam": 2}, "mine_test_first_20_beam_2"),
        ({"length_penalty": 0.5}, "mine_test_penalty_0.5"),
        ({"length_penalty": 0.0}, "mine_test_penalty_0"),
    ],
    ids=str,
)
def test_the_name_tells_what_was_changed(flags, name):
    assert default_name(SYSTEM, data(1), ScoringFlags(**flags)) == name


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("metrics/mine_test.csv", {"captions": "metrics/mine_test.csv"}),
        ("metrics/mine_test.csv", {"against": "metrics/mine_test.csv"}),
        ("metrics/mine_test.json", {"references": "metrics/mine_test.json"}),
        ("metrics/new.csv", {"captions": "metrics/new.csv", "name": "new"}),
        ("metrics/new.csv", {"captions": "link.csv", "name": "new"}),
        ("plots/new.html", {"model": "plots/new.html", "name": "new"}),
        ("plots/new_scores.png", {"references": "plots/new_scores.png", "name": "new"}),
    ],
    ids=str,
)
def test_a_result_that_would_replace_an_input_is_refused_before_the_work(
    tmp_path, monkeypatch, name, flags
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    (tmp_path / "link.csv").symlink_to(path)
    values = {
        key: value if key == "name" else Path(value if value == "link.csv" else f"results/{value}")
        for key, value in flags.items()
    }
    if "against" in values:
        values["against"] = str(values["against"])
    with pytest.raises(SettingError, match=r"would replace this file, .*; give .* another --name"):
        require_free_results(SYSTEM, data(1), ScoringFlags(**values))
    other = {**values, "name": "other"}
    require_free_results(SYSTEM, data(1), ScoringFlags(**other))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("folder", ["results", "results/metrics", "results/plots"])
def test_results_that_cannot_be_written_are_refused_before_the_work(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path(folder).parent.mkdir(exist_ok=True)
    Path(folder).touch()
    with pytest.raises(WriteError, match=r"^results/\w+/\w+: it cannot be written"):
        require_free_results(SYSTEM, data(1), ScoringFlags())


def test_nothing_is_left_behind_where_results_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_free_results(SYSTEM, data(1), ScoringFlags())
    assert not list(tmp_path.iterdir())


def test_one_photograph_gets_a_note_on_its_cider(monkeypatch):
    monkeypatch.setattr(meteor, "why_not", lambda: "METEOR is left out of these tests")
    one = assess(System(["a dog"]), [["a dog", "a cat"]], None)
    assert one.metrics["CIDEr-D"] == 0
    assert any("CIDEr-D of one photograph is 0 by definition" in n for n in one.sections["notes"])
    two = assess(System(["a dog", "a cat"]), [["a dog"], ["a cat"]], None)
    assert not any("CIDEr-D" in note for note in two.sections["notes"])


def test_the_head_of_a_result():
    flags = ScoringFlags(words=("--beam", "2"), name="trial")
    head = describe(SYSTEM, data(2, 2), flags, {"torch": "2"})
    assert (head["name"], head["system"], head["beam"]) == ("trial", "A system", 2)
    assert (head["split"], head["split source"]) == ("test", "their own split")
    assert (head["images"], head["references per image"]) == (2, 2)
    assert head["command"] == "python bleu_scorer.py --beam 2"
    assert head["versions"].keys() == {"python", "torch"}
    assert describe(SYSTEM, data(5, 3), flags, {})["references per image"] == "3 to 5"


def test_the_head_of_a_result_counts_the_lengths_so_that_they_can_be_drawn_from_it():
    system = replace(SYSTEM, system=System(["a dog, a cat", "", "a red cat", "two dogs run"]))
    lengths = describe(system, data(2, 3), ScoringFlags(), {})["lengths"]
    assert lengths == {"captions": {"0": 1, "3": 2, "4": 1}, "references": {"2": 5}}
    assert list(lengths["captions"]) == ["0", "3", "4"]
    length_figure(json.loads(json.dumps(lengths)))


def test_the_report_and_the_plots_of_a_result_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(meteor, "why_not", lambda: "METEOR is left out of these tests")
    scored = replace(SYSTEM, mosaics=(mosaic(), mosaic((224, 448))))
    photographs = data(2, 2)
    assessment = assess(scored.system, photographs.references, training=None)
    result = describe(scored, photographs, ScoringFlags(), {}) | assessment.to_json()
    list(write_result(result, scored, photographs, tmp_path, assessment))
    plots = tmp_path / "results" / "plots"
    assert sorted(path.name for path in plots.iterdir()) == [
        "mine_test.html",
        *(f"mine_test_{key}.png" for key in ("lengths", "metrics", "mosaics", "scores")),
    ]
    assert len(Page((plots / "mine_test.html").read_text()).of_class("mosaic")) == 2


def test_nothing_is_published_where_a_part_cannot_be(checkpoint, tmp_path):
    stage = {"stage": "decoder", "command": "python main.py", "config": {}, "torch": "2"}
    provenance = {"encoder": "made at random", "data": "noise", "stages": [stage]}
    result = json.loads(SHIPPED_MODEL.with_name("results.json").read_text(encoding="utf-8"))
    readme = tmp_path / "README.md"
    readme.write_text("A README without marks.")
    made = replace(checkpoint, provenance=provenance)
    model = tmp_path / "shop" / "model.pth"
    with pytest.raises(CaptioningError, match="lacks the marks"):
        list(publish(model, made, result, readme))
    assert not model.parent.exists()
    written = list(publish(model, made, result, readme=None))
    assert [path.name for path in written] == ["results.json", "README.md"]
    assert json.loads(written[0].read_text(encoding="utf-8")) == result
