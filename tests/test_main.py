"""main.py: its flags, what it says of bad input, and one whole run on a dozen small photographs."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import main
from captioning.data.splits import hashed_split, name_hash
from captioning.inference.captioner import Captioner
from captioning.network.checkpoint import Checkpoint
from captioning.network.config import DecodeConfig
from captioning.training import train
from captioning.training.train import TrainConfig

ROOT = Path(__file__).resolve().parent.parent

# A value for each flag of the recipe that is valid and not the recipe's own.
VALUES = {
    "beam": 2,
    "length_penalty": 0.5,
    "max_words": 7,
    "epochs": 3,
    "batch_size": 3,
    "learning_rate": 0.5,
    "encoder_learning_rate": 0.25,
    "warmup": 0.5,
    "weight_decay": 0.125,
    "label_smoothing": 0.25,
    "attention_penalty": 0.5,
    "clip_norm": 3.0,
    "patience": 9,
    "crop": 0.5,
    "flip": 0.25,
    "jitter": 0.125,
    "samples": 3,
    "cross_entropy": 0.75,
    "precision": "float32",
    "seed": 77,
    "min_count": 2,
    "caption_words": 11,
    "image_size": 64,
    "embedding_dim": 8,
    "attention_dim": 6,
    "decoder_dim": 7,
    "dropout": 0.25,
    "blend": 0.625,
}
OWN_FLAGS = {
    *("captions", "images", "skip_bad", "limit", "name", "restart", "stage", "encoder_weights"),
    *("stride_in_1x1", "encoder_source", "cache", "control", "workers", "device", "install"),
    *("init", "resume", "save_every"),
}


PARTS = (
    "decoding",
    "search",
    *main.STAGES,
    main.ADAPT,
)  # of the recipe, each with settings of its own


def flag(name):
    return "--" + name.replace("_", "-")


# Flags ------------------------------------------------------------------------------------------


def test_every_setting_of_the_recipe_has_a_flag():
    settings = {
        field.name
        for config in (main.Recipe, TrainConfig, DecodeConfig)
        for field in fields(config)
        if field.name not in PARTS
    }
    assert set(main.RECIPE_FLAGS) == settings == set(VALUES)


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    words = capsys.readouterr().out.split()
    assert stop.value.code == 0
    assert [name for name in (*VALUES, *OWN_FLAGS) if flag(name) not in words] == []
    assert set(vars(main.parse_arguments([]))) == {*VALUES, *OWN_FLAGS}


def settings_of(recipe):
    """Every setting of a recipe by where it is: ("decoder", "epochs") and so on."""
    found = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if field.name in PARTS:
            found |= {(field.name, own.name): getattr(value, own.name) for own in fields(value)}
        else:
            found["recipe", field.name] = value
    return found


def overridden(*arguments):
    return settings_of(main.override(main.RECIPE, main.parse_arguments(arguments)))


def test_without_flags_the_recipe_holds():
    assert overridden() == settings_of(main.RECIPE)


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_a_flag_changes_the_setting_of_its_name_wherever_it_is_and_nothing_else(name, value):
    recipe = settings_of(main.RECIPE)
    expected = {where: value if where[1] == name else own for where, own in recipe.items()}
    assert overridden(flag(name), str(value)) == expected
    assert expected != recipe


# A whole run ------------------------------------------------------------------------------------


class Place:
    """A folder with a data set of its own, where main.py is run."""

    def __init__(self, folder, weights):
        self.folder = folder
        self.names = self.draw_photographs()
        self.write_captions(self.names)
        torch.save(weights, folder / "resnet50.pth")
        sizes = {"image_size": 64, "embedding_dim": 8, "attention_dim": 6, "decoder_dim": 7}
        options = {"min_count": 2, "batch_size": 4, "epochs": 1, "precision": "float32", "beam": 2}
        self.recipe = [str(x) for k, v in (sizes | options).items() for x in (flag(k), v)]

    def draw_photographs(self):
        """Seven for training, three for development, two for measuring."""
        (self.folder / "photos").mkdir()
        random = np.random.default_rng(0)
        missing = {"train": 7, "dev": 3, "test": 2}
        names = []
        for name in (f"{i}.png" for i in range(1000)):
            if missing[hashed_split(name)]:
                missing[hashed_split(name)] -= 1
                names.append(name)
                pixels = random.integers(0, 256, (6, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).resize((90, 60)).save(self.folder / "photos" / name)
        return names

    def write_captions(self, names, file="captions.txt"):
        rows = [f"{name},A man rides horse {k} , fast .\n" for name in names for k in range(2)]
        (self.folder / file).write_text("image,caption\n" + "".join(rows))

    def run(self, *arguments):
        """The exit status of main.py; the model that it ships is another one here."""
        data = ["--captions", "captions.txt", "--images", "photos", "--name", "small"]
        weights = ["--encoder-weights", "resnet50.pth", "--device", "cpu"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(main, "SHIPPED_MODEL", self.folder / "model" / main.SHIPPED_MODEL.name)
            return main.main([*data, *weights, *self.recipe, *map(str, arguments)])

    def adapt(self, *arguments):
        """The exit status of main.py --init with other captions of the same photographs."""
        rows = [f"{name},A zebra rides kite {k} .\n" for name in self.names for k in range(2)]
        (self.folder / "mine.csv").write_text("image,caption\n" + "".join(rows))
        start = ["--init", "runs/small/best.pth", "--captions", "mine.csv", "--images", "photos"]
        options = ["--min-count", "2", "--batch-size", "4", "--epochs", "1", "--device", "cpu"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            return main.main([*start, *options, *map(str, arguments)])

    def metrics(self):
        text = (self.folder / "results" / "metrics" / "small.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def files(self):
        """Every file but the data set's, with when it was written."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(p.relative_to(self.folder)): p.stat().st_mtime_ns for p in paths}


@pytest.fixture(scope="module")
def place(tmp_path_factory, resnet):
    folder = tmp_path_factory.mktemp("main")
    yield Place(folder, resnet.state_dict())
    shutil.rmtree(folder)  # hundreds of megabytes


@pytest.fixture(scope="module")
def trained(place):
    """The place after ``main.py --name small``; what the repository's model/ held before."""
    before = {path: path.stat().st_mtime_ns for path in ROOT.glob("model/*")}
    assert place.run() == 0
    return place, before


def test_a_run_writes_checkpoints_figures_and_curves(trained):
    place, _ = trained
    written = [path for path in place.files() if path.startswith(("runs", "results"))]
    assert sorted(path for path in written if "resume" not in path) == [
        "results/metrics/small.jsonl",
        "results/plots/small.png",
        "runs/small/best.pth",
        "runs/small/blend.pth",
        "runs/small/decoder.pth",
        "runs/small/finetune.pth",
        "runs/small/refine.pth",
        "runs/small/reinforce.pth",
    ]
    with Image.open(place.folder / "results" / "plots" / "small.png") as curves:
        assert curves.format == "PNG"


def test_a_run_leaves_the_model_that_ships_alone(trained):
    place, before = trained
    assert {path: path.stat().st_mtime_ns for path in ROOT.glob("model/*")} == before
    assert not (place.folder / "model").exists()


def test_each_epoch_has_a_line_with_all_figures(trained):
    lines = trained[0].metrics()
    assert [(line["stage"], line["epoch"]) for line in lines] == [(s, 1) for s in main.STAGES]
    promised = {"loss", "accuracy", "accuracy top-5", "F1 macro", "F1 weighted", "caption F1"}
    promised |= {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr-D", "ROUGE-L"}
    for line in lines:
        assert set(line) == {"stage", "epoch", "learning_rate", "train_loss", "seconds", "dev"}
        assert set(line["dev"]) == promised
        assert np.isfinite([line["train_loss"], *line["dev"].values()]).all()


def test_the_checkpoint_says_how_it_was_made(trained):
    place, _ = trained
    made = Checkpoint.load(place.folder / "runs" / "small" / "finetune.pth")
    assert made.images.size == 64
    assert (made.model.embedding_dim, made.model.attention_dim, made.model.decoder_dim) == (8, 6, 7)
    assert set(made.vocabulary.words[4:]) == {"a", "man", "rides", "horse", "0", "1", "fast"}
    training = [name for name in place.names if hashed_split(name) == "train"]
    assert made.training_images == {name_hash(name) for name in training}
    assert [stage["stage"] for stage in made.provenance["stages"]] == ["decoder", "finetune"]
    assert "resnet50.pth" in made.provenance["encoder"]
    assert "7 train, 3 dev, 2 test" in made.provenance["data"]
    assert dict(made.figures) == place.metrics()[1]["dev"]


def test_the_encoder_learns_where_the_recipe_says_so(trained, resnet):
    name = "layer4.2.conv3.weight"
    before = resnet.state_dict()[name].half()
    for stage in main.STAGES:
        weights = Checkpoint.load(trained[0].folder / "runs" / "small" / f"{stage}.pth").weights
        after = weights[f"encoder.stages.{name}"]
        assert torch.equal(after, before) == (stage in ("decoder", "reinforce"))
        before = after


def test_the_blend_lies_between_the_last_two_stages_and_says_so(trained):
    place, _ = trained
    names = ("refine", "reinforce", "blend")
    first, second, made = (
        Checkpoint.load(place.folder / "runs" / "small" / f"{name}.pth") for name in names
    )
    name, share = "decoder.output_hidden.weight", main.RECIPE.blend
    expected = (1 - share) * first.weights[name].float() + share * second.weights[name].float()
    assert torch.allclose(made.weights[name].float(), expected, atol=1e-3)
    last = made.provenance["stages"][-1]
    assert (last["stage"], last["config"]["share"]) == ("blend", share)
    assert made.decoding == {"beam": 2, "length_penalty": main.RECIPE.search.length_penalty}


def test_the_best_stage_is_the_result_and_can_caption(trained):
    place, _ = trained
    folder = place.folder / "runs" / "small"
    names = ("best", *main.STAGES, main.BLEND)
    best, *stages = (Checkpoint.load(folder / f"{name}.pth") for name in names)
    figures = [stage.figures["CIDEr-D"] for stage in stages]
    assert best.figures["CIDEr-D"] == max(figures)
    caption = Captioner.load(folder / "best.pth")(place.folder / "photos" / place.names[0])
    assert set(caption.words) <= {"a", "man", "rides", "horse", "0", "1", "fast"}


def test_the_same_command_again_trains_nothing_and_installs_only_when_asked(trained, monkeypatch):
    place, _ = trained
    before = place.files()
    monkeypatch.setattr(train, "train_one_epoch", None)  # a call would fail
    assert place.run("--install") == 0
    after = place.files()
    written = {path for path in after if after[path] != before.get(path)}
    of_runs = {"runs/small/best.pth", "runs/small/blend.pth"}
    assert written == of_runs | {f"model/{main.SHIPPED_MODEL.name}"}
    installed = Checkpoint.load(place.folder / "model" / main.SHIPPED_MODEL.name)
    assert installed.figures == Checkpoint.load(place.folder / "runs/small/best.pth").figures
    shutil.rmtree(place.folder / "model")


def test_an_earlier_stage_again_keeps_the_best_of_the_later_ones(trained):
    place, _ = trained
    best = place.folder / "runs" / "small" / "best.pth"
    before = Checkpoint.load(best)
    assert place.run("--stage", "decoder") == 0
    after = Checkpoint.load(best)
    assert after.figures == before.figures
    assert after.provenance == before.provenance


def test_a_later_stage_remembers_what_the_earlier_ones_have_seen(trained):
    place, _ = trained
    shutil.copytree(place.folder / "runs" / "small", place.folder / "runs" / "fewer")
    options = ("--stage", "refine", "--limit", 2, "--name", "fewer", "--restart")
    assert place.run(*options) == 0
    seen = [
        Checkpoint.load(place.folder / "runs" / "fewer" / f"{stage}.pth").training_images
        for stage in ("finetune", "refine")
    ]
    assert len(seen[0]) == 7
    assert seen[1] == seen[0]
    # Measured on other photographs than the stages before, which therefore do not compete.
    best = Checkpoint.load(place.folder / "runs" / "fewer" / "best.pth")
    assert best.provenance["stages"][-1]["data"].endswith("2 train, 2 dev, 2 test photographs")
    shutil.rmtree(place.folder / "runs" / "fewer")


@pytest.mark.parametrize("setting", [("--dropout", 0.25), ("--max-words", 9)])
def test_a_run_of_other_settings_is_not_gone_on_with(trained, capsys, setting):
    assert trained[0].run(*setting) == 1
    assert "--restart" in complaint(capsys)


def test_a_run_of_another_recipe_does_not_go_on_where_this_one_was(trained, capsys):
    assert trained[0].run("--decoder-dim", 9) == 1
    assert "--restart" in complaint(capsys)


def test_the_second_stage_refuses_other_sizes_than_the_first_one_had(trained, capsys):
    assert trained[0].run("--stage", "finetune", "--decoder-dim", 9, "--image-size", 96) == 1
    message = complaint(capsys)
    assert "decoder_dim" in message
    assert "image_size" in message


def test_a_trained_model_goes_on_with_captions_of_ones_own(trained, capsys):
    place, _ = trained
    before = Checkpoint.load(place.folder / "runs" / "small" / "best.pth")
    assert place.adapt() == 0
    assert "2 new words" in capsys.readouterr().out
    after = Checkpoint.load(place.folder / "runs" / "adapted" / "best.pth")
    assert after.vocabulary.words == (*before.vocabulary.words, "kite", "zebra")
    assert [stage["stage"] for stage in after.provenance["stages"]][-1] == "adapt"
    assert after.provenance["stages"][:-1] == before.provenance["stages"]
    assert after.training_images >= before.training_images
    for name, weight in before.weights.items():
        if name.startswith("encoder"):
            assert torch.equal(after.weights[name], weight)
    assert Captioner.load(place.folder / "runs" / "adapted" / "best.pth").vocabulary.ids["zebra"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stage", "decoder"], "--init has a stage"),
        (["--encoder-weights", "resnet50.pth"], "--init has a stage"),
        (["--decoder-dim", "9"], "decided otherwise than decoder_dim"),
        (["--init", "nowhere.pth"], "no such model file"),
    ],
)
def test_what_does_not_fit_a_trained_model_is_refused(trained, capsys, arguments, said):
    assert trained[0].adapt(*arguments) == 1
    assert said in capsys.readouterr().err


def test_controls_learn_from_what_they_say(trained):
    place, _ = trained
    learned = {}
    for control in ([], ["--control", "blind"], ["--control", "no-attention"]):
        options = ("--stage", "decoder", "--limit", 4, "--name", "control", "--restart")
        assert place.run(*options, *control) == 0
        made = Checkpoint.load(place.folder / "runs" / "control" / "decoder.pth")
        learned[tuple(control)] = made.weights["decoder.gate.weight"]
        shutil.rmtree(place.folder / "runs" / "control")
    first, *others = learned.values()
    assert len(learned) == 3
    assert all(not torch.equal(first, other) for other in others)


# Bad input --------------------------------------------------------------------------------------


def complaint(capsys):
    """The one line on stderr."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("main.py: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--epochs", 0], ["epochs must be at least 1"]),
        (["--batch-size", -1], ["batch_size must be at least 1"]),
        (["--beam", 0], ["beam must be from 1 to 1,000"]),
        (["--max-words", 0], ["max_words must be at least 1"]),
        (["--caption-words", 0], ["caption_words must be at least 1"]),
        (["--learning-rate", "nan"], ["learning_rate must be above 0"]),
        (["--label-smoothing", 1], ["label_smoothing must be in [0, 1)"]),
        (["--precision", "half"], ["precision must be one of float32, bfloat16, auto, not half"]),
        (["--dropout", 2], ["dropout must be in [0, 1)"]),
        (["--decoder-dim", 0], ["decoder_dim must be at least 1"]),
        (["--image-size", 0], ["size must be a whole number"]),
        (["--limit", 0], ["--limit must be at least 1"]),
        (["--limit", -3], ["--limit must be at least 1"]),
        (["--min-count", 1000], ["no word occurs 1000 times", "--min-count"]),
        (["--captions", "none.csv"], ["none.csv", "no such caption file"]),
        (["--captions", "empty.txt"], ["empty.txt", "empty"]),
        (["--captions", "missing.txt"], ["missing.txt, line 2", "gone.png", "--skip-bad"]),
        (["--captions", "train.txt"], ["train.txt", "add photographs"]),
        (["--images", "none"], ["none", "no such folder"]),
        (["--encoder-weights", "none.pth"], ["none.pth", "no such file"]),
        (["--encoder-weights", "captions.txt"], ["captions.txt", "not a state dict"]),
        (["--stage", "finetune", "--name", "new"], ["runs/new/decoder.pth", "no such model file"]),
        (["--stage", "reinforce", "--name", "new"], ["runs/new/refine.pth", "no such model file"]),
        (["--control", "blind"], ["--control", "--stage decoder"]),
        (["--samples", 1], ["samples must be 0 or at least 2"]),
        (["--crop", 0], ["crop must be above 0"]),
        (["--device", "abacus"], ["device abacus cannot be used"]),
        (["--cache", "captions.txt", "--name", "new"], ["captions.txt"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input_is_said_in_one_sentence(place, capsys, arguments, parts):
    (place.folder / "empty.txt").touch()
    place.write_captions(["gone.png", *place.names], "missing.txt")
    training = [name for name in place.names if hashed_split(name) == "train"]
    place.write_captions(training, "train.txt")
    assert place.run(*arguments) == 1
    message = complaint(capsys)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    "arguments", [["--epochs", "many"], ["--stage", "both"], ["--colour"], ["--learning-rate", ""]]
)
def test_flags_that_are_none_give_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("usage: main.py")


def test_bad_rows_can_be_left_out_and_are_counted(place, capsys):
    place.write_captions(["gone.png", *place.names], "missing.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        arguments = ["--captions", "missing.txt", "--images", "photos", "--skip-bad"]
        splits = main.read_splits(main.parse_arguments(arguments))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (7, 3, 2)
    assert "left out 2 bad rows" in capsys.readouterr().out


def test_an_interrupted_run_exits_130_and_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(flags):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "train", interrupted)
    assert main.main([]) == 130
    assert "same command" in complaint(capsys)


def test_the_recipe_fits_itself():
    """The literal at the top of main.py passes its own checks, and its first stage is frozen."""
    assert main.RECIPE.decoder.encoder_learning_rate == 0 < main.RECIPE.finetune.learning_rate
    assert main.RECIPE.finetune.encoder_learning_rate > 0
    assert replace(main.RECIPE) == main.RECIPE
