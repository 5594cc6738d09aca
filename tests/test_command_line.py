"""The command line: what it prints, draws, and says when something is wrong."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import fields, replace
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning import __main__ as command_line
from captioning.__main__ import Flags, parse_arguments, program_name, version
from captioning.inference.captioner import UNUSUAL_WARNING, Captioner
from captioning.inference.engine_config import EngineConfig
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import save_checkpoint

ROOT = Path(__file__).resolve().parent.parent
load_once = cache(Captioner.load)  # errors are not kept


@pytest.fixture(autouse=True)
def one_model(monkeypatch):
    """Read each model file once for all tests."""
    monkeypatch.setattr(Captioner, "load", load_once)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs, three files that are not, and a folder inside."""
    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.new("RGB", (60, 80), "white").save(folder / "b.jpg")
    Image.new("RGB", (64, 64), "red").save(folder / "c.JPEG")
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    (folder / "text.jpg").write_text("This is not a photograph.")
    (folder / "notes.txt").write_text("Neither is this.")
    (folder / "inside").mkdir()
    return folder


# Captions ---------------------------------------------------------------------------------------


def test_one_photograph_gives_its_sentence_without_a_name(cli, folder, captioner):
    status, out, err = cli(folder / "a.png")
    assert (status, err) == (0, [])
    assert out == [captioner(folder / "a.png").sentence]
    assert out[0][0].isupper() or out[0][0] == "'"
    assert out[0].endswith(".")


def test_several_photographs_are_named_and_keep_their_order(cli, folder, captioner):
    photos = [folder / "c.JPEG", folder / "a.png", folder / "b.jpg"]
    status, out, err = cli(*photos)
    assert (status, err) == (0, [])
    sentences = [captioner(photo).sentence for photo in photos]
    assert len(set(sentences)) == 3  # or their order would not show
    assert out == [f"{p}: {s}" for p, s in zip(photos, sentences, strict=True)]


def test_the_beam_width_can_be_chosen(cli, folder, captioner):
    photo = folder / "a.png"
    _, out, _ = cli(photo, "--beam", 1, "--json")
    assert json.loads(out[0])["alternatives"] == []
    assert json.loads(out[0])["caption"] == captioner(photo, beam=1).text
    _, out, _ = cli(photo, "--beam", 3, "--json")
    assert len(json.loads(out[0])["alternatives"]) == 2


def test_a_folder_means_the_images_in_it_by_name(cli, folder):
    status, out, err = cli(folder)
    assert [line.split(": ")[0] for line in out] == [
        str(folder / name) for name in ("a.png", "b.jpg", "c.JPEG")
    ]
    assert [name for name in ("cut.jpg", "text.jpg") if name not in "\n".join(err)] == []
    assert "notes.txt" not in "\n".join(err)
    assert err[2:] == ["left out: 1 other file (1 .txt), 1 sub-folder (--recursive reads them)"]
    assert status == 2


def test_an_empty_folder_is_reported_and_the_others_are_captioned(cli, folder):
    status, out, err = cli(folder / "inside", folder / "a.png")
    assert status == 2
    assert len(out) == 1
    assert err == [f"{folder / 'inside'}: there is no image in this folder"]


@pytest.fixture(scope="module")
def wary(checkpoint, tmp_path_factory):
    """A model to which every picture is unusual."""
    path = tmp_path_factory.mktemp("wary") / "wary.pth"
    parts = np.zeros(2048), np.zeros((0, 2048)), np.ones(1), np.array([0.0, 1e-3])
    detector = NoveltyDetector(*(part.astype(np.float32) for part in parts))
    save_checkpoint(replace(checkpoint, novelty=detector), path)
    return path


def test_an_unusual_picture_comes_with_a_warning_apart_from_its_caption(cli, folder, wary):
    _, plain, _ = cli(folder / "a.png")
    status, out, err = cli(folder / "a.png", model=wary)
    assert (status, out, err) == (0, plain, [UNUSUAL_WARNING])
    photos = [folder / "a.png", folder / "b.jpg"]
    _, out, err = cli(*photos, model=wary)
    assert len(out) == 2
    assert err == [f"{photo}: {UNUSUAL_WARNING}" for photo in photos]


def test_json_has_novelty_and_warning(cli, folder, wary):
    _, out, err = cli(folder / "a.png", "--json", model=wary)
    assert err == []
    content = json.loads(out[0])
    assert (content["novelty"], content["warning"]) == (1.0, UNUSUAL_WARNING)
    _, out, _ = cli(folder / "a.png", "--json")
    content = json.loads(out[0])
    assert content["novelty"] is None
    assert content["warning"] is None


# What is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing.jpg", "cut.jpg", "text.jpg"])
def test_a_photograph_that_cannot_be_read_leaves_the_others_alone(cli, folder, name):
    status, out, err = cli(folder / "a.png", folder / name, folder / "b.jpg")
    assert status == 2
    assert [line.split(": ")[0] for line in out] == [str(folder / "a.png"), str(folder / "b.jpg")]
    assert len(err) == 1
    assert name in err[0]


def test_a_path_that_is_too_long_leaves_the_others_alone(cli, folder):
    status, out, err = cli("a" * 300 + ".jpg", folder / "a.png")
    assert (status, len(out), len(err)) == (2, 1, 1)
    assert err[0].startswith("aaa")


def test_an_unreadable_folder_leaves_the_others_alone(cli, folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    status, out, err = cli(folder, folder / "a.png")
    assert (status, len(out)) == (2, 1)
    assert err == [f"{folder}: this folder cannot be read (Permission denied)"]


@pytest.mark.parametrize("model", ["missing.pth", "a.png", "notes.txt", "inside"])
def test_a_wrong_model_file_is_named_in_one_sentence(cli, folder, model):
    status, out, err = cli(folder / "a.png", model=folder / model)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"{folder / model}: ")


def test_a_beam_of_zero_is_refused_in_one_sentence(cli, folder):
    assert cli(folder / "a.png", "--beam", 0) == (2, [], ["beam must be from 1 to 1,000, not 0"])


@pytest.mark.parametrize("arguments", [["--beam", "wide"], ["--device", "gpu"], ["--colour"]])
def test_wrong_flags_give_usage(cli, folder, arguments):
    status, out, err = cli(folder / "a.png", *arguments)
    assert (status, out) == (2, [])
    assert err[0].startswith("usage: python -m captioning")
    assert arguments[0] in err[-1]


def test_no_arguments_give_usage(cli):
    status, out, err = cli()
    assert (status, out) == (2, [])
    assert err[0].startswith("usage: python -m captioning")
    assert "name a photograph, a folder" in err[-1]


def test_help_mentions_every_flag(cli):
    status, out, _ = cli("--help")
    names = {field.name.replace("_", "-") for field in fields(Flags)} - {"photos"}
    assert status == 0
    assert names >= {"beam", "json", "maps", "attention", "evidence", "model", "device"}
    assert names >= {
        "output",
        "recursive",
        "changed",
        "sidecar",
        "embed",
        "alt-text",
        "ray",
        "actors",
    }
    flags = {"--version", *(f"--{name}" for name in names)}
    assert [flag for flag in {*flags, "PHOTO", "folder"} if flag not in "\n".join(out)] == []


def test_flags_are_read_into_their_fields():
    words = "a.jpg b --beam 2 --json --maps --attention o.png --evidence --model m.pth "
    words += "--device cuda -r"
    assert parse_arguments(shlex.split(words)) == Flags(
        photos=["a.jpg", "b"],
        recursive=True,
        beam=2,
        json=True,
        maps=True,
        attention=Path("o.png"),
        evidence=True,
        model=Path("m.pth"),
        device="cuda",
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], EngineConfig(device="auto")),
        (["--device", "cpu"], EngineConfig(device="cpu")),
        (
            ["--engine", "openvino", "--precision", "int8"],
            EngineConfig("openvino", "int8", "auto"),
        ),
    ],
)
def test_the_model_is_run_as_the_flags_say(cli, folder, monkeypatch, captioner, words, expected):
    asked = []

    def load(path, running):
        asked.append(running)
        return captioner

    monkeypatch.setattr(Captioner, "load_with", load)
    assert cli(folder / "a.png", *words)[0] == 0
    assert asked == [expected]


@pytest.mark.parametrize("words", [[], ["--engine", "onnx"], ["--engine", "torch"]])
def test_every_engine_captions_from_the_command_line(cli, folder, words):
    assert cli(folder / "a.png", *words) == cli(folder / "a.png")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "onnx", "--device", "cuda"], "for device cuda choose torch"),
        (["--engine", "torch", "--precision", "int8"], "the engine torch has no int8"),
        (["--engine", "onnx", "--precision", "int8"], "there are no measured ranges for int8"),
    ],
)
def test_an_engine_that_cannot_do_it_says_so_in_one_sentence(cli, folder, words, sentence):
    status, out, err = cli(folder / "a.png", *words)
    assert (status, out) == (2, [])
    assert sentence in err[-1]  # after the usage, where flags do not go together


def test_version_is_the_installed_one_or_that_of_the_checkout(cli, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: {"captioning": "7.8.9"}[name])
    assert cli("--version") == (0, ["captioning 7.8.9"], [])

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cli("--version") == (0, [f"captioning {project['version']}"], [])
    monkeypatch.setattr(command_line, "_PYPROJECT", ROOT / "no such file")
    assert version() == "of unknown version"


@pytest.mark.parametrize(
    ("started_as", "name"),
    [
        ("/usr/bin/captioning", "captioning"),
        ("captioning.exe", "captioning"),
        ("/x/captioning/__main__.py", "python -m captioning"),
    ],
)
def test_usage_names_the_command_as_it_was_started(started_as, name):
    assert program_name(started_as) == name


# JSON -------------------------------------------------------------------------------------------


def test_json_has_one_line_per_photograph_with_all_details(cli, folder, captioner):
    photos = [folder / "a.png", folder / "b.jpg"]
    status, out, err = cli(*photos, "--json")
    assert (status, len(out), err) == (0, 2, [])
    for line, photo, expected in zip(out, photos, captioner.stream(photos), strict=True):
        content = json.loads(line)
        assert set(content) == {
            *("file", "caption", "score", "probability", "confidence", "alternatives", "words"),
            *("novelty", "warning", "version"),
        }
        assert (content["file"], content["caption"]) == (str(photo), expected.text)
        assert content["score"] == round(expected.score, 4)
        pairs = zip(content["alternatives"], expected.alternatives, strict=True)
        for written, other in pairs:
            assert (written["caption"], written["score"]) == (other.text, round(other.score, 4))
            assert written["probability"] == pytest.approx(other.probability, rel=1e-3)
        scores = [content["score"], *(other["score"] for other in content["alternatives"])]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 4  # the beam that the model was saved with
        assert [word["word"] for word in content["words"]] == list(expected.words)


def test_json_has_each_words_probability_and_where_the_model_looked(cli, folder, captioner):
    _, out, _ = cli(folder / "a.png", "--json")
    words, expected = json.loads(out[0])["words"], captioner(folder / "a.png")
    assert len(words) == len(expected.attention) > 0
    for word, weights, probability in zip(
        words, expected.attention, expected.probabilities, strict=True
    ):
        assert set(word) == {"word", "probability", "x", "y"}
        assert 0 <= word["probability"] <= 1
        assert word["probability"] == pytest.approx(probability, abs=1e-4)
        rows, columns = weights.shape
        assert 0 < word["x"] < 1
        assert 0 < word["y"] < 1
        assert weights[int(word["y"] * rows), int(word["x"] * columns)] == weights.max()


def test_json_has_what_each_word_rests_on_where_it_is_asked_for(cli, folder, captioner):
    _, out, _ = cli(folder / "a.png", "--json", "--evidence")
    words, expected = json.loads(out[0])["words"], captioner(folder / "a.png", evidence=True)
    for index, (word, values) in enumerate(zip(words, expected.evidence, strict=True)):
        assert set(word) == {"word", "probability", "x", "y", "evidence"}
        x, y = expected.peak(index, "evidence")
        assert word["evidence"] == {"nats": pytest.approx(values.max(), abs=1e-3), "x": x, "y": y}


def test_json_has_whole_maps_where_they_are_asked_for(cli, folder, captioner):
    _, out, _ = cli(folder / "a.png", "--json", "--maps", "--evidence")
    words, expected = json.loads(out[0])["words"], captioner(folder / "a.png", evidence=True)
    assert np.allclose([word["map"] for word in words], expected.attention, atol=1e-3)
    evidence = [word["evidence"]["map"] for word in words]
    assert np.allclose(evidence, expected.evidence, atol=1e-3)
    _, out, _ = cli(folder / "a.png", "--json", "--maps")
    assert all(
        set(word) == {"word", "probability", "x", "y", "map"}
        for word in json.loads(out[0])["words"]
    )


@pytest.mark.parametrize(
    ("flag", "missing"), [("--maps", "adds to --json"), ("--evidence", "adds to --json, to")]
)
def test_flags_that_would_show_nothing_are_refused(cli, folder, flag, missing):
    status, out, err = cli(folder / "a.png", flag)
    assert (status, out) == (2, [])
    assert f"{flag} {missing}" in err[-1]


def test_evidence_of_a_single_pixel_is_refused_in_one_sentence(cli, folder, tmp_path):
    dot = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(dot)
    status, out, err = cli(dot, folder / "a.png", "--json", "--evidence")
    assert (status, len(out), len(err)) == (2, 1, 1)
    assert err[0].startswith(f"{dot} is a single pixel")
    assert cli(dot)[0] == 0


def test_json_reports_photographs_that_failed_on_stderr(cli, folder):
    status, out, err = cli(folder / "text.jpg", folder / "a.png", "--json")
    assert status == 2
    assert [json.loads(line)["file"] for line in out] == [str(folder / "a.png")]
    assert len(err) == 1


def test_names_that_are_not_ascii_stay_readable(cli, folder, tmp_path):
    photo = tmp_path / "café 犬.png"
    photo.write_bytes((folder / "a.png").read_bytes())
    _, out, _ = cli(photo, "--json")
    assert "café 犬.png" in out[0]


# Attention --------------------------------------------------------------------------------------


def read_picture(path):
    """The format of a picture and its contrast."""
    with Image.open(path) as image:
        image.load()
    return image.format, np.asarray(image.convert("L")).std()


@pytest.mark.parametrize(
    ("name", "kind"), [("maps.png", "PNG"), ("new folder/maps.JPG", "JPEG"), ("maps.jpeg", "JPEG")]
)
def test_attention_is_drawn_as_the_kind_that_the_suffix_names(cli, folder, tmp_path, name, kind):
    status, out, err = cli(folder / "a.png", "--attention", tmp_path / name)
    assert (status, len(out), err) == (0, 1, [])
    file_format, contrast = read_picture(tmp_path / name)
    assert file_format == kind
    assert contrast > 5  # something is on it


@pytest.mark.parametrize(("name", "start"), [("maps.svg", b"<?xml"), ("maps.pdf", b"%PDF-")])
def test_attention_is_drawn_as_vectors_too(cli, folder, tmp_path, name, start):
    assert cli(folder / "a.png", "--attention", tmp_path / name)[0] == 0
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["maps", "maps.txt", "maps.gif"])
def test_attention_of_another_kind_is_refused_before_any_work(cli, folder, tmp_path, name):
    status, out, err = cli(folder / "a.png", "--attention", tmp_path / name)
    assert (status, out, len(err)) == (2, [], 1)
    assert ".png, .jpg, .jpeg, .svg, .pdf" in err[0]
    assert not (tmp_path / name).exists()


def test_attention_never_replaces_what_it_is_drawn_of(cli, folder, tmp_path, checkpoint_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes((folder / "a.png").read_bytes())
    os.symlink(photo, tmp_path / "link.png")
    model = tmp_path / "model.png"
    model.write_bytes(checkpoint_path.read_bytes())
    for target in (photo, tmp_path / "link.png", model):
        status, out, err = cli(photo, "--attention", target, model=model)
        assert (status, out) == (2, [])
        assert err == [f"{target}: this is one of the files to be read; name another output"]
    assert photo.read_bytes() == (folder / "a.png").read_bytes()
    assert model.read_bytes() == checkpoint_path.read_bytes()


def test_attention_replaces_nothing_but_files(cli, folder, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        status, _, err = cli(folder / "a.png", "--attention", tmp_path / name)
        assert (status, len(err)) == (2, 1)
        assert "not an ordinary file" in err[0]
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.png").st_mode)


def test_the_picture_of_evidence_is_the_taller_one(cli, folder, tmp_path):
    heights = []
    for name, flags in (("one.png", []), ("both.png", ["--evidence"])):
        assert cli(folder / "a.png", "--attention", tmp_path / name, *flags)[0] == 0
        with Image.open(tmp_path / name) as picture:
            heights.append(picture.height)
    assert heights[1] > 1.5 * heights[0]


def test_a_photograph_with_an_unprintable_name_is_captioned_and_read_picture(cli, folder, tmp_path):
    photo = os.fsdecode(os.fsencode(tmp_path) + b"/line\nbreak\xff.png")
    Path(photo).write_bytes((folder / "a.png").read_bytes())
    status, out, err = cli(photo, "--attention", tmp_path / "maps.png", "--json")
    assert (status, len(out), err) == (0, 1, [])
    assert read_picture(tmp_path / "maps.png")[0] == "PNG"


def test_attention_of_two_photographs_is_refused_before_any_work(cli, folder, tmp_path):
    out_path = tmp_path / "maps.png"
    status, out, err = cli(folder / "a.png", folder / "b.jpg", "--attention", out_path)
    assert (status, out, len(err)) == (2, [], 1)
    assert "--attention draws one photograph, not 2" in err[0]
    assert not out_path.exists()


def test_attention_that_cannot_be_written_is_reported_in_one_sentence(cli, folder):
    status, _, err = cli(folder / "a.png", "--attention", folder / "notes.txt" / "maps.png")
    assert (status, len(err)) == (2, 1)
    assert err[0].startswith(f"{folder / 'notes.txt' / 'maps.png'}: it cannot be written, because")


# As a process -----------------------------------------------------------------------------------


def run(folder, *command, **environment):
    """Run a command in a folder, with this checkout's package."""
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_a_reader_that_stops_early_ends_it_quietly(folder, checkpoint_path):
    command = f"{sys.executable} -m captioning a.png b.jpg c.JPEG --model {checkpoint_path} | true"
    done = run(folder, "bash", "-c", command)
    assert (done.stdout, done.stderr) == ("", "")


def test_as_a_program(folder, checkpoint_path, captioner):
    arguments = [folder / "a.png", folder / "text.jpg", "--model", checkpoint_path]
    done = run(folder, sys.executable, "-m", "captioning", *arguments)
    assert done.returncode == 2
    assert done.stdout == f"{folder / 'a.png'}: {captioner(folder / 'a.png').sentence}\n"
    assert "text.jpg" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gpu_that_is_not_here_is_said_in_one_sentence(folder, checkpoint_path):
    arguments = [folder / "a.png", "--model", checkpoint_path, "--device", "cuda"]
    done = run(folder, sys.executable, "-m", "captioning", *arguments, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("device cuda cannot be used here")


@pytest.mark.parametrize(("arguments", "drawing"), [([], False), (["--attention", "o.png"], True)])
def test_only_drawing_imports_matplotlib(folder, tmp_path, checkpoint_path, arguments, drawing):
    heavy = ("matplotlib", "streamlit", "scipy", "torchvision")
    code = (
        "import sys; from captioning.__main__ import main; assert main(sys.argv[1:]) == 0; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    photo = str(folder / "a.png")
    done = run(tmp_path, sys.executable, "-c", code, photo, "--model", checkpoint_path, *arguments)
    assert done.stdout.splitlines()[1:] == [str(["matplotlib"] if drawing else [])], done.stderr


def test_drawing_without_a_home_to_write_to_says_nothing_of_it(folder, tmp_path, checkpoint_path):
    """matplotlib would tell where it keeps its fonts then, and that this takes a while."""
    (tmp_path / "home").touch()  # root too cannot write into a file
    arguments = [folder / "a.png", "--model", checkpoint_path, "--attention", tmp_path / "o.png"]
    home = str(tmp_path / "home")
    environment = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home}
    done = run(folder, sys.executable, "-m", "captioning", *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_without_its_model_says_where_it_looked_and_what_to_do(folder, tmp_path):
    shutil.copytree(ROOT / "captioning", tmp_path / "captioning")
    done = run(tmp_path, sys.executable, "-m", "captioning", folder / "a.png", PYTHONPATH="")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{tmp_path / 'model' / 'image_captioning_model.pth'}: there is no such")
    assert "train one or fetch it" in line


def test_an_installed_package_finds_its_model_beside_its_code(tmp_path, checkpoint_path):
    shutil.copytree(ROOT / "captioning", tmp_path / "captioning")
    (tmp_path / "captioning" / "shipped").mkdir()
    code = "from captioning.network.checkpoint import SHIPPED_MODEL as path; print(path)"
    done = run(tmp_path, sys.executable, "-c", code, PYTHONPATH="")
    expected = tmp_path / "captioning" / "shipped" / "image_captioning_model.pth"
    assert done.stdout == f"{expected}\n", done.stderr
