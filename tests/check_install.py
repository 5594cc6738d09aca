"""The wheel in a fresh environment, used from another folder: make test-install

Not collected by pytest on its own: it builds the wheel, which takes half a minute.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from captioning.app.examples import examples
from tests.app.server import health
from tools.browser import free_port

ROOT = Path(__file__).resolve().parent.parent
# What the wheel is built from; a copy, because setuptools would also pack what an earlier build
# has left in the checkout.
SOURCES = (
    *("captioning", "model", ".streamlit"),
    *("pyproject.toml", "README.md", "LICENSE"),
)
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"
# The installed page in Streamlit's test harness: what it offers, and what a click gives.
CLICK = """
from streamlit.testing.v1 import AppTest
from captioning.app.application import PAGES
page = AppTest.from_file(PAGES, default_timeout=60).run()
print(*[button.label for button in page.button], sep="\\n")
page.button[0].click().run()
print(len(page.header), "caption,", "an" if page.exception else "no", "exception")
"""
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command, folder):
    """The output of a command in a folder, which no variable points back to this checkout."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CAPTIONING"))
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    build = (*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir")
    run(sys.executable, *build, folder, source, folder=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory):
    """The folder of the commands of a fresh environment into which the wheel is installed."""
    environment = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=environment)
    commands = environment / "bin"
    install = ("--python", commands / "python", "install", "--no-deps", "--no-index", wheel)
    run(sys.executable, *PIP, *install, folder=environment)
    # The dependencies, five gigabytes, are those of this environment. Its editable copy of the
    # package is not among them: of a folder named in a .pth file, no .pth file is read.
    here = run(commands / "python", "-c", PURELIB, folder=environment).strip()
    (Path(here) / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return commands


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with a photograph, far from the checkout."""
    shutil.copy(examples()[0].path, tmp_path / "photo.jpg")
    return tmp_path


def test_the_package_is_the_installed_one(commands, elsewhere):
    code = "import captioning; print(captioning.__file__)"
    path = Path(run(commands / "python", "-c", code, folder=elsewhere).strip())
    assert path.is_relative_to(commands.parent)
    for name in ("tools", "tests", "model", "main"):
        assert not (path.parents[1] / name).exists()
        assert not (path.parents[1] / f"{name}.py").exists()


def test_the_command_knows_its_version(commands, elsewhere):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = run(commands / "captioning", "--version", folder=elsewhere)
    assert version == f"captioning {project['version']}\n"


def test_the_command_captions_a_photograph_with_the_model_in_the_wheel(commands, elsewhere):
    sentence = run(commands / "captioning", "photo.jpg", folder=elsewhere)
    assert sentence == run(sys.executable, "-m", "captioning", elsewhere / "photo.jpg", folder=ROOT)
    assert len(sentence.split()) > 3


def test_every_module_can_be_imported(commands, elsewhere):
    modules = [path.relative_to(ROOT) for path in (ROOT / "captioning").rglob("*.py")]
    names = [".".join(path.with_suffix("").parts) for path in modules]
    run(commands / "python", "-c", f"import {', '.join(names)}", folder=elsewhere)


def test_the_app_starts_and_answers(commands, elsewhere):
    port = free_port()
    command = [str(commands / "captioning-app"), "--port", str(port)]
    assert health(command, port, elsewhere, PYTHONPATH="") == "ok"


def test_the_apps_page_shows_the_example_photographs_and_a_caption(commands, elsewhere):
    titles = run(commands / "python", "-c", CLICK, folder=elsewhere).splitlines()
    assert titles == ["Astronaut", "Cat", "Coffee", "Rocket", "1 caption, no exception"]
