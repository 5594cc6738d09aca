"""main.py: its flags, its messages, and a whole run on a dozen small photographs."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import main
from captioning.data.class_nouns import class_nouns
from captioning.data.splits import hashed_split, name_hash
from captioning.inference.captioner import Captioner
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import save_checkpoint, tensors_of
from captioning.training import fit, novelty, pipeline, reading, stages, starts
from captioning.training.flags import TrainingFlags
from captioning.training.recipe import BLEND, SETTINGS, STAGES
from tests.data.pictures import draw, save

ROOT = Path(__file__).resolve().parent.parent

OWN_FLAGS = {
    *("captions", "images", "skip_bad", "limit", "name", "restart", "stage", "encoder_weights"),
    *("stride_in_1x1", "encoder_source", "cache", "control", "workers", "device", "install"),
    *("init", "resume", "save_every", "text", "manner", "default_manner"),
    *("leave_out", "data_terms"),
}


TRAINED = STAGES[1:]  # without text
OWN_WORDS = {"a", "man", "rides", "horse", "0", "1", "fast"}  # of the captions below


def flag(name):
    return "--" + name.replace("_", "-")


# Flags ------------------------------------------------------------------------------------------


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    words = capsys.readouterr().out.split()
    assert stop.value.code == 0
    flags = {action.dest for action in main.build_parser()._actions} - {"help"}
    assert flags == {*SETTINGS, *OWN_FLAGS}
    assert [name for name in flags if flag(name) not in words] == []


@pytest.mark.parametrize("action", main.build_parser()._actions, ids=lambda action: action.dest)
def test_every_flag_has_a_help_text_that_names_its_default(action):
    assert len(action.help.split()) >= 3
    if action.dest in SETTINGS:
        assert f"(default: {main.RECIPE.describe(action.dest)})" in action.help


def test_every_flag_has_a_field():
    own = {field.name for field in fields(TrainingFlags)}
    assert own == {*OWN_FLAGS, "settings", "words"}


def test_the_command_is_the_one_that_was_given(monkeypatch):
    monkeypatch.setattr("sys.argv", ["main.py", "--name", "from the shell"])
    assert main.parse_arguments().words == ("--name", "from the shell")
    given = main.parse_arguments(["--epochs", "3", "--name", "a b"])
    assert given.command == "python main.py --epochs 3 --name 'a b'"
    assert given.settings == {"epochs": 3}


# A whole run ------------------------------------------------------------------------------------


class Workspace:
    """A folder with a data set, where main.py is run."""

    def __init__(self, folder, weights):
        self.folder = folder
        self.names = self.draw_photographs()
        self.write_captions(self.names)
        torch.save(weights, folder / "resnet50.pth")
        sizes = {"image_size": 64, "embedding_dim": 8, "attention_dim": 6, "decoder_dim": 7}
        sizes |= {"train_size": 48}
        options = {"min_count": 2, "batch_size": 4, "epochs": 1, "precision": "float32", "beam": 2}
        self.recipe = [str(x) for k, v in (sizes | options).items() for x in (flag(k), v)]

    def draw_photographs(self):
        """Seven for training, three for development, two for testing."""
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
        """The exit status of main.py, which must not touch the model that ships."""
        pairs = {"--captions": "captions.txt", "--images": "photos"}
        given = [w for k, v in pairs.items() if k not in arguments for w in (k, v)]
        data = [*given, "--name", "small"]
        weights = ["--encoder-weights", "resnet50.pth", "--device", "cpu"]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for module in (pipeline, starts):
                patch.setattr(module, "SHIPPED_MODEL", self.folder / "model" / SHIPPED_MODEL.name)
            return main.main([*data, *weights, *self.recipe, *map(str, arguments)])

    def adapt(self, *arguments):
        """The exit status of main.py --init with other captions of the same photographs."""
        rows = [f"{name},A unicorn rides kite {k} .\n" for name in self.names for k in range(2)]
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
def workspace(tmp_path_factory, resnet):
    folder = tmp_path_factory.mktemp("main")
    yield Workspace(folder, resnet.state_dict())
    shutil.rmtree(folder)  # hundreds of megabytes


@pytest.fixture(scope="module")
def trained(workspace):
    """The workspace after ``main.py --name small``; what the repository's model/ held before."""
    before = {path: path.stat().st_mtime_ns for path in ROOT.glob("model/*")}
    assert workspace.run() == 0
    return workspace, before


def test_a_run_writes_checkpoints_figures_and_curves(trained):
    workspace, _ = trained
    written = [path for path in workspace.files() if path.startswith(("runs", "results"))]
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
    with Image.open(workspace.folder / "results" / "plots" / "small.png") as curves:
        assert curves.format == "PNG"


def test_a_run_leaves_the_model_that_ships_alone(trained):
    workspace, before = trained
    assert {path: path.stat().st_mtime_ns for path in ROOT.glob("model/*")} == before
    assert not (workspace.folder / "model").exists()


def test_each_epoch_has_a_record_with_all_figures(trained):
    lines = trained[0].metrics()
    assert [(line["stage"], line["epoch"]) for line in lines] == [(s, 1) for s in TRAINED]
    promised = {"loss", "accuracy", "accuracy top-5", "F1 macro", "F1 weighted", "caption F1"}
    promised |= {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr-D", "ROUGE-L"}
    for line in lines:
        assert set(line) == {"stage", "epoch", "learning_rate", "train_loss", "seconds", "dev"}
        assert set(line["dev"]) == promised
        assert np.isfinite([line["train_loss"], *line["dev"].values()]).all()


def test_the_checkpoint_says_how_it_was_made(trained):
    workspace, _ = trained
    made = Checkpoint.load(workspace.folder / "runs" / "small" / "finetune.pth")
    assert made.images.size == 64
    assert (made.model.embedding_dim, made.model.attention_dim, made.model.decoder_dim) == (8, 6, 7)
    assert set(made.vocabulary.words[4:]) == OWN_WORDS | set(class_nouns())
    assert made.model.classes == 1000
    training = [name for name in workspace.names if hashed_split(name) == "train"]
    seen = {entry.partition(":")[0] for entry in made.training_images}
    assert seen == {name_hash(name) for name in training}
    assert [stage["stage"] for stage in made.provenance["stages"]] == ["decoder", "finetune"]
    assert "resnet50.pth" in made.provenance["encoder"]
    assert "7 train, 3 dev, 2 test" in made.provenance["data"]
    assert dict(made.figures) == workspace.metrics()[1]["dev"]
    for stage in made.provenance["stages"]:
        assert stage["command"].startswith("python main.py --captions captions.txt --images photos")


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("encoder.stages.layer4.2.conv3.weight", "layer4.2.conv3.weight"),
        ("decoder.classifier.linear.weight", "fc.weight"),
    ],
)
def test_the_encoder_learns_where_the_recipe_says_so(trained, resnet, name, original):
    before = resnet.state_dict()[original].half().numpy()
    for stage in TRAINED:
        after = load(trained[0], "small", stage).weights[name]
        assert np.array_equal(after, before) == (stage in ("decoder", "reinforce"))
        before = after


def test_the_encoders_first_layers_stay_as_they_were_where_the_recipe_says_so(trained, resnet):
    frozen = main.RECIPE.finetune.frozen_layers
    weights = tensors_of(load(trained[0], "small", "finetune").weights)
    for layer in range(1, 5):
        name = f"layer{layer}.1.conv2.weight"
        same = torch.equal(weights[f"encoder.stages.{name}"], resnet.state_dict()[name].half())
        assert same == (layer <= frozen)


@pytest.mark.parametrize("stage", ["decoder", "finetune", "reinforce", "blend", "best"])
def test_every_class_keeps_its_noun(trained, stage):
    made = load(trained[0], "small", stage)
    nouns = made.weights["decoder.classifier.nouns"]
    assert nouns.dtype == np.int64
    assert tuple(made.vocabulary.decode(nouns.tolist())) == class_nouns()


def test_the_blend_lies_between_the_last_two_stages_and_says_so(trained):
    workspace, _ = trained
    names = ("refine", "reinforce", "blend")
    first, second, made = (
        Checkpoint.load(workspace.folder / "runs" / "small" / f"{name}.pth") for name in names
    )
    name, share = "decoder.output_hidden.weight", main.RECIPE.blend
    first, second, made_of_them = (
        each.weights[name].astype(np.float32) for each in (first, second, made)
    )
    assert np.allclose(made_of_them, (1 - share) * first + share * second, atol=1e-3)
    last = made.provenance["stages"][-1]
    assert (last["stage"], last["config"]["share"]) == ("blend", share)
    assert made.decoding == replace(main.RECIPE.decoding, beam=2)


def test_the_best_stage_is_the_result_and_can_caption(trained):
    workspace, _ = trained
    folder = workspace.folder / "runs" / "small"
    names = ("best", *TRAINED, BLEND)
    best, *stages = (Checkpoint.load(folder / f"{name}.pth") for name in names)
    figures = [stage.figures["CIDEr-D"] for stage in stages]
    assert best.figures["CIDEr-D"] == max(figures)
    caption = Captioner.load(folder / "best.pth")(workspace.folder / "photos" / workspace.names[0])
    assert set(caption.words) <= OWN_WORDS | set(class_nouns())


def test_repeating_a_command_trains_nothing_and_installs_only_by_flag(trained, monkeypatch):
    workspace, _ = trained
    before = workspace.files()
    monkeypatch.setattr(fit, "train_one_epoch", None)  # a call would fail
    assert workspace.run("--install") == 0
    after = workspace.files()
    written = {path for path in after if after[path] != before.get(path)}
    of_runs = {"runs/small/best.pth", "runs/small/blend.pth"}
    assert written == of_runs | {f"model/{SHIPPED_MODEL.name}"}
    installed = Checkpoint.load(workspace.folder / "model" / SHIPPED_MODEL.name)
    assert installed.figures == Checkpoint.load(workspace.folder / "runs/small/best.pth").figures
    shutil.rmtree(workspace.folder / "model")


def test_the_result_notices_unusual_pictures_where_photographs_are_not_too_few(
    trained, monkeypatch
):
    workspace, _ = trained
    assert load(workspace, "small").novelty is None
    monkeypatch.setattr(novelty, "FEWEST", 2)
    assert workspace.run() == 0
    assert load(workspace, "small").novelty is not None
    assert load(workspace, "small", "refine").novelty is None


def test_repeating_an_earlier_stage_keeps_the_best_of_the_later_ones(trained):
    workspace, _ = trained
    best = workspace.folder / "runs" / "small" / "best.pth"
    before = Checkpoint.load(best)
    assert workspace.run("--stage", "decoder") == 0
    after = Checkpoint.load(best)
    assert after.figures == before.figures
    assert after.provenance == before.provenance


def test_a_later_stage_keeps_the_training_images_of_the_earlier_ones(trained):
    workspace, _ = trained
    shutil.copytree(workspace.folder / "runs" / "small", workspace.folder / "runs" / "fewer")
    options = ("--stage", "refine", "--limit", 2, "--name", "fewer", "--restart")
    assert workspace.run(*options) == 0
    seen = [
        Checkpoint.load(workspace.folder / "runs" / "fewer" / f"{stage}.pth").training_images
        for stage in ("finetune", "refine")
    ]
    assert len(seen[0]) == 7
    assert seen[1] == seen[0]
    # Scored on other photographs than the stages before, which therefore do not compete.
    best = Checkpoint.load(workspace.folder / "runs" / "fewer" / "best.pth")
    assert best.provenance["stages"][-1]["data"].endswith("2 train, 2 dev, 2 test photographs")
    shutil.rmtree(workspace.folder / "runs" / "fewer")


@pytest.mark.parametrize(
    "setting", [("--dropout", 0.25), ("--max-words", 9), ("--length-penalty", 0.0)]
)
def test_a_run_of_other_settings_is_not_resumed(trained, capsys, setting):
    assert trained[0].run(*setting) == 1
    assert "--restart" in complaint(capsys)


def test_a_run_of_another_network_is_not_resumed(trained, capsys):
    assert trained[0].run("--decoder-dim", 9) == 1
    assert "--restart" in complaint(capsys)


def test_the_second_stage_refuses_other_sizes_than_the_first_ones(trained, capsys):
    assert trained[0].run("--stage", "finetune", "--decoder-dim", 9, "--image-size", 96) == 1
    message = complaint(capsys)
    assert "decoder_dim" in message
    assert "image_size" in message


def test_a_trained_model_continues_on_other_captions(trained, capsys):
    workspace, _ = trained
    before = Checkpoint.load(workspace.folder / "runs" / "small" / "best.pth")
    assert workspace.adapt() == 0
    assert "2 new words added" in capsys.readouterr().out
    after = Checkpoint.load(workspace.folder / "runs" / "adapted" / "best.pth")
    assert after.vocabulary.words == (*before.vocabulary.words, "kite", "unicorn")
    assert [stage["stage"] for stage in after.provenance["stages"]][-1] == "adapt"
    assert after.provenance["stages"][:-1] == before.provenance["stages"]
    assert after.training_images >= before.training_images
    for name, weight in before.weights.items():
        if name.startswith("encoder"):
            assert np.array_equal(after.weights[name], weight)
    assert Captioner.load(workspace.folder / "runs" / "adapted" / "best.pth").vocabulary.ids[
        "unicorn"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "decoder"], "--init trains its own stage"),
        (["--encoder-weights", "resnet50.pth"], "--init trains its own stage"),
        (["--decoder-dim", "9"], "differ from the trained model's: decoder_dim;"),
        (["--init", "nowhere.pth"], "no such model file"),
        (["--init", "old.pth"], "of an older network, and this program reads version 2; train"),
    ],
)
def test_flags_that_do_not_fit_a_trained_model_are_refused(trained, capsys, arguments, message):
    torch.save({"format": "captioning checkpoint", "version": 1}, trained[0].folder / "old.pth")
    assert trained[0].adapt(*arguments) == 1
    assert message in complaint(capsys)


def test_controls_train_on_other_features(trained):
    workspace, _ = trained
    learned = {}
    for control in ([], ["--control", "blind"], ["--control", "no-attention"]):
        options = ("--stage", "decoder", "--limit", 4, "--name", "control", "--restart")
        assert workspace.run(*options, *control) == 0
        made = Checkpoint.load(workspace.folder / "runs" / "control" / "decoder.pth")
        learned[tuple(control)] = made.weights["decoder.gate.weight"]
        shutil.rmtree(workspace.folder / "runs" / "control")
    first, *others = learned.values()
    assert len(learned) == 3
    assert not any(np.array_equal(first, other) for other in others)


def train_with_scores(workspace, scores, *arguments):
    """Run main.py with networks of these CIDEr-D; a higher length penalty adds to every score.

    Returns what the networks were scored with.
    """
    remaining, searches = iter(scores), []

    def evaluate(engine, photographs, loader, vocabulary, decoding):
        searches.append(decoding)
        evaluation = stages_evaluate(engine, photographs, loader, vocabulary, decoding)
        score = next(remaining) + 10 * decoding.length_penalty
        return replace(evaluation, metrics={**evaluation.metrics, "CIDEr-D": score})

    stages_evaluate = stages.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "evaluate", evaluate)
        assert workspace.run("--limit", 2, *arguments) == 0
    return searches


def test_a_stage_that_loses_by_the_same_search_cannot_win_by_another(workspace, capsys):
    """Four stages and the blend, which is worse than the last stage."""
    searches = train_with_scores(workspace, [1.0, 2.0, 3.0, 9.0, 5.0], "--name", "search")
    folder = workspace.folder / "runs" / "search"
    best = Checkpoint.load(folder / "best.pth")
    assert [stage["stage"] for stage in best.provenance["stages"]] == list(TRAINED)
    assert len(searches) == 5
    assert set(searches) == {best.decoding} == {replace(main.RECIPE.decoding, beam=2)}
    for name in (*TRAINED, BLEND):
        assert Checkpoint.load(folder / f"{name}.pth").decoding == best.decoding

    # The same checkpoints, as if an earlier version had scored them by another search.
    other = replace(best.decoding, length_penalty=0.0)
    for name in ("refine", "reinforce", "best"):
        old = Checkpoint.load(folder / f"{name}.pth")
        changed = replace(old, decoding=other, figures={**old.figures, "CIDEr-D": 99.0})
        save_checkpoint(changed, folder / f"{name}.pth")
    capsys.readouterr()
    train_with_scores(workspace, [1.0], "--name", "search", "--stage", "blend")
    after = Checkpoint.load(folder / "best.pth")
    assert after.provenance["stages"][-1]["stage"] == "blend"
    assert after.decoding == best.decoding
    printed = capsys.readouterr().out
    assert "refine does not count for the best" in printed
    assert "length penalty 0, repetition penalty 1.5 and" in printed
    shutil.rmtree(folder)


def test_a_continued_model_keeps_the_search_that_it_was_scored_with(trained):
    workspace, _ = trained
    assert workspace.adapt("--name", "searched", "--beam", 3, "--length-penalty", 0.25) == 0
    after = Checkpoint.load(workspace.folder / "runs" / "searched" / "best.pth")
    expected = replace(main.RECIPE.decoding, beam=3, length_penalty=0.25)
    assert after.decoding == expected


@pytest.mark.parametrize(
    "provenance", [{}, {"stages": []}, {"stages": [{}, {"stage": "first"}]}, {"data": "unknown"}]
)
def test_checkpoints_of_unknown_provenance_can_be_continued(trained, provenance):
    workspace, _ = trained
    runs = workspace.folder / "runs"
    shutil.copytree(runs / "small", runs / "foreign")
    foreign = replace(Checkpoint.load(runs / "small" / "best.pth"), provenance=provenance)
    save_checkpoint(foreign, runs / "foreign" / "decoder.pth")
    save_checkpoint(replace(foreign, figures={}), runs / "foreign" / "best.pth")
    options = ("--stage", "finetune", "--limit", 2, "--name", "foreign", "--restart")
    assert workspace.run(*options) == 0
    after = Checkpoint.load(runs / "foreign" / "best.pth")
    assert after.provenance["stages"][-1]["stage"] == "finetune"
    shutil.rmtree(runs / "foreign")
    save_checkpoint(foreign, runs / "start.pth")
    assert workspace.adapt("--init", "runs/start.pth", "--name", "foreign") == 0
    after = Checkpoint.load(runs / "foreign" / "best.pth")
    assert after.provenance["stages"][-1]["stage"] == "adapt"
    shutil.rmtree(runs / "foreign")


def test_networks_of_other_words_are_not_blended(trained, capsys):
    workspace, _ = trained
    runs = workspace.folder / "runs"
    shutil.copytree(runs / "small", runs / "mixed")
    assert workspace.adapt("--name", "mixed") == 0
    shutil.copy(runs / "mixed" / "adapt.pth", runs / "mixed" / "reinforce.pth")
    capsys.readouterr()
    assert workspace.run("--stage", "blend", "--name", "mixed") == 1
    assert "mixed/reinforce.pth: this network has other sizes or words" in complaint(capsys)
    shutil.rmtree(runs / "mixed")


# Several data sets ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def united(workspace):
    """The workspace after training on three sets: the second has the names of the first."""
    folder = workspace.folder
    random, rows = np.random.default_rng(1), {"again": [], "web": []}
    for name in workspace.names:
        for data_set, prefix in (("again", ""), ("web", "web_")):
            (folder / data_set / "photos").mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (6, 9, 3), dtype=np.uint8)
            path = folder / data_set / "photos" / f"{prefix}{name}"
            Image.fromarray(pixels).resize((90, 60)).save(path)
            rows[data_set].append(f"{prefix}{name},A unicorn {data_set} .\n")
    sets = ["--captions", "captions.txt", "--images", "photos"]
    for data_set, lines in rows.items():
        (folder / data_set / "captions.txt").write_text("image,caption\n" + "".join(lines * 2))
        sets += pair(data_set)
    (folder / "text.txt").write_text("A gnome gnome .\nA man rides horse .\nA zebra .\n")
    (folder / "terms.txt").write_text("Home: mine.\n\nWeb: only\nto look at.\n")
    options = [*sets, "--text", "text.txt", "--manner", "web_*=web", "--name", "united"]
    options += ["--data-terms", "terms.txt"]
    for stage in ("language", "decoder", "finetune"):
        assert workspace.run("--stage", stage, *options) == 0
    yield workspace
    shutil.rmtree(folder / "runs" / "united")


def pair(name):
    return ["--captions", f"{name}/captions.txt", "--images", f"{name}/photos"]


def load(workspace, run, name="best"):
    return Checkpoint.load(workspace.folder / "runs" / run / f"{name}.pth")


def test_the_union_is_trained_on_and_recorded(united):
    made = load(united, "united")
    words = set(made.vocabulary.words)
    assert {"unicorn", "again", "web", "horse", "gnome", "<web>"} <= words
    assert made.vocabulary.manners == ("web",)
    training = [name for name in united.names if hashed_split(name) == "train"]
    web = [f"web_{name}" for name in united.names if hashed_split(f"web_{name}") == "train"]
    names = [name_hash(name) for name in [*training, *training, *web]]
    assert sorted(entry.partition(":")[0] for entry in made.training_images) == sorted(names)
    assert "; again: a split" in made.provenance["data"]
    assert made.provenance["data"].endswith("; text: 3 captions")
    assert made.terms == ("Home: mine.", "Web: only to look at.")


def test_the_decoder_starts_from_what_it_has_learned_from_text(united):
    made = [load(united, "united", stage) for stage in ("language", "decoder", "finetune")]
    stages = [stage["stage"] for stage in made[2].provenance["stages"]]
    assert stages == ["language", "decoder", "finetune"]
    assert made[0].provenance["stages"] == made[2].provenance["stages"][:1]
    assert list(made[0].figures) == ["loss"]
    assert made[0].vocabulary == made[1].vocabulary
    # Of a single step of training each, which changes no weight by more than its learning rate.
    name = "decoder.vocabulary.weight"
    first, second = (each.weights[name].astype(np.float32) for each in made[:2])
    assert np.abs(first - second).mean() < 0.1 * np.abs(first).mean()
    for part in ("encoder.stages.conv1.weight", "decoder.classifier.linear.weight"):
        assert np.array_equal(made[0].weights[part], made[1].weights[part])


def test_each_epoch_is_scored_on_the_other_sets_too(united):
    path = united.folder / "results" / "metrics" / "united.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["language", "decoder", "finetune"]
    assert list(lines[0]["dev"]) == ["loss"]
    assert "others" not in lines[0]
    for line in lines[1:]:
        assert list(line["others"]) == ["again", "web, web"]
        for figures in line["others"].values():
            assert set(figures) == set(line["dev"])
            assert np.isfinite(list(figures.values())).all()
            assert figures != line["dev"]
    assert (united.folder / "results" / "plots" / "united.png").exists()


def test_a_language_model_of_other_text_is_not_resumed(united, capsys):
    # The same words, so that the network to start from is the same.
    lines = (united.folder / "text.txt").read_text().splitlines(keepends=True)
    (united.folder / "other.txt").write_text("".join(reversed(lines)))
    sets = [word for name in ("again", "web") for word in pair(name)]
    options = ["--captions", "captions.txt", "--images", "photos", *sets, "--name", "united"]
    options += ["--manner", "web_*=web", "--stage", "language"]
    capsys.readouterr()
    assert united.run(*options, "--text", "other.txt") == 1
    assert "--restart" in complaint(capsys)
    assert united.run(*options, "--text", "text.txt") == 0


def test_a_later_stage_on_the_first_set_alone_competes_with_the_union(united, capsys):
    capsys.readouterr()
    assert united.run("--stage", "refine", "--name", "united") == 0
    assert "does not count for the best" not in capsys.readouterr().out
    stages = load(united, "united", "refine").provenance["stages"]
    assert stages[-2]["measured on"] == stages[-1]["data"]
    assert "measured on" not in stages[-1]
    figures = [load(united, "united", s).figures["CIDEr-D"] for s in ("finetune", "refine", "best")]
    assert figures[2] >= max(figures[:2])


def test_a_manner_that_the_earlier_stage_lacks_is_refused(united, capsys):
    capsys.readouterr()
    assert united.run("--stage", "refine", "--name", "united", "--manner", "*=news") == 1
    assert "no manner 'news'; it knows web" in complaint(capsys)


def test_captions_of_ones_own_have_the_default_manner_unless_told_otherwise(trained, capsys):
    workspace, _ = trained
    capsys.readouterr()
    assert workspace.adapt("--name", "plain") == 0
    assert "2 new words added" in capsys.readouterr().out
    assert load(workspace, "plain").vocabulary.manners == ()
    assert workspace.adapt("--name", "mannered", "--manner", "*=mine") == 0
    known = len(load(workspace, "small").vocabulary)
    printed = capsys.readouterr().out
    assert f"2 new words added to its {known}; new manner: mine\n" in printed
    assert load(workspace, "mannered").vocabulary.manners == ("mine",)
    again = ["--init", "runs/mannered/best.pth", "--name", "again", "--manner", "*=mine"]
    assert workspace.adapt(*again) == 0
    assert f"; 0 new words added to its {known + 3}\n" in capsys.readouterr().out


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
        (["--max-words", 0], ["max_words must be from 1 to 1,000"]),
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
        (["--captions", "single.txt"], ["single.txt", "add photographs"]),
        (["--images", "none"], ["none", "no such folder"]),
        (["--captions", "a", "--captions", "b"], ["given equally often", "not 2 and 1 times"]),
        (["--text", "none.txt"], ["none.txt", "no such text file"]),
        (["--text", "empty.txt"], ["empty.txt", "the text file is empty"]),
        (["--text", "resnet50.pth"], ["resnet50.pth", "not UTF-8 text"]),
        (["--text", "empty.txt", "--captions", "none.csv"], ["text alone trains no captioner"]),
        (
            ["--text", "one.txt"],
            ["one.txt", "two captions at least", "add text, or leave out --text"],
        ),
        (["--stage", "language"], ["--stage language needs --text"]),
        (["--manner", "web"], ["--manner must be GLOB=NAME"]),
        (["--manner", "web_*=web"], ["no photograph has a name like 'web_*'"]),
        (["--leave-out", "none.txt"], ["none.txt", "no such list of names"]),
        (["--leave-out", "captions.txt"], ["captions.txt", "names no photograph of the data"]),
        (["--data-terms", "none.txt"], ["none.txt", "no such text file"]),
        (["--data-terms", "empty.txt"], ["empty.txt", "the text file is empty"]),
        (["--encoder-weights", "none.pth"], ["none.pth", "no such file"]),
        (["--encoder-weights", "captions.txt"], ["captions.txt", "not a state dict"]),
        (["--stage", "finetune", "--name", "new"], ["runs/new/decoder.pth", "no such model file"]),
        (["--stage", "reinforce", "--name", "new"], ["runs/new/refine.pth", "no such model file"]),
        (["--control", "blind"], ["--control", "--stage decoder"]),
        (["--other-manners", 1.5], ["other_manners must be in [0, 1]"]),
        (["--captions-per-photo", -1], ["captions_per_photo must be at least 0"]),
        (["--train-size", -1], ["train_size must be at least 0"]),
        (["--frozen-layers", 5], ["frozen_layers must be from 0 to 4"]),
        (["--guidance", "nan"], ["guidance must be at least 0"]),
        (["--samples", 1], ["samples must be 0 or at least 2"]),
        (["--seed", 10**10], ["seed must be within"]),
        (["--workers", -1], ["--workers must be at least 0"]),
        (["--save-every", -1], ["time between saves"]),
        (["--save-every", "nan"], ["time between saves"]),
        (["--name", ""], ["--name must be a plain name"]),
        (["--name", ".."], ["--name must be a plain name", "'..'"]),
        (["--name", ".hidden"], ["--name must be a plain name"]),
        (["--name", "a/b"], ["--name must be a plain name"]),
        (["--name", "/tmp/a"], ["--name must be a plain name"]),
        (["--name", "..\\a"], ["--name must be a plain name"]),
        (["--crop", 0], ["crop must be above 0"]),
        (["--device", "abacus"], ["device abacus cannot be used"]),
        (["--cache", "captions.txt", "--name", "new"], ["captions.txt"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_sentence(workspace, capsys, arguments, parts):
    (workspace.folder / "empty.txt").touch()
    (workspace.folder / "one.txt").write_text("A man rides .\n")
    workspace.write_captions(["gone.png", *workspace.names], "missing.txt")
    workspace.write_captions(workspace.names[:1], "single.txt")
    assert workspace.run(*arguments) == 1
    message = complaint(capsys)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    "arguments", [["--epochs", "many"], ["--stage", "both"], ["--colour"], ["--learning-rate", ""]]
)
def test_unknown_flags_and_values_print_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("usage: main.py")


def test_bad_rows_can_be_skipped_and_are_counted(workspace, capsys):
    workspace.write_captions(["gone.png", *workspace.names], "missing.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace.folder)
        arguments = ["--captions", "missing.txt", "--images", "photos", "--skip-bad"]
        splits = reading.read_data(main.parse_arguments(arguments)).first.splits
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (7, 3, 2)
    assert "left out 2 bad rows" in capsys.readouterr().out


def own_photographs(workspace, name, damaged=0):
    """Eight photographs of one's own, none of which the hash holds back; the first are damaged."""
    folder = workspace.folder / name
    folder.mkdir()
    names = [n for n in (f"IMG_{i:04}.JPG" for i in range(100)) if hashed_split(n) == "train"][:8]
    for seed, each in enumerate(names):
        save(folder, each, draw(seed))
        if seed < damaged:
            (folder / each).write_bytes((folder / each).read_bytes()[:300])
    rows = "".join(f"{each},a red thing number {i % 2}\n" for i, each in enumerate(names))
    (workspace.folder / f"{name}.csv").write_text("image,caption\n" + rows)
    return ["--captions", f"{name}.csv", "--images", name, "--name", name]


def adapt_alone(workspace, *arguments):
    """The exit status of main.py --init with these photographs and no others."""
    options = ["--init", "runs/small/best.pth", "--min-count", 2, "--epochs", 1, "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace.folder)
        return main.main([str(word) for word in (*options, *arguments)])


def test_eight_photographs_of_ones_own_train(trained, capsys):
    workspace, _ = trained
    assert adapt_alone(workspace, *own_photographs(workspace, "own8")) == 0
    made = load(workspace, "own8")
    assert len(made.training_images - load(workspace, "small").training_images) == 6
    assert "held back): 6 train, 2 dev, 0 test photographs" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_photograph_stops_with_one_sentence_or_is_skipped(trained, capsys, workers):
    workspace, _ = trained
    name = f"damaged{workers}"
    flags = [*own_photographs(workspace, name, damaged=1), "--workers", workers]
    flags += ["--encoder-learning-rate", "1e-4"]  # so that workers read the photographs
    assert adapt_alone(workspace, *flags) == 1
    message = complaint(capsys)
    assert f"{name}/IMG_0" in message
    assert message.endswith("or pass --skip-bad to go on without it")
    assert not (workspace.folder / "runs" / name).exists()
    assert adapt_alone(workspace, *flags, "--skip-bad") == 0
    said = capsys.readouterr().out
    assert "left out 1 photograph that cannot be read, the first: " in said
    assert "5 train, 2 dev, 0 test photographs" in said


def test_a_model_is_not_installed_over_the_one_that_it_came_from(trained, capsys, monkeypatch):
    workspace, _ = trained
    best = workspace.folder / "runs" / "small" / "best.pth"
    before = best.read_bytes()
    monkeypatch.setattr(pipeline, "SHIPPED_MODEL", best)
    assert workspace.adapt("--name", "installed", "--install") == 1
    assert "--install would write over it; leave out --install" in complaint(capsys)
    assert workspace.adapt("--name", "small") == 1
    assert "--init runs/small/best.pth: this run would write over it" in complaint(capsys)
    assert best.read_bytes() == before
    assert not (workspace.folder / "runs" / "installed").exists()


def test_an_interrupted_run_exits_with_130_and_says_how_to_resume(monkeypatch, capsys):
    def interrupt(flags, recipe):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "train", interrupt)
    assert main.main([]) == 130
    assert "same command" in complaint(capsys)


def test_a_defect_shows_its_traceback(monkeypatch):
    """An error that no user can fix, such as one of shapes, is not printed as a sentence."""

    def fail(flags, recipe):
        raise ValueError("shapes differ")

    monkeypatch.setattr(pipeline, "train", fail)
    with pytest.raises(ValueError, match="shapes differ"):
        main.main([])


def test_photographs_that_change_under_a_training_or_between_two_stop_it(
    trained, capsys, monkeypatch
):
    workspace, _ = trained
    flags = [*own_photographs(workspace, "changing"), "--epochs", 2]
    photo, *_, last = sorted((workspace.folder / "changing").iterdir())
    content, other, evaluate = photo.read_bytes(), last.read_bytes(), stages.evaluate
    assert other != content

    def change(*arguments):
        photo.write_bytes(other)
        return evaluate(*arguments)

    monkeypatch.setattr(stages, "evaluate", change)
    assert adapt_alone(workspace, *flags) == 1
    assert f"{photo.name}: this photograph has changed since the tr" in complaint(capsys)
    monkeypatch.undo()
    assert adapt_alone(workspace, *flags) == 1
    assert "adapt.resume.pth: training cannot resume from this file" in complaint(capsys)
    photo.write_bytes(content)
    assert adapt_alone(workspace, *flags) == 0
    epochs = (workspace.folder / "results" / "metrics" / "changing.jsonl").read_text()
    assert len(epochs.splitlines()) == 2
