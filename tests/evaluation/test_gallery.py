"""Which photographs the report shows."""

import numpy as np
import pytest
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.evaluation import meteor
from captioning.evaluation.assessment import System, assess
from captioning.evaluation.gallery import SIZE, gallery
from captioning.evaluation.scored_system import ScoredSystem

COUNT = 100
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(meteor, "why_not", lambda: "METEOR is left out of these tests")


def shown(count, images, **of_model):
    photographs = [
        Photograph(f"{n}.png", images / f"{n}.png", (f"r{n} " + " ".join(WORDS),))
        for n in range(count)
    ]
    texts = [f"r{n} {' '.join(WORDS[: n % 11])}" for n in range(count)]
    system = System(texts)
    assessment = assess(system, [photo.captions for photo in photographs], training=None)
    scored = ScoredSystem("s", "A system", {}, system, **of_model)
    return gallery(photographs, images, scored, assessment), assessment.images["CIDEr-D"]


def test_groups_are_of_the_best_median_worst_and_random_photographs(tmp_path):
    entries, cider = shown(COUNT, tmp_path)
    groups = {
        name: [
            float(cider[int(entry.name.split(".")[0])]) for entry in entries if name in entry.groups
        ]
        for name in ("best", "median", "worst", "random")
    }
    assert {name: len(members) for name, members in groups.items()} == dict.fromkeys(groups, SIZE)
    ordered = np.sort(cider)
    assert sorted(groups["worst"]) == ordered[:SIZE].tolist()
    assert sorted(groups["best"]) == ordered[-SIZE:].tolist()
    assert min(groups["median"]) <= np.median(cider) <= max(groups["median"])
    assert len({entry.name for entry in entries}) == len(entries)


def test_few_photographs_are_all_shown_once(tmp_path):
    entries, _ = shown(3, tmp_path)
    assert sorted(entry.name for entry in entries) == ["0.png", "1.png", "2.png"]
    assert all(entry.groups == ("best", "median", "worst", "random") for entry in entries)


def test_an_entry_has_its_photograph_words_and_maps(tmp_path):
    Image.new("RGB", (640, 320), "red").save(tmp_path / "1.png")
    words = [("a",), ("b", "c")]
    attention = [np.full((len(each), 2, 2), 0.25, np.float32) for each in words]
    evidence = [np.ones_like(maps) for maps in attention]
    entries, _ = shown(2, tmp_path, words=words, attention=attention, evidence=evidence)
    first, second = sorted(entries, key=lambda entry: entry.name)
    assert first.photo is None  # there is no such file
    assert second.photo.size == (320, 160)
    assert (first.words, second.words) == (("a",), ("b", "c"))
    assert second.attention is attention[1]
    assert second.evidence is evidence[1]
    assert second.references == ("r1 " + " ".join(WORDS),)
    assert second.scores["ROUGE-L"] > 0
