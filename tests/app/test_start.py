"""captioning-app: its flags, and the server that it starts from any folder."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from captioning.app.__main__ import SCRIPT, SETTINGS, parse_arguments
from captioning.app.options import Options
from tests.app.server import health
from tools.browser import free_port

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
# What Streamlit's command line makes of the flags, without starting a server.
EFFECTIVE = """
import json, os, sys
from streamlit import config
from streamlit.web import bootstrap, cli
def run(script, is_hello, args, flag_options, **_):
    bootstrap.load_config_options(flag_options)
    values = {name: config.get_option(name) for name in json.loads(os.environ["NAMES"])}
    print(json.dumps([script, values]))
def run_asgi_app(script, app, args, flag_options):
    assert app.endswith(":app")  # what limits uploads is in it
    run(script, False, args, flag_options)
bootstrap.run_asgi_app = run_asgi_app
from captioning.app.__main__ import main
main(sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("CAPTIONING_MODEL", "CAPTIONING_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def flattened(settings, prefix=""):
    """Settings by their dotted names."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def run_elsewhere(folder, code, *arguments, **environment):
    """Run Python code in another folder, with this checkout's package."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_the_options_travel_through_the_environment():
    for options in (Options(), Options(Path("a b.pth"), "cuda"), Options(device="cpu")):
        assert Options.from_environment(options.as_environment()) == options


def test_flags_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("CAPTIONING_MODEL", "theirs.pth")
    monkeypatch.setenv("CAPTIONING_DEVICE", "cuda")
    assert parse_arguments([]).options == Options(Path("theirs.pth"), "cuda")
    flags = parse_arguments(["--model", "mine.pth", "--device", "cpu", "--port", "8600"])
    assert (flags.options, flags.port) == (Options(Path("mine.pth"), "cpu"), 8600)


@pytest.mark.parametrize(
    "arguments", [["--device", "gpu"], ["--port", "0"], ["--port", "65536"], ["--port", "x"]]
)
def test_wrong_flags_give_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(arguments)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("usage: captioning-app")
    assert arguments[0] in lines[-1]


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(["--help"])
    text = capsys.readouterr().out
    for word in ("--model", "--device {auto,cpu,cuda}", "--port", "CAPTIONING_DEVICE"):
        assert word in text


def test_the_settings_of_the_checkout_hold_in_any_folder(tmp_path):
    assert SETTINGS == ROOT / ".streamlit" / "config.toml"
    settings = dict(flattened(tomllib.loads(SETTINGS.read_text(encoding="utf-8"))))
    names = json.dumps([*settings, "server.port"])
    done = run_elsewhere(tmp_path, EFFECTIVE, "--port", "8600", NAMES=names, HOME=str(tmp_path))
    script, values = json.loads(done.stdout.splitlines()[-1])
    assert script == str(SCRIPT)
    assert values == settings | {"server.port": 8600}


def test_the_command_starts_the_app_in_any_folder(tmp_path, checkpoint_path):
    port = free_port()
    command = [sys.executable, "-m", "captioning.app", "--model", str(checkpoint_path)]
    command += ["--device", "cpu", "--port", str(port)]
    assert health(command, port, tmp_path, PYTHONPATH=str(ROOT)) == "ok"
