"""The scorer: what it scores, what it refuses, what it writes."""

import csv
import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

import bleu_scorer
from captioning import Captioner
from captioning.data.caption_files import read_captions
from captioning.data.splits import hashed_split, name_hash, split_photographs
from captioning.data.training_record import record
from captioning.evaluation import evaluate, meteor
from captioning.evaluation.card import CARD_METRICS
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.scoring_flags import BASELINES, ScoringFlags
from captioning.network.checkpoint import file_hash
from captioning.network.saved_network import save_checkpoint
from captioning.training.novelty import with_novelty

CAPTIONS = ("a man runs on the grass", "the red dog 's ball", "two dogs play, a man runs")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    """Forty pictures of noise in soft colours, each with three captions."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows = ["image,caption"]
    for number in range(40):
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number}.png")
        rows += [f'{number}.png,"{caption}"' for caption in CAPTIONS]
    (folder / "captions.txt").write_text("\n".join(rows))
    return folder


@pytest.fixture
def score(data_set, checkpoint_path, tmp_path, monkeypatch):
    """Run the scorer in an empty folder; returns its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bleu_scorer, "SHIPPED_MODEL", checkpoint_path)
    monkeypatch.setattr(meteor, "why_not", lambda: "METEOR is left out of these tests")
    data = ["--references", data_set / "captions.txt", "--images", data_set]

    def run(*flags, model=checkpoint_path):
        system = ["--model", model] if model else []
        words = [*data, *system, "--device", "cpu", *flags]
        return bleu_scorer.main([str(word) for word in words])

    return run


def result_of(folder, name):
    return json.loads((folder / "results" / "metrics" / f"{name}.json").read_text())


def rows_of(folder, name):
    with (folder / "results" / "metrics" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def photographs(data_set, split):
    splits = split_photographs(read_captions(data_set / "captions.txt", data_set).photographs)
    return getattr(splits, split)


def test_metrics_equal_those_of_pycocoevalcap(score, data_set, checkpoint_path, tmp_path):
    assert score("--split", "train", "--name", "mine") == 0
    metrics = json.loads((tmp_path / "results/metrics/mine.json").read_text())["metrics"]
    scored = photographs(data_set, "train")
    captions = Captioner.load(checkpoint_path).stream([photo.path for photo in scored])
    results = {i: [" ".join(caption.words)] for i, caption in enumerate(captions)}
    references = {
        i: [" ".join(ptb_tokenize(text)) for text in photo.captions]
        for i, photo in enumerate(scored)
    }
    bleu, _ = Bleu(4).compute_score(references, results, verbose=0)
    expected = {f"BLEU-{order}": 100 * value for order, value in enumerate(bleu, start=1)}
    expected["ROUGE-L"] = 100 * Rouge().compute_score(references, results)[0]
    expected["CIDEr-D"] = 100 * Cider().compute_score(references, results)[0]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def test_the_result_says_how_it_was_made(score, checkpoint_path, tmp_path, capsys):
    assert score("--beam", 2) == 0
    result = result_of(tmp_path, "tiny_test_beam_2")
    assert result["sha256"] == file_hash(checkpoint_path)
    assert (result["split"], result["beam"], result["length penalty"]) == ("test", 2, 0.7)
    assert set(result["versions"]) == {"python", "torch", "torchvision"}
    assert result["command"].startswith("python bleu_scorer.py --references ")
    assert set(CARD_METRICS) - {"METEOR"} <= set(result["metrics"])
    assert result["metrics"]["perplexity"] == pytest.approx(np.exp(result["metrics"]["loss"]), 1e-3)
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in set(CARD_METRICS) - {"METEOR"})
    assert "METEOR is left out" in printed


def test_metrics_lie_in_their_intervals(score, tmp_path):
    assert score("--split", "all", "--name", "mine") == 0
    result = result_of(tmp_path, "mine")
    unresampled = {"F1 macro", "distinct-1", "distinct-2", "vocabulary used"}
    assert set(result["metrics"]) - set(result["intervals"]) == unresampled
    for name, (low, high) in result["intervals"].items():
        assert low <= result["metrics"][name] + 1e-3
        assert result["metrics"][name] - 1e-3 <= high


def test_pointing_is_measured_where_there_are_dogs_and_people(score, data_set, tmp_path, capsys):
    rows = ["image,caption"]
    for number in range(12):
        caption = "a dog runs" if number % 2 else "a man plays"
        rows += [f"{number}.png,{caption}"] * 5
    captions = tmp_path / "captions.txt"
    captions.write_text("\n".join(rows))
    assert score("--split", "all", "--references", captions, "--name", "mine") == 0
    result, images = result_of(tmp_path, "mine"), tmp_path / "results" / "plots"
    pointing = result["pointing"]
    assert (pointing["pairs"], pointing["mosaics"], pointing["chance"]) == (6, 24, 0.5)
    assert list(pointing["maps"]) == ["evidence", "attention", "centre"]
    for part in pointing["maps"].values():
        assert set(part["metrics"]) == set(part["intervals"])
        assert {"mass", "peak", "mass dog", "peak person"} <= set(part["metrics"])
        assert all(0 <= value <= 1 for value in part["metrics"].values())
    assert pointing["maps"]["centre"]["metrics"]["mass"] == 0.5
    assert "mass, evidence" in capsys.readouterr().out
    for name in ("pointing", "mosaics"):
        with Image.open(images / f"mine_{name}.png") as figure:
            assert figure.format == "PNG"


@pytest.fixture
def strange(tmp_path):
    """A folder with two drawings."""
    (tmp_path / "strange" / "drawings").mkdir(parents=True)
    for number, colour in enumerate(("red", "white")):
        path = tmp_path / "strange" / "drawings" / f"{number}.png"
        Image.new("RGB", (64, 64), colour).save(path)
    return tmp_path / "strange"


def test_strange_pictures_are_measured_where_they_are_given(
    score, checkpoint, data_set, strange, tmp_path, capsys
):
    photographs = read_captions(data_set / "captions.txt", data_set).photographs
    detecting = with_novelty(checkpoint, photographs * 3, photographs * 3)  # enough of them
    save_checkpoint(detecting, tmp_path / "wary.pth")
    flags = ("--split", "all", "--strange", strange, "--name", "mine")
    assert score(*flags, model=tmp_path / "wary.pth") == 0
    section = result_of(tmp_path, "mine")["novelty"]
    assert section["ordinary"] == 40
    assert section["kinds"]["drawings"]["pictures"] == 2
    assert section["kinds"]["drawings"]["AUROC"] == 1  # it was fitted to the others themselves
    assert "AUROC, drawings    1.000" in capsys.readouterr().out


def test_strange_pictures_need_a_model_that_can_tell(score, strange, capsys, tmp_path):
    assert score("--strange", strange) == 1
    assert "this model cannot tell how unusual a picture is" in capsys.readouterr().err
    assert score("--strange", tmp_path / "none") == 1
    assert "there is no folder of pictures in it" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_pointing_without_enough_pairs_is_said(score, tmp_path, capsys):
    assert score("--name", "mine") == 0
    result = result_of(tmp_path, "mine")
    assert "pointing" not in result
    assert "fewer than 5 pairs of a photograph of dogs and one of people" in result["notes"][-1]
    assert result["notes"][-1] in capsys.readouterr().out


def test_the_maps_are_compared_with_occlusion(score, tmp_path):
    assert score("--name", "mine") == 0
    result = result_of(tmp_path, "mine")
    with (tmp_path / "results" / "metrics" / "mine.csv").open(newline="") as file:
        words = sum(len(row["caption"].split()) for row in csv.DictReader(file))
    occlusion = result["occlusion"]
    assert occlusion["photographs"] == result["images"]
    assert occlusion["words"] >= words  # 's is a word of its own
    for name, value in occlusion["metrics"].items():
        assert name in ("evidence", "attention")
        assert -1 <= value <= 1


def test_the_table_has_one_row_per_image(score, data_set, tmp_path):
    assert score("--name", "mine") == 0
    rows = rows_of(tmp_path, "mine")
    scored = photographs(data_set, "test")
    assert [row["image"] for row in rows] == sorted(photo.name for photo in scored)
    mean = np.mean([float(row["CIDEr-D"]) for row in rows])
    assert mean == pytest.approx(result_of(tmp_path, "mine")["metrics"]["CIDEr-D"], abs=1e-3)
    assert {"caption", "BLEU-4", "log-probability", "score", "invented objects"} <= set(rows[0])


def test_its_own_csv_scores_the_same_as_a_file_of_captions(score, tmp_path, data_set):
    assert score("--name", "mine") == 0
    file = tmp_path / "results" / "metrics" / "mine.csv"
    assert score("--captions", file, "--name", "again", model=None) == 0
    mine, again = (result_of(tmp_path, name) for name in ("mine", "again"))
    assert again["split"] == "test"
    assert again["metrics"].items() <= mine["metrics"].items()
    assert {"BLEU-4", "CIDEr-D", "ROUGE-L", "CHAIR-s"} <= set(again["metrics"])
    assert "attention" not in again


def test_another_system_needs_no_photographs(score, tmp_path, data_set, monkeypatch):
    references = tmp_path / "references.txt"
    lines = [f"{n}.jpg#{k}\tA man runs on {k} grass ." for n in range(3) for k in range(5)]
    references.write_text("\n".join(lines))
    captions = [{"image_id": f"{n}.jpg", "caption": "a man runs"} for n in range(3)]
    (tmp_path / "theirs.json").write_text(json.dumps(captions))
    flags = ("--references", references, "--images", "nowhere", "--captions", "theirs.json")
    assert score(*flags, "--name", "theirs", model=None) == 0
    result = result_of(tmp_path, "theirs")
    assert (result["images"], result["split"]) == (3, "all")
    assert {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D"} <= set(result["metrics"])
    assert set(result["versions"]) == {"python"}  # no network has run
    assert (tmp_path / "results" / "plots" / "theirs.html").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows, ["other.png", "a dog"]], "other.png"),
        (lambda rows: rows[:-1], "no caption"),
        (lambda rows: [*rows, rows[0]], "keep one caption"),
    ],
    ids=["unknown image", "image without a caption", "duplicate"],
)
def test_captions_that_do_not_fit_are_refused(score, data_set, tmp_path, capsys, change, words):
    rows = [[photo.name, "a dog runs"] for photo in photographs(data_set, "test")]
    with (tmp_path / "theirs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *change(rows)])
    assert score("--captions", "theirs.csv", "--split", "test", model=None) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "results").exists()


def test_empty_captions_count_as_empty(score, data_set, tmp_path):
    rows = [[photo.name, ""] for photo in photographs(data_set, "test")]
    with (tmp_path / "theirs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *rows])
    assert score("--captions", "theirs.csv", model=None) == 0
    metrics = result_of(tmp_path, "theirs_test")["metrics"]
    assert (metrics["CIDEr-D"], metrics["length"]) == (0, 0)


@pytest.mark.parametrize("baseline", BASELINES)
def test_each_baseline_is_scored_by_one_command(score, tmp_path, baseline):
    assert score("--baseline", baseline, model=None) == 0
    result = result_of(tmp_path, f"{baseline}_test")
    assert result["metrics"]["BLEU-1"] > 0
    if baseline == "frequent":
        assert result["metrics"]["most frequent caption"] == 100


def test_a_person_is_compared_with_systems_on_as_many_references(score, tmp_path):
    assert score("--four-references", "--against", "human", "--name", "mine") == 0
    result = result_of(tmp_path, "mine")
    assert set(result["four references"]["metrics"]) >= {"BLEU-4", "CIDEr-D"}
    row = result["against"]["metrics"]["BLEU-1"]
    assert row["this"] == result["four references"]["metrics"]["BLEU-1"]
    low, high = row["other interval"]
    assert low <= row["other"] <= high
    assert row["difference"] == pytest.approx(row["this"] - row["other"], abs=1e-3)
    assert 0 < row["p"] <= 1


def test_people_are_compared_with_a_system_on_as_many_references(score, tmp_path):
    assert score("--baseline", "human", "--against", "frequent", "--name", "us", model=None) == 0
    flags = ("--baseline", "frequent", "--against", "human", "--name", "it")
    assert score(*flags, model=None) == 0
    ours, theirs = (result_of(tmp_path, name)["against"]["metrics"] for name in ("us", "it"))
    assert {"BLEU-4", "CIDEr-D", "CHAIR-s"} <= set(ours)
    for name in set(ours) & set(theirs):
        assert ours[name]["this"] == theirs[name]["other"]
        assert ours[name]["difference"] == pytest.approx(-theirs[name]["difference"], abs=1e-3)


def test_the_table_of_people_is_not_a_file_of_captions(score, tmp_path, capsys):
    assert score("--baseline", "human", "--name", "us", model=None) == 0
    assert score("--captions", tmp_path / "results/metrics/us.csv", model=None) == 1
    assert "us.csv, line 1: " in capsys.readouterr().err


def test_a_trial_does_not_replace_the_result_of_all(score, tmp_path):
    assert score("--limit", 2, "--beam", 2) == 0
    names = {path.name for path in (tmp_path / "results" / "metrics").iterdir()}
    assert names == {"tiny_test_first_2_beam_2.json", "tiny_test_first_2_beam_2.csv"}


@pytest.mark.parametrize("written", [("--limit", 3), ()])
def test_a_trials_captions_can_be_scored_again(score, tmp_path, written):
    assert score(*written, "--split", "train", "--name", "us") == 0
    table = tmp_path / "results/metrics/us.csv"
    again = ("--captions", table, "--limit", 3, "--split", "train", "--name", "again")
    assert score(*again, model=None) == 0
    assert score("--limit", 3, "--split", "train", "--name", "directly") == 0
    pairs = [
        [(r["image"], r["caption"]) for r in rows_of(tmp_path, n)] for n in ("again", "directly")
    ]
    assert pairs[0] == pairs[1]
    again, directly = (result_of(tmp_path, name)["metrics"] for name in ("again", "directly"))
    assert again["CIDEr-D"] == directly["CIDEr-D"]


def test_the_split_of_a_trials_captions_need_not_be_named(score, tmp_path):
    assert score("--limit", 2, "--name", "us") == 0
    table = tmp_path / "results/metrics/us.csv"
    assert score("--captions", table, "--limit", 2, "--name", "again", model=None) == 0
    assert result_of(tmp_path, "again")["split"] == "test"


def test_a_file_that_nearly_fits_a_split_is_judged_by_it(score, data_set, tmp_path, capsys):
    dev = photographs(data_set, "dev")
    rows = [[photo.name, "a dog runs"] for photo in dev[1:]]
    with (tmp_path / "theirs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *rows])
    assert score("--captions", "theirs.csv", model=None) == 1
    error = capsys.readouterr().err
    assert f"1 photograph of the {len(dev)} to be scored, the first {dev[0].name}" in error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--baseline", "frequent", "--beam", 2), "--beam is for a model"),
        (("--publish", "--limit", 3), "leave --limit out"),
        (("--baseline", "frequent", "--name", "../there"), "cannot be a path"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(score, flags, words, capsys, tmp_path):
    assert score(*flags, model=None) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def everyday(data_set, tmp_path):
    """Another data set of the same pictures, half of them with names of the web."""
    folder = tmp_path / "everyday"
    folder.mkdir()
    rows = ["image,caption"]
    for number in range(40):
        name = f"{'web' if number % 2 else 'coco'}_{number}.png"
        shutil.copy(data_set / f"{number}.png", folder / name)
        rows += [f"{name},a red ball", f"{name},a dog"]
    (folder / "captions.txt").write_text("\n".join(rows))
    return folder


def test_other_sets_are_scored_and_compared_each_manner_apart(
    score, everyday, checkpoint, checkpoint_path, tmp_path, capsys
):
    also = ("--also", everyday / "captions.txt", everyday, "--manner", "web_*=web")
    another = tmp_path / "another.pth"
    save_checkpoint(replace(checkpoint, decoding=replace(checkpoint.decoding, beam=1)), another)
    assert score(*also, "--against", another, "--name", "mine") == 0
    default, web = result_of(tmp_path, "mine")["other sets"]
    held_out = [p.stem for p in everyday.glob("*.png") if hashed_split(p.name) != "train"]
    assert (default["name"], web["name"]) == ("everyday", "everyday, web")
    assert default["photographs"] == sum(name.startswith("coco") for name in held_out) > 0
    assert web["photographs"] == sum(name.startswith("web") for name in held_out) > 0
    captioner = Captioner.load(checkpoint_path)
    candidates = [
        captioner(path).text
        for path in everyday.glob("coco*.png")
        if hashed_split(path.name) != "train"
    ]
    named = [bool({"ball", "dog"} & set(text.split())) for text in candidates]
    assert default["metrics"]["supported objects"] == pytest.approx(100 * np.mean(named), abs=1e-3)
    row = default["against"]["metrics"]["BLEU-1"]
    assert row["this"] == default["metrics"]["BLEU-1"]
    printed = capsys.readouterr().out
    assert f"everyday: {default['photographs']} photographs, 2 references each" in printed
    page = (tmp_path / "results" / "plots" / "mine.html").read_text()
    assert page.count("data:image/jpeg") > 3 * min(12, default["photographs"])
    assert "Photographs of everyday" in page


def test_what_is_published_has_the_other_sets(score, everyday, checkpoint, tmp_path):
    model = tmp_path / "model" / "mine.pth"
    model.parent.mkdir()
    stage = {"stage": "decoder", "command": "python main.py", "config": {}, "torch": "2"}
    provenance = {"encoder": "random", "data": "noise", "stages": [stage]}
    save_checkpoint(replace(checkpoint, provenance=provenance), model)
    assert score("--publish", "--also", everyday / "captions.txt", everyday, model=model) == 0
    published = json.loads((model.parent / "results.json").read_text())
    assert [part["name"] for part in published["other sets"]] == ["everyday"]
    assert "## Other data sets" in (model.parent / "README.md").read_text()


def test_photographs_of_other_sets_that_it_was_trained_on_are_refused(
    score, everyday, checkpoint, tmp_path, capsys
):
    seen = next(p.name for p in everyday.glob("*.png") if hashed_split(p.name) == "dev")
    model = tmp_path / "model.pth"
    save_checkpoint(replace(checkpoint, training_images=frozenset({name_hash(seen)})), model)
    also = ("--also", everyday / "captions.txt", everyday)
    assert score(*also, model=model) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "everyday: the model was trained on 1 of these" in error
    assert "leave that data set out" in error
    assert not (tmp_path / "results").exists()
    assert score(*also, "--allow-training-images", "--limit", 2, model=model) == 0


def test_a_system_against_itself_does_not_differ(score, checkpoint_path, tmp_path):
    assert score("--against", checkpoint_path, "--name", "mine") == 0
    for row in result_of(tmp_path, "mine")["against"]["metrics"].values():
        assert (row["difference"], row["interval"], row["p"]) == (0, [0, 0], 1)


def test_beam_widths_1_to_10_are_scored_and_drawn(score, tmp_path):
    assert score("--beams", "--beam", 3, "--limit", 4, "--name", "mine") == 0
    result = result_of(tmp_path, "mine")
    assert [row["beam"] for row in result["beams"]] == list(range(1, 11))
    own = {name: result["metrics"][name] for name in result["beams"][2]["metrics"]}
    assert result["beams"][2]["metrics"] == own
    with Image.open(tmp_path / "results" / "plots" / "mine_beams.png") as figure:
        assert figure.format == "PNG"


def test_beam_widths_are_searched_for_the_scored_model_only(
    score, checkpoint_path, tmp_path, monkeypatch
):
    searched = []

    def beam_search(engine, features, tokens, config):
        searched.append(config.beam)
        return search(engine, features, tokens, config)

    search = evaluate.beam_search
    monkeypatch.setattr(evaluate, "beam_search", beam_search)
    flags = ("--beams", "--against", checkpoint_path, "--limit", 4, "--name", "mine")
    assert score(*flags) == 0
    own = 4  # the checkpoint's beam
    assert sorted(searched) == sorted([own, *range(1, 11), own])
    assert len(result_of(tmp_path, "mine")["beams"]) == 10


def test_the_report_shows_metrics_and_photographs(score, tmp_path):
    assert score("--name", "mine") == 0
    page = (tmp_path / "results" / "plots" / "mine.html").read_text()
    result = result_of(tmp_path, "mine")
    assert f"{result['metrics']['BLEU-1']:.1f}" in page
    assert "data:image/jpeg" in page


def test_test_is_scored_where_there_is_one_else_dev(score, data_set, tmp_path, capsys):
    scored = [photo for part in ("train", "dev") for photo in photographs(data_set, part)]
    rows = [f"{photo.name},{caption}" for photo in scored for caption in ("a man", "a dog")]
    (tmp_path / "few.txt").write_text("image,caption\n" + "\n".join(rows))
    few = ("--references", tmp_path / "few.txt", "--name", "few")
    assert score("--name", "all") == 0
    assert score(*few) == 0
    assert result_of(tmp_path, "all")["split"] == "test"
    assert result_of(tmp_path, "few")["split"] == "dev"
    assert score(*few, "--split", "test") == 1
    assert "no test photographs" in capsys.readouterr().err


def test_photographs_it_was_trained_on_are_refused(score, checkpoint, tmp_path, capsys):
    seen = next(f"{n}.png" for n in range(40) if hashed_split(f"{n}.png") == "test")
    model = tmp_path / "model.pth"
    save_checkpoint(replace(checkpoint, training_images=frozenset({name_hash(seen)})), model)
    assert score(model=model) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "trained on 1 of these" in error
    assert not (tmp_path / "results").exists()
    assert score("--allow-training-images", model=model) == 0


def test_another_photograph_of_the_same_name_is_scored(score, data_set, checkpoint, tmp_path):
    """A checkpoint that records what its photographs look like too."""
    seen = photographs(data_set, "test")[0]
    picture = Image.open(seen.path)
    picture.resize((90, 80)).save(tmp_path / "copy.jpg", quality=60)
    copy = replace(seen, path=tmp_path / "copy.jpg")
    other = replace(seen, path=photographs(data_set, "test")[1].path)
    for trained_on, status in ((copy, 1), (other, 0)):
        entries = record([trained_on], tmp_path / "cache")
        save_checkpoint(replace(checkpoint, training_images=entries), tmp_path / "model.pth")
        assert score("--limit", 4, model=tmp_path / "model.pth") == status


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--references", "nowhere.txt"), "no such caption file"),
        (("--references", "."), ".: this is a folder"),
        (("--limit", "0"), "--limit must be at least 1"),
        (("--limit", "-3"), "--limit must be at least 1"),
        (("--against", "nowhere.csv"), "nowhere.csv"),
        (("--against", "nowhere.pth"), "no such model file"),
        (("--against", "."), ".: this is a folder"),
        (("--images", "nowhere"), "no such folder"),
        (("--model", "nowhere.pth"), "no such model file"),
        (("--model", "."), ".: this is a folder"),
        (("--beam", "0"), "beam must be from 1 to 1,000"),
        (("--beam", "1001"), "beam must be from 1 to 1,000"),
        (("--length-penalty", "nan"), "length_penalty must be in [0, 5]"),
        (("--device", "abacus"), "device abacus cannot be used here"),
        (("--split", "train", "--against", "nearest"), "choose another --split"),
        (("--split", "all", "--against", "frequent"), "choose another --split"),
        (("--name", "a/b"), "--name a/b: "),
        (("--name", ".."), "--name ..: "),
        (("--name", "caf\udce9"), "is not UTF-8 text"),
        (("--also", "nowhere.txt", "."), "no such caption file"),
        (("--also", ".", "."), ".: this is a folder"),
        (("--manner", "web_*=web"), "--manner is for the photographs of other data sets"),
    ],
)
def test_bad_input_gets_one_sentence(score, flags, words, capsys, tmp_path):
    assert score(*flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("bleu_scorer.py: ")
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [".", "nowhere.json", "empty.csv", "binary.csv"])
def test_a_bad_file_of_captions_gets_one_sentence(score, name, capsys, tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "binary.csv").write_bytes(b"image,caption\n\xff\xfe,\x00")
    for flags in (("--captions", name), ("--baseline", "human", "--against", name)):
        assert score(*flags, model=None) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"bleu_scorer.py: {name}")
        assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def damaged(checkpoint_path, **changes):
    """The content of a checkpoint with other parts."""
    return torch.load(checkpoint_path, weights_only=True) | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"decoding": {"beam": 3, "width": 3}},
        {"decoding": {"beam": 0}},
        {"decoding": None},
        {"model": {"vocabulary_size": 3, "depth": 2}},
        {"vocabulary": ["a"]},
        {"vocabulary": None},
        {"weights": {}},
        {"images": {"size": -1}},
        {"training_images": None},
        {"version": 0},
        {"format": "another"},
    ],
    ids=str,
)
def test_a_broken_model_gets_one_sentence(score, checkpoint_path, changes, capsys, tmp_path):
    torch.save(damaged(checkpoint_path, **changes), tmp_path / "broken.pth")
    assert score(model="broken.pth") == 1
    error = capsys.readouterr().err
    assert error.startswith("bleu_scorer.py: broken.pth: ")
    assert error.count("\n") == 1


def test_a_broken_model_to_compare_with_is_refused_before_any_work(score, capsys, tmp_path):
    (tmp_path / "broken.pth").write_text("no checkpoint")
    assert score("--against", "broken.pth") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("bleu_scorer.py: broken.pth: ")
    assert "captioning" not in captured.out


@pytest.mark.parametrize(
    "flags", [("--four-references",), ("--against", "human"), ("--baseline", "human")]
)
def test_leaving_a_reference_out_needs_two_of_every_image(score, data_set, flags, capsys, tmp_path):
    lines = (data_set / "captions.txt").read_text().splitlines()
    last = photographs(data_set, "test")[-1].name
    kept = [line for line in lines if not line.startswith(f"{last},")]
    (tmp_path / "few.txt").write_text("\n".join([*kept, f"{last},a dog"]))
    given = ("--references", tmp_path / "few.txt", *flags)
    assert score(*given, model=None) == 1
    captured = capsys.readouterr()
    assert "every image needs at least two" in captured.err
    assert captured.err.count("\n") == 1
    assert "captioning" not in captured.out


def test_baselines_of_training_captions_need_some(score, data_set, capsys, tmp_path):
    tested = photographs(data_set, "test")
    rows = [f"{photo.name},{caption}" for photo in tested for caption in ("a man", "a dog")]
    (tmp_path / "few.txt").write_text("image,caption\n" + "\n".join(rows))
    for baseline in ("nearest", "frequent"):
        flags = ("--references", tmp_path / "few.txt", "--baseline", baseline)
        assert score(*flags, model=None) == 1
        error = capsys.readouterr().err
        assert "the data set has none" in error
        assert error.count("\n") == 1


def test_a_damaged_photograph_gets_one_sentence(score, data_set, capsys, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(data_set, images)
    name = photographs(data_set, "test")[0].name
    (images / name).write_bytes(b"no photograph")
    assert score("--images", images) == 1
    error = capsys.readouterr().err.splitlines()[-1]  # after the progress bar
    assert error.startswith("bleu_scorer.py: ")
    assert name in error


def test_nearest_finds_photographs_for_a_file_of_captions_too(score, data_set, tmp_path):
    rows = [[photo.name, "a dog runs"] for photo in photographs(data_set, "test")]
    with (tmp_path / "theirs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *rows])
    assert score("--captions", "theirs.csv", "--against", "nearest", model=None) == 0
    assert "BLEU-4" in result_of(tmp_path, "theirs_test")["against"]["metrics"]


def test_publish_writes_result_and_card_beside_the_model(score, checkpoint, tmp_path):
    model = tmp_path / "shop" / "model.pth"
    made = {"stage": "decoder", "command": "python main.py", "config": {"epochs": 3}, "torch": "2"}
    provenance = {"encoder": "made at random", "data": "noise", "stages": [made]}
    save_checkpoint(replace(checkpoint, provenance=provenance), model)
    assert score("--publish", "--split", "dev", model=model) == 0
    result = json.loads((model.parent / "results.json").read_text())
    card = (model.parent / "README.md").read_text()
    assert f"{result['metrics']['CIDEr-D']:.1f}" in card
    assert all(word in card for word in ("made at random", "python main.py", file_hash(model)))


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        bleu_scorer.main(["--help"])
    words = capsys.readouterr().out.split()
    assert stop.value.code == 0
    names = {field.name for field in fields(ScoringFlags)} - {"words"}
    flags = {"--" + name.replace("_", "-") for name in names}
    assert [flag for flag in flags if flag not in words] == []


def test_every_flag_has_a_help_text():
    actions = bleu_scorer.make_parser()._actions
    assert {action.dest for action in actions} == {
        *(field.name for field in fields(ScoringFlags) if field.name != "words"),
        "help",
    }
    assert [action.dest for action in actions if not action.help] == []


def test_without_flags_the_defaults_are_those_of_the_dataclass():
    assert bleu_scorer.parse_arguments([]) == ScoringFlags()
