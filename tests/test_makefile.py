"""The Makefile passes on what was typed, in the environment that has what it takes."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIGHT = ("app", "caption")  # what runs without PyTorch
# What the make that runs these tests would tell another one.
OUTER = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OUTER}
FULL = (
    *(
        "test",
        "test-cluster",
        "test-install",
        "train",
        "results",
        "bench",
        "sizes",
        "scale",
        "tour",
    ),
    "walkthrough",
    "bom",
)
# What tests with other versions, each in an environment of its own; PYTHON is python3 here.
OTHERS = {"test-lowest": ".venv-lowest", "test-python": ".venv-python3"}


@pytest.fixture
def make(tmp_path):
    """Run make with Pythons that print their arguments."""
    for name in ("full", "light"):
        (tmp_path / name).mkdir()
        python = tmp_path / name / "python"
        python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        python.chmod(0o755)
    ready = ("-o", ".venv/.ready", "-o", ".venv-light/.ready")

    def make(*arguments, **environment):
        return subprocess.run(
            ["make", "-s", *ready, *arguments, f"BIN={tmp_path}/full", f"LIGHT={tmp_path}/light"],
            cwd=ROOT,
            env=ENVIRONMENT | environment,
            capture_output=True,
            text=True,
        )

    return make


def plan(target, ready=()):
    """What make would run in a checkout whose marks in ``ready`` are there and new."""
    marks = [word for mark in ready for word in ("-o", mark)]
    command = ["make", "-n", "-B", *marks, target, "IMAGE=photo.jpg", "PYTHON=python3"]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize(
    "name", ["photo.jpg", "a$b.jpg", "a b.jpg", 'quo"te.jpg', "it's.jpg", "$(x).jpg", "`x`.jpg"]
)
def test_any_name_of_a_photograph_is_passed_on(make, name):
    for done in (make("caption", f"IMAGE={name}"), make("caption", IMAGE=name)):
        assert (done.returncode, done.stdout) == (0, f"-m\ncaptioning\n{name}\n"), done.stderr


def test_no_photograph_gets_a_sentence(make):
    done = make("caption")
    assert done.returncode != 0
    assert "name a photograph: make caption IMAGE=photo.jpg" in done.stdout


@pytest.mark.parametrize("target", LIGHT)
def test_what_captions_sets_up_the_light_environment_alone(target):
    commands = plan(target)
    assert "python3 -m venv .venv-light" in commands
    assert not any(".venv/" in command for command in commands)
    assert commands[-1].startswith(".venv-light/bin/python ")


@pytest.mark.parametrize("target", FULL)
def test_what_trains_and_tests_sets_up_the_full_environment_alone(target):
    commands = plan(target)
    assert "python3 -m venv .venv" in commands
    assert not any(".venv-light" in command for command in commands)
    assert commands[-1].startswith(".venv/bin/python ")


@pytest.mark.parametrize("target", OTHERS)
def test_other_versions_are_tested_in_an_environment_of_their_own(target):
    commands = plan(target)
    assert [word for word in commands if " -m venv " in word] == [
        f"python3 -m venv {OTHERS[target]}"
    ]
    assert commands[-2:] == [
        f"touch {OTHERS[target]}/.ready",
        f"{OTHERS[target]}/bin/python -m pytest",
    ]


def test_the_lowest_versions_are_told_to_pip():
    install = " ".join(plan("test-lowest"))
    assert ".venv-lowest/bin/python -m tools.lowest > .venv-lowest/constraints.txt" in install
    assert "install --quiet -c .venv-lowest/constraints.txt" in install


def test_both_environments_are_audited():
    commands = plan("audit")
    assert {"python3 -m venv .venv", "python3 -m venv .venv-light"} <= set(commands)
    assert commands[-1] == ".venv/bin/python -m tools.audit .venv .venv-light"


def test_the_light_environment_is_tested_by_the_full_one():
    commands = plan("test-light")
    assert {"python3 -m venv .venv", "python3 -m venv .venv-light"} <= set(commands)
    assert commands[-1] == ".venv/bin/python -m pytest tests/check_light.py"


@pytest.mark.parametrize("target", [*LIGHT, *FULL, *OTHERS, "test-light"])
def test_an_environment_is_marked_last_and_then_kept(target):
    marks = [".venv/.ready", ".venv/.tests-ready", ".venv-light/.ready"]
    marks += [f"{environment}/.ready" for environment in OTHERS.values()]
    commands = plan(target)
    for mark in marks:
        environment = mark.partition("/")[0]
        if f"touch {mark}" in commands:
            later = commands[commands.index(f"touch {mark}") + 1 :]
            assert f"python3 -m venv {environment}" not in later
    # A mark of the tests stands on another, which make does not ask for where it is there.
    kept = plan(target, marks)
    assert not any("venv " in command or "pip" in command for command in kept)


def test_cleaning_removes_both_environments():
    (command,) = plan("clean")
    assert {".venv", ".venv-light"} <= set(command.split())
