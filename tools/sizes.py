"""What set-ups cost: megabytes on disk, and seconds: python -m tools.sizes

python -m tools.sizes             every set-up: minutes, and some gigabytes for a while
python -m tools.sizes base app    only these; the others keep what was measured before

Each is installed into a fresh environment in a temporary folder. The figures go to docs/sizes.json,
and from there into the README.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from captioning.errors import CaptioningError
from captioning.evaluation.markdown import paragraph
from captioning.files import write_text
from captioning.network.shipped import SHIPPED_MODEL
from tools.marks import with_part
from tools.timing import processor

ROOT = Path(__file__).resolve().parents[1]
RESULT, README = ROOT / "docs" / "sizes.json", ROOT / "README.md"
# What pip builds the package of: a copy, because it leaves files where it builds.
SOURCES = ("captioning", "model", ".streamlit", "pyproject.toml", "README.md", "LICENSE")
TARGET = 260  # MB, that `pip install .` should not take more than
_BLOCK = 512  # bytes, the unit in which systems count what a file takes
_MB = 10**6


class SetUp(NamedTuple):
    """A way to install: what pip is given, and what it is for."""

    words: tuple[str, ...]
    gives: str


SET_UPS = {
    "empty": SetUp((), "nothing: Python's own environment, with pip"),
    "base": SetUp((".",), "captions, with ONNX Runtime"),
    "openvino": SetUp((".[openvino]",), "captions, with OpenVINO too"),
    "app": SetUp((".[app]",), "captions, the app, pictures of maps"),
    "everything": SetUp(("-r", "requirements.txt"), "all of it, from a checkout: training too"),
}


def allocated(folder: Path) -> int:
    """The bytes that the files in a folder take on the disk, each once, links not followed."""
    taken = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = os.lstat(os.path.join(parent, name))
            taken[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    return sum(taken.values())


def measure(name: str) -> dict[str, Any]:
    """Install a set-up into a fresh environment: megabytes, of these the model, and seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        environment, source = Path(temporary, "environment"), Path(temporary, "source")
        source.mkdir()
        for each in (*SOURCES, "requirements.txt"):
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            copy(ROOT / each, source / each)
        start = time.monotonic()
        _run(sys.executable, "-m", "venv", environment, folder=source)
        if words := SET_UPS[name].words:
            pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
            _run(environment / "bin" / "python", *pip, "install", *words, folder=source)
        seconds = time.monotonic() - start
        models = environment.rglob(SHIPPED_MODEL.name)
        return {
            "megabytes": round(allocated(environment) / _MB),
            "of these the model": round(sum(path.stat().st_size for path in models) / _MB),
            "seconds": round(seconds),
        }


def _run(*command: str | Path, folder: Path) -> None:
    """Run a command in a folder; raises CaptioningError where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=folder)
    if done.returncode:
        words = " ".join(map(str, command))
        raise CaptioningError(f"{words}: failed with status {done.returncode}")


def table(content: Mapping[str, Any]) -> str:
    """The set-ups that were measured, as a table of Markdown."""
    return "\n".join(
        [
            "| set-up | gives | MB | of these the model | seconds |",
            "|---|---|---|---|---|",
            *_rows(content["set-ups"]),
        ]
    )


def _rows(measured: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for name, set_up in SET_UPS.items():
        if name in measured:
            cells = (f"{value:,}" for value in measured[name].values())
            yield f"| {_command(set_up)} | {set_up.gives} | {' | '.join(cells)} |"


def _command(set_up: SetUp) -> str:
    """What one types, as code."""
    quoted = (f"'{word}'" if "[" in word else word for word in set_up.words)
    return f"`pip install {' '.join(quoted)}`" if set_up.words else "`python -m venv`"


def section(content: Mapping[str, Any]) -> str:
    """What the README says between its marks."""
    base = content["set-ups"]["base"]
    over = base["megabytes"] - TARGET
    verdict = f"misses that by {over:,}" if over > 0 else "keeps to that"
    return "\n\n".join(
        [
            table(content),
            paragraph(
                "Counted is what the files of the whole environment take on the disk, in millions "
                f"of bytes, pip among them. The aim was that `pip install .` takes at most "
                f"{TARGET} MB; it {verdict}, and {base['of these the model']} of its "
                f"{base['megabytes']:,} MB are the model. The seconds are with downloads from a "
                f"package index nearby, on {content['processor']}, Python {content['python']}, "
                f"{content['system']}."
            ),
        ]
    )


def read_measured(machine: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured before, unless that was on another machine."""
    if not RESULT.exists():
        return {}
    content = json.loads(RESULT.read_text(encoding="utf-8"))
    same = all(content[name] == value for name, value in machine.items())
    return dict(content["set-ups"]) if same else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.sizes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SET_UPS)}")
    names = parser.parse_args(arguments).names or list(SET_UPS)
    if unknown := [name for name in names if name not in SET_UPS]:
        parser.error(f"there is no set-up {unknown[0]}; choose from {', '.join(SET_UPS)}")
    system = f"{platform.system()} {platform.machine()}"
    machine = {"processor": processor(), "python": platform.python_version(), "system": system}
    try:
        measured = read_measured(machine)
        for name in names:
            measured[name] = measure(name)
            print(name, measured[name], flush=True)
        content = machine | {"set-ups": {n: measured[n] for n in SET_UPS if n in measured}}
        write_text(RESULT, json.dumps(content, indent=2) + "\n")
        write_text(README, with_part(README.read_text(encoding="utf-8"), "sizes", section(content)))
    except (CaptioningError, OSError) as error:
        print(f"tools.sizes: {error}", file=sys.stderr)
        return 1
    print(table(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
