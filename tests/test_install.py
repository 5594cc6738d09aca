"""What goes into the wheel: every subpackage, every data file, and nothing that it lacks."""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MODULES = sorted((ROOT / "captioning").rglob("*.py"))
OPTIONAL = {"pycocoevalcap", "pyarrow", "pillow_heif", "ray"}  # of the extras


def folder_of(package):
    """Where the files of a package are in the checkout."""
    mapped = SETUPTOOLS["package-dir"].get(package)
    return ROOT / (mapped or package.replace(".", "/"))


def packaged_data():
    """The files other than modules that go into the wheel."""
    return {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in folder_of(package).glob(pattern)
    }


def test_every_subpackage_is_packaged():
    folders = {path.parent.relative_to(ROOT) for path in MODULES if path.name == "__init__.py"}
    packages = {".".join(folder.parts) for folder in folders}
    assert sorted(SETUPTOOLS["packages"]) == sorted(packages | set(SETUPTOOLS["package-dir"]))
    assert {path.parent for path in MODULES} == {ROOT / folder for folder in folders}


def test_mapped_folders_hold_no_code():
    for package in SETUPTOOLS["package-dir"]:
        assert list(folder_of(package).rglob("*.py")) == []
        assert not (ROOT / package.replace(".", "/")).exists()


def test_every_data_file_is_packaged():
    files = {path for path in (ROOT / "captioning").rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in (".py", ".pyc")}
    model = "image_captioning_model"
    names = (f"{model}.pth", f"{model}.ranges.json", "README.md", "results.json")
    shipped = {ROOT / "model" / name for name in names} | {ROOT / ".streamlit" / "config.toml"}
    assert packaged_data() == data | shipped


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_every_command_exists(command):
    module, name = PROJECT["project"]["scripts"][command].split(":")
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    functions = ast.parse(path.read_text(encoding="utf-8")).body
    assert name in {node.name for node in functions if isinstance(node, ast.FunctionDef)}


def parts(*extras):
    """What the base and these extras require, by distribution; an extra may contain another."""
    project = PROJECT["project"]
    lists = [project["optional-dependencies"][name] for name in extras]
    needed = [Requirement(text) for part in (project["dependencies"], *lists) for text in part]
    own = [one for one in needed if one.name == project["name"]]
    inner = parts(*(name for one in own for name in one.extras)) if own else {}
    return inner | {one.name: one for one in needed if one not in own}


def required():
    """What requirements.txt names, by distribution."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {one.name: one for one in map(Requirement, lines)}


def test_requirements_txt_is_everything_that_runs():
    assert required() == parts("app", "openvino", "score", "train")


def test_an_extra_that_names_a_package_again_names_the_same_versions():
    project = PROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    found = {}
    for one in (Requirement(text) for part in lists for text in part):
        found.setdefault(one.name, set()).add(str(one))
    assert {name: texts for name, texts in found.items() if len(texts) > 1} == {}


def test_captions_need_no_more_than_one_engine():
    assert set(parts()) == {"numpy", "onnxruntime", "pillow", "tqdm", "turbohtml"}
    assert "torch" not in parts("app", "openvino", "score")


def imported():
    """The packages that the modules import, without Python's and ours."""
    names = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"captioning"} - OPTIONAL


def test_everything_that_is_imported_is_required():
    """The check of the installed wheel borrows its dependencies, and would not notice."""
    distributions = metadata.packages_distributions()
    missing = {n for n in imported() if not set(required()) & {d.lower() for d in distributions[n]}}
    assert missing == set()
