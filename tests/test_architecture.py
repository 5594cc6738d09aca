"""Imports point one way: the table of CONTRIBUTING.md, read from the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "captioning"

MAY_IMPORT = {
    "files": set(),
    "vocab": set(),
    "images": set(),
    "metrics": set(),
    "resnet": set(),
    "model": {"resnet"},
    "losses": set(),
    "plots": set(),
    "ptb": set(),
    "objects": set(),
    "uncertainty": set(),
    "meteor": {"uncertainty"},
    "scoring": {"metrics", "objects", "ptb", "uncertainty"},
    "caption_files": {"vocab"},
    "data": {"caption_files", "files", "vocab", "images"},
    "checkpoint": {"files", "vocab", "images", "model"},
    "growth": {"checkpoint", "vocab"},
    "pretrained": {"checkpoint", "model"},
    "card": {"checkpoint"},
    "inference": {"model", "resnet"},
    "engine": {"model", "inference", "checkpoint"},
    "decode": set(),
    "captioner": {"checkpoint", "engine", "decode", "images", "vocab"},
    "export": {"captioner"},
    "session": {"captioner"},
    "confidence": set(),
    "examples": set(),
    "results": set(),
    "candidates": {"caption_files"},
    "baselines": {"caption_files", "data", "images", "vocab"},
    "report": {"plots"},
    "evaluate": {"engine", "decode", "caption_files", "data", "metrics", "ptb", "vocab"},
    "faithfulness": {"decode", "model", "uncertainty", "vocab"},
    "assessment": {
        *("evaluate", "faithfulness", "meteor", "objects", "scoring", "uncertainty"),
    },
    "augment": {"caption_files", "data", "images"},
    "resume": {"checkpoint", "files"},
    "train": {
        *("augment", "model", "losses", "data", "checkpoint", "evaluate", "files", "resume"),
        "vocab",
    },
    "reinforce": {"losses", "metrics", "model", "data", "train", "vocab"},
    "__init__": {"captioner"},
}
ANYTHING = set(MAY_IMPORT) - {"__init__"}
DOORS = {
    "__main__": PACKAGE / "__main__.py",
    "main": ROOT / "main.py",
    "bleu_scorer": ROOT / "bleu_scorer.py",
    "streamlit_app": ROOT / "streamlit_app.py",
    **{f"app_pages/{path.stem}": path for path in sorted((ROOT / "app_pages").glob("*.py"))},
    "bench": ROOT / "bench.py",
    "judge": ROOT / "judge.py",
}
WITHOUT_TORCH = {
    *(
        "files",
        "vocab",
        "images",
        "metrics",
        "plots",
        "card",
        "ptb",
        "objects",
        "uncertainty",
        "meteor",
    ),
    *("scoring", "candidates", "report", "assessment", "export", "confidence"),
    *("examples", "results", "session", "caption_files"),
}
# What a room must never know, beside what it may not import of ours.
FOREIGN = {
    "streamlit": {"streamlit_app", *(door for door in DOORS if door.startswith("app_pages/"))},
    "argparse": set(DOORS),
    "matplotlib": {"plots"},
    "torch": ANYTHING - WITHOUT_TORCH | {"main", "bleu_scorer", "bench"},
}


def imported(path: Path) -> tuple[set[str], set[str]]:
    """The modules of ours and the foreign packages that a file imports."""
    ours, foreign = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "captioning":
            names = [f"captioning.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module or ""]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "captioning":
                ours.add(rest.partition(".")[0])
            else:
                foreign.add(first)
    return ours, foreign


def rooms() -> dict[str, Path]:
    return {path.stem: path for path in PACKAGE.glob("*.py")} | DOORS


def test_every_module_has_a_row_in_the_table():
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(MAY_IMPORT) | {"__main__"}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_module_imports_only_what_its_row_allows(name):
    ours, _ = imported(PACKAGE / f"{name}.py")
    assert ours <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", DOORS)
def test_a_door_imports_no_other_door(name):
    ours, foreign = imported(DOORS[name])
    assert not foreign & set(DOORS)
    assert ours <= ANYTHING | {"Captioner", "Caption", "Failure"}


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_only_where_it_belongs(package):
    knowing = {name for name, path in rooms().items() if package in imported(path)[1]}
    assert knowing <= FOREIGN[package]


def test_the_table_has_no_circles():
    order: list[str] = []
    remaining = dict(MAY_IMPORT)
    while remaining:
        ready = [name for name, uses in remaining.items() if uses <= set(order)]
        assert ready, f"a circle among {sorted(remaining)}"
        order += ready
        for name in ready:
            del remaining[name]


def test_no_two_rows_of_the_contributors_table_and_this_one_differ():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    written = {
        file.strip(" `"): {
            word.strip(" `") for word in uses.split(",") if word.strip() != "nothing"
        }
        for file, uses in rows
    }
    assert written == {name: uses for name, uses in MAY_IMPORT.items() if name != "__init__"}
