"""The Makefile passes on what was typed."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make(tmp_path):
    """Run make with a Python that prints its arguments."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)

    def make(*arguments, **environment):
        return subprocess.run(
            ["make", "-s", "-o", ".venv/.ready", *arguments, f"BIN={tmp_path}"],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )

    return make


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
