"""The app: its pages, run by Streamlit's test harness, and its server as make app starts it."""

import base64
import io
import json
import os
import shlex
import tomllib
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import main as trainer
from captioning.app.examples import examples
from captioning.app.session import MAX_PHOTOS
from captioning.app.wording import percent
from captioning.data.images import READABLE
from captioning.inference.captioner import UNUSUAL_WARNING, Captioner
from captioning.inference.engine_config import EngineConfig
from captioning.inference.export import as_html
from captioning.network.checkpoint import SHIPPED_MODEL, file_hash
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import save_checkpoint
from captioning.pictures import STRENGTH
from tests.app.pages import (
    SECONDS,
    large_maps,
    page,
    photograph,
    setting,
    small_maps,
    texts,
    upload,
)
from tools.browser import serving

ROOT = Path(__file__).resolve().parents[2]


# The model ------------------------------------------------------------------------------------


def test_the_page_opens_and_waits_for_a_photograph(model):
    opened = page()
    assert not opened.exception
    assert not opened.error
    assert not opened.header
    assert {".jpg", ".png", ".webp", ".tif"} <= set(opened.file_uploader[0].allowed_type)


def test_the_uploader_states_formats_and_limits(model):
    label = page().file_uploader[0].label
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert f"{config['server']['maxUploadSize']} MB" in label
    assert label.startswith(READABLE)
    assert f"{MAX_PHOTOS} at a time" in label


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such model file"), (b"a letter", "not a checkpoint")]
)
def test_without_a_usable_model_the_page_says_what_to_do(monkeypatch, tmp_path, content, message):
    path = tmp_path / "model.pth"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    opened = page()
    assert not opened.exception
    (error,) = opened.error
    text = error.value.replace("\\", "")  # escaped for Markdown
    assert text.startswith("model.pth: ")
    assert str(tmp_path) not in text  # where the server keeps it is none of a visitor's business
    assert message in text
    assert "train" in text


def test_a_device_that_is_not_here_is_said_in_one_sentence(model, monkeypatch):
    monkeypatch.setenv("CAPTIONING_DEVICE", "abacus")
    opened = page()
    assert not opened.exception
    (error,) = opened.error
    assert error.value.startswith("device abacus cannot be used here")
    assert error.value.endswith("choose auto, cpu or another one.")


ASKED = {"CAPTIONING_DEVICE": "cpu", "CAPTIONING_ENGINE": "onnx", "CAPTIONING_PRECISION": "int8"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, EngineConfig(device="auto")),
        (dict.fromkeys(ASKED, ""), EngineConfig(device="auto")),
        (ASKED, EngineConfig("onnx", "int8", "cpu")),
    ],
)
def test_the_model_is_run_as_the_environment_says(
    monkeypatch, tmp_path, checkpoint_path, environment, expected
):
    asked = []

    def load(path, running):
        asked.append(running)
        return original(path, EngineConfig())

    original = Captioner.load_with
    monkeypatch.setattr(Captioner, "load_with", load)
    path = tmp_path / "model.pth"  # one that no other test has loaded
    path.symlink_to(checkpoint_path)
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    for name in ASKED:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not page().exception
    assert asked == [expected]


def test_an_engine_that_there_is_not_is_named_on_the_page(monkeypatch):
    monkeypatch.setenv("CAPTIONING_ENGINE", "steam")
    shown = page()
    assert not shown.exception
    assert any("there is no engine steam" in error.value for error in shown.error)


def test_a_model_file_that_appears_later_is_loaded(monkeypatch, tmp_path, checkpoint_path):
    path = tmp_path / "model.pth"
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    opened = page()
    assert opened.error
    path.symlink_to(checkpoint_path)
    opened.run()
    assert not opened.error
    assert opened.file_uploader


def test_another_model_can_be_chosen(model):
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    setting(shown, "selectbox", "Model").select(SHIPPED_MODEL).run()
    assert not shown.exception
    assert [header.value for header in shown.header] == [Captioner.load()(content).sentence]


# A photograph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_photograph_gives_its_caption_and_one_map_per_word(model, captioner, kind):
    content = photograph(kind)
    shown = upload(page(), (f"photo.{kind.lower()}", content))
    expected = captioner(content)
    assert not shown.exception
    assert not shown.error
    assert [header.value for header in shown.header] == [expected.sentence]
    maps = small_maps(shown)
    assert [image.caption.split(" · ")[0] for image in maps] == list(expected.words)
    assert [image.caption.split(" · ")[1].split()[0] for image in maps] == [
        percent(probability) for probability in expected.probabilities
    ]


def test_every_word_has_its_button(model, captioner):
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    options = shown.button_group[0].options
    assert len(set(options)) == len(options)
    assert [option.strip("\N{WORD JOINER}") for option in options] == list(captioner(content).words)


def test_each_alternative_is_listed_with_its_probability(model, captioner):
    content = photograph()
    shown = texts(upload(page(), ("photo.jpg", content)))
    alternatives = captioner(content).alternatives
    assert len(alternatives) == 3
    for other in alternatives:
        assert f"{other.sentence} (" in shown


def test_the_search_starts_at_the_models_settings_and_can_be_changed(model, captioner):
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    assert setting(shown, "slider", "Beam width").value == captioner.decoding.beam
    assert setting(shown, "slider", "Length penalty").value == captioner.decoding.length_penalty
    assert "Other captions it considered" in [element.value for element in shown.subheader]

    setting(shown, "slider", "Beam width").set_value(1).run()
    assert [header.value for header in shown.header] == [captioner(content, beam=1).sentence]
    assert "Other captions it considered" not in [element.value for element in shown.subheader]

    setting(shown, "slider", "Beam width").set_value(6)
    setting(shown, "slider", "Length penalty").set_value(0.0).run()
    expected = captioner(content, beam=6, length_penalty=0.0)
    assert [header.value for header in shown.header] == [expected.sentence]


def test_a_bare_caption_is_bare_everywhere(model, captioner):
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    assert captioner(content).sentence in [code.value for code in shown.code]
    setting(shown, "toggle", "Write sentences").set_value(False).run()
    expected = captioner(content)
    assert [header.value for header in shown.header] == [expected.text]
    plain, html = (code.value for code in shown.code)
    assert (plain, html) == (expected.text, as_html("photo.jpg", expected.text))


def test_the_strength_of_the_overlay_can_be_changed(model):
    shown = upload(page(), ("photo.jpg", photograph()))
    before = [image.url for image in large_maps(shown)]
    strength = setting(shown, "slider", "Overlay strength")
    assert strength.value == STRENGTH
    strength.set_value(0.0).run()
    after = [image.url for image in large_maps(shown)]
    assert not set(before) & set(after)
    assert after[0] == after[1]  # the photograph alone


def test_an_unsure_caption_comes_with_a_warning(monkeypatch, tmp_path, checkpoint_path, captioner):
    content = photograph()
    confidence = captioner(content).confidence
    path = tmp_path / "tiny.pth"
    path.symlink_to(checkpoint_path)
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    for least_sure, warned in ((confidence + 0.1, True), (confidence - 0.1, False)):
        bins = [
            {"probability": least_sure, "CIDEr-D": 20.0, "images": 20},
            {"probability": least_sure, "CIDEr-D": 70.0, "images": 80},
        ]
        figures = {"sha256": file_hash(path), "calibration": {"of": "CIDEr-D", "bins": bins}}
        (tmp_path / "results.json").write_text(json.dumps(figures))
        os.utime(checkpoint_path, (0, 1000 * least_sure))  # so that it is loaded again
        shown = upload(page(), ("photo.jpg", content))
        assert len(shown.warning) == warned
        if warned:
            assert "20 CIDEr-D on average, the others 70" in shown.warning[0].value


def test_an_unusual_picture_comes_with_a_warning(monkeypatch, tmp_path, checkpoint):
    parts = np.zeros(2048), np.zeros((0, 2048)), np.ones(1), np.array([0.0, 1e-3])
    detector = NoveltyDetector(*(part.astype(np.float32) for part in parts))
    save_checkpoint(replace(checkpoint, novelty=detector), tmp_path / "wary.pth")
    monkeypatch.setenv("CAPTIONING_MODEL", str(tmp_path / "wary.pth"))
    shown = upload(page(), ("photo.jpg", photograph()))
    assert [warning.value for warning in shown.warning] == [UNUSUAL_WARNING]
    assert len(shown.header) == 1  # the caption is there all the same


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000)])
def test_a_strip_or_a_single_pixel_is_shown_like_any_photograph(model, size):
    shown = upload(page(), ("strip.png", photograph("PNG", *size)))
    assert not shown.exception
    assert len(shown.header) == 1


@pytest.mark.parametrize(
    "content", [b"", b"no photograph", photograph()[:900]], ids=["empty", "text", "half"]
)
def test_a_broken_file_gives_a_sentence_and_the_page_stays_usable(model, content):
    shown = upload(page(), ("my_*photo*.jpg", content))
    assert not shown.exception
    assert not shown.header
    (error,) = shown.error
    assert error.value.startswith(r"my\_\*photo\*.jpg is")
    assert error.value.endswith(".")

    upload(shown, ("photo.jpg", photograph()))
    assert not shown.error
    assert len(shown.header) == 1


def test_an_example_is_captioned_and_credited(model, captioner):
    opened = page()
    for example in examples():
        assert example.credit in texts(opened)
    setting(opened, "button", "Coffee").click().run()
    expected = captioner(next(e.path for e in examples() if e.title == "Coffee"))
    assert [header.value for header in opened.header] == [expected.sentence]


# Many photographs -------------------------------------------------------------------------------


FILES = [(f"{seed}.png", photograph("PNG", seed=seed)) for seed in range(9)]


def table(page):
    """The rows of the table of captions."""
    (editor,) = page.dataframe
    return editor.value.to_dict("records")


def test_many_photographs_give_a_table_and_a_broken_file_leaves_them_alone(model, captioner):
    shown = upload(page(), *FILES[:4], ("bad.jpg", b"no photograph"), *FILES[4:])
    assert not shown.exception
    assert [error.value.split(" is ")[0] for error in shown.error] == ["bad.jpg"]
    rows = table(shown)
    assert [row["File"] for row in rows] == [name for name, _ in FILES]
    expected = [caption.sentence for caption in captioner.stream(c for _, c in FILES)]
    assert [row["Caption"] for row in rows] == expected
    for row in rows:
        kind, _, content = row["Photograph"].partition(",")
        assert kind == "data:image/jpeg;base64"
        Image.open(io.BytesIO(base64.b64decode(content))).verify()


def test_each_of_many_can_be_viewed(model, captioner):
    shown = upload(page(), *FILES[:3])
    setting(shown, "selectbox", "Photograph").select_index(2).run()
    assert [header.value for header in shown.header] == [captioner(FILES[2][1]).sentence]


def test_files_with_the_same_name_are_numbered(model):
    shown = upload(page(), ("a.png", FILES[0][1]), ("a.png", FILES[1][1]))
    assert [row["File"] for row in table(shown)] == ["a.png", "a (2).png"]


def test_the_page_names_the_command_that_trains_the_shipped_model_further(model):
    """From scratch, the few captions that the page takes would teach a model nothing."""
    (code,) = [
        line.split("`")[1]
        for line in texts(upload(page(), *FILES[:2])).splitlines()
        if "`python main.py" in line
    ]
    flags = trainer.parse_arguments(shlex.split(code)[2:])
    assert ROOT / flags.init == SHIPPED_MODEL
    assert (flags.captions, flags.images) == ((Path("captions.csv"),), (Path("FOLDER"),))


def test_the_page_says_that_it_captions_only_so_many_photographs(model):
    many = [(f"{i}.png", FILES[i % 9][1]) for i in range(MAX_PHOTOS + 2)]
    shown = upload(page(), *many)
    assert not shown.exception
    assert f"first {MAX_PHOTOS} of {len(many)} photographs" in shown.warning[0].value
    assert "upload the others afterwards" in shown.warning[0].value
    assert len(table(shown)) == MAX_PHOTOS


# The other pages --------------------------------------------------------------------------------


def opened_at(name):
    """Another page, without the navigation."""
    code = f"from captioning.app import {name}_page\n{name}_page.main()\n"
    return AppTest.from_string(code, default_timeout=SECONDS).run()


def test_the_third_page_is_the_model_card():
    shown = opened_at("about")
    assert not shown.exception
    assert "Biases" in texts(shown)


# The server -------------------------------------------------------------------------------------


def test_the_server_starts_and_answers(checkpoint_path):
    with serving(CAPTIONING_MODEL=str(checkpoint_path)) as (address, _):
        for path, expected in (("/_stcore/health", "ok"), ("", "<html")):
            with urllib.request.urlopen(address + path, timeout=SECONDS) as reply:
                assert expected in reply.read().decode()


def test_the_server_asks_for_nothing_and_sends_no_statistics():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["headless"] is True
    assert config["browser"]["gatherUsageStats"] is False
