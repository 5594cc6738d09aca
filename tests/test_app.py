"""The app: its page run by Streamlit's own test harness, and its server as make app starts it."""

import io
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "streamlit_app.py"
SECONDS = 60  # ample, for a machine that does other things too


def photograph(kind="JPEG", width=120, height=80, seed=0):
    """The bytes of a photograph of coloured blots."""
    blots = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blots).resize((width, height)).save(file, kind)
    return file.getvalue()


def page():
    """The page, freshly opened."""
    return AppTest.from_file(APP, default_timeout=SECONDS).run()


def upload(page, name, content):
    """The page after a file was given to it."""
    return page.file_uploader[0].upload(name, content).run()


def images(page):
    """The images on the page, as the browser is told of them."""
    return [image for element in page.get("image") for image in element.proto.imgs]


def texts(page):
    """All that the page says outside its images."""
    return "\n".join(element.value for element in (*page.title, *page.header, *page.markdown))


@pytest.fixture
def model(monkeypatch, checkpoint_path):
    """The app's model is the tests' small one."""
    monkeypatch.setenv("CAPTIONING_MODEL", str(checkpoint_path))


# A model, or none -------------------------------------------------------------------------------


def test_the_page_opens_and_waits_for_a_photograph(model):
    opened = page()
    assert not opened.exception
    assert not opened.error
    assert not opened.header
    assert {".jpg", ".png", ".webp", ".tif"} <= set(opened.file_uploader[0].allowed_type)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such model file"), (b"a letter", "not a checkpoint")]
)
def test_without_a_model_the_page_says_what_to_do(monkeypatch, tmp_path, content, said):
    path = tmp_path / "model.pth"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    opened = page()
    assert not opened.exception
    assert len(opened.error) == 1
    assert str(path) in opened.error[0].value
    assert said in opened.error[0].value
    assert "train" in opened.error[0].value


def test_a_model_that_comes_later_is_found(monkeypatch, tmp_path, checkpoint_path):
    path = tmp_path / "model.pth"
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    opened = page()
    assert opened.error
    path.symlink_to(checkpoint_path)
    opened.run()
    assert not opened.error
    assert opened.file_uploader


# A photograph -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_photograph_gives_its_caption_and_a_map_a_word(model, captioner, kind):
    content = photograph(kind)
    shown = upload(page(), f"photo.{kind.lower()}", content)
    expected = captioner(content)
    assert not shown.exception
    assert not shown.error
    assert [header.value for header in shown.header] == [expected.sentence]
    photo, *maps = images(shown)
    assert expected.sentence in photo.alt
    assert [image.caption for image in maps] == list(expected.words)


def test_the_maps_say_in_words_where_the_model_looked(model, captioner):
    content = photograph()
    maps = images(upload(page(), "photo.jpg", content))[1:]
    caption = captioner(content)
    for index, image in enumerate(maps):
        x, y = caption.peak(index)
        assert f"{x:.0%} from the left" in image.alt
        assert f"{y:.0%} from the top" in image.alt


def test_each_alternative_is_there_with_its_score(model, captioner):
    content = photograph()
    shown = texts(upload(page(), "photo.jpg", content))
    alternatives = captioner(content).alternatives
    assert len(alternatives) == 3
    for other in alternatives:
        assert f"{other.text[1:]}. ({other.score:.2f})" in shown


def test_the_beam_begins_as_the_model_wishes_and_changes_the_alternatives(model, captioner):
    content = photograph()
    shown = upload(page(), "photo.jpg", content)
    beam = shown.slider[0]
    assert beam.value == captioner.decoding.beam
    assert "Other captions" in [element.value for element in shown.subheader]

    beam.set_value(1).run()
    assert [header.value for header in shown.header] == [captioner(content, beam=1).sentence]
    assert "Other captions" not in [element.value for element in shown.subheader]

    shown.slider[0].set_value(6).run()
    for other in captioner(content, beam=6).alternatives:
        assert f"({other.score:.2f})" in texts(shown)


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000)])
def test_a_strip_or_a_dot_is_shown_like_any_photograph(model, size):
    shown = upload(page(), "strip.png", photograph("PNG", *size))
    assert not shown.exception
    assert len(shown.header) == 1


@pytest.mark.parametrize(
    "content", [b"", b"no photograph", photograph()[:900]], ids=["empty", "text", "half"]
)
def test_a_broken_file_gives_a_sentence_and_the_page_goes_on(model, content):
    shown = upload(page(), "photo.jpg", content)
    assert not shown.exception
    assert not shown.header
    (error,) = shown.error
    assert error.value.startswith("The image is")
    assert error.value.endswith(".")

    shown.file_uploader[0].set_value(("photo.jpg", photograph(), "image/jpeg")).run()
    assert not shown.error
    assert len(shown.header) == 1


# The server -------------------------------------------------------------------------------------


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(checkpoint_path):
    """The server's address, as make app starts it but for the port; ended after the test."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", APP.name, "--server.port", str(port)]
    environment = os.environ | {"CAPTIONING_MODEL": str(checkpoint_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL) as process:
        yield f"http://localhost:{port}", process
        process.kill()


def answer(address, process):
    """What an address answers, once it does."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                return reply.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"{address} did not answer; the server's exit status: {process.poll()}")


def test_the_server_starts_and_is_well(server):
    address, process = server
    assert answer(f"{address}/_stcore/health", process) == "ok"
    assert "<html" in answer(address, process)


def test_the_server_asks_nothing_and_tells_nobody():
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["address"] == "localhost"
    assert config["server"]["headless"] is True
    assert config["browser"]["gatherUsageStats"] is False
