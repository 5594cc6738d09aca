"""Blind judging: which pairs, in which order, and what the verdicts add up to."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from tools import judge

IMAGES = [f"{n}.png" for n in range(12)]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Twelve photographs and two systems that differ on ten of them."""
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(IMAGES):
        pixels = np.full((30, 40, 3), 20 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / image)
    for name in ("old", "new"):
        rows = [
            {"image_id": image, "caption": "alike" if n < 2 else f"{name} {n}"}
            for n, image in enumerate(IMAGES)
        ]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path


def run(*flags):
    return judge.main(["old.json", "new.json", "--images", ".", *map(str, flags)])


def pairs(count=10, seed=0):
    files = (judge.read_predictions(judge.Path(f"{name}.json")) for name in ("old", "new"))
    return judge.choose(*files, count, seed)


def write_verdicts(path, verdicts):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "verdict"], *verdicts.items()])


def test_only_photographs_whose_captions_differ_are_chosen_each_once(desk):
    chosen, different = pairs()
    assert different == 10
    assert sorted(pair.image for pair in chosen) == sorted(IMAGES[2:])
    assert all(pair.old != pair.new for pair in chosen)


def test_photographs_and_sides_are_random(desk):
    assert pairs(6, 1) == pairs(6, 1)
    assert pairs(6, 1) != pairs(6, 2)
    sides = {pair.new_is_a for seed in range(5) for pair in pairs(6, seed)[0]}
    assert sides == {True, False}
    for pair in pairs()[0]:
        first, second = pair.shown
        assert (first, second) == ((pair.new, pair.old) if pair.new_is_a else (pair.old, pair.new))


def test_sheets_do_not_say_which_system_is_which(desk, capsys):
    assert run("--count", 8) == 0
    sheets = sorted((desk / "results" / "plots").iterdir())
    assert [path.name for path in sheets] == ["judge_1.png", "judge_2.png"]
    for path in sheets:
        with Image.open(path) as sheet:
            assert sheet.format == "PNG"
            assert not {"old", "new"} & set(str(sheet.info).split())
    assert "new" not in capsys.readouterr().out


def test_verdicts_are_counted_for_the_right_system(desk, capsys):
    chosen, _ = pairs()
    verdicts = {pair.image: "A" if pair.new_is_a else "B" for pair in chosen}
    write_verdicts(desk / "all_new.csv", verdicts)
    assert run("--count", 10, "--verdicts", "all_new.csv") == 0
    out = capsys.readouterr().out
    assert "new better 10, old better 0, same 0; sign test p = 0.0020" in out
    verdicts |= {chosen[0].image: "same", chosen[1].image: "B" if chosen[1].new_is_a else "A"}
    write_verdicts(desk / "mixed.csv", verdicts)
    assert run("--count", 10, "--verdicts", "mixed.csv") == 0
    assert "new better 8, old better 1, same 1" in capsys.readouterr().out


def test_the_sign_test_is_scipys():
    for decided in range(1, 30):
        for wins in range(decided + 1):
            expected = binomtest(wins, decided).pvalue
            assert judge.sign_test(wins, decided) == pytest.approx(expected)
    assert judge.sign_test(0, 0) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--count", 11), "from 1 to 10"),
        (("--count", 0), "from 1 to 10"),
        (("--images", "nowhere"), "nowhere"),
        (("--verdicts", "nowhere.csv"), "nowhere.csv"),
        (("--verdicts", "old.json"), "image,verdict"),
        (("--verdicts", "wrong.csv"), "'C'"),
        (("--verdicts", "few.csv"), "have no verdict"),
    ],
)
def test_bad_input_gets_one_sentence(desk, capsys, flags, words):
    write_verdicts(desk / "wrong.csv", {IMAGES[3]: "C"})
    write_verdicts(desk / "few.csv", {IMAGES[3]: "A"})
    assert run(*(("--count", 5) if "--count" not in flags else ()), *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("tools.judge: ")
    assert words in error
    assert error.count("\n") == 1


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        judge.main(["--help"])
    words = capsys.readouterr().out.split()
    assert stop.value.code == 0
    assert {"--images", "--count", "--seed", "--name", "--verdicts"} <= set(words)
