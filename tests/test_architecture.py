"""Imports point one way: the table of CONTRIBUTING.md, compared with the code."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "captioning"
MAX_ARROWS = 25
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 6
# Modules that know nothing of the rest; every part may import them.
FOUNDATION = {"errors", "files", "interrupts", "pictures", "plots", "processes"}
ENTRY_POINTS = {"main", "bleu_scorer", "streamlit_app"}
# Who may import a package that most modules should not need.
FOREIGN = {
    "streamlit": ("captioning.app", "streamlit_app", "tools.attacks"),
    "argparse": ("captioning.__main__", "captioning.app.__main__", "main", "bleu_scorer", "tools"),
    "matplotlib": (
        "captioning.plots",
        "tools.folders",
        "tools.strange_pictures",
        "tools.walkthrough",
    ),
    "onnxruntime": ("captioning.inference.onnx_runtime",),
    "openvino": ("captioning.inference.openvino_runtime",),
    "pyarrow": (
        *("captioning.batch.caption_parts", "captioning.batch.cluster_actor"),
        *("captioning.batch.cluster_run", "captioning.batch.parquet_sources"),
        *("captioning.batch.stores", "captioning.batch.tables"),
        "tools.attacks.small_folder",
    ),
    "ray": ("captioning.batch.cluster", "tools.scale"),
    "torchvision": (
        "captioning.data.augment",
        "captioning.evaluation.model_systems",
        "captioning.network.pretrained",
        "tools",
    ),
    "torch": (
        "captioning.processes",
        *("captioning.data.augment", "captioning.data.dataset", "captioning.data.features"),
        *("captioning.network.classifier", "captioning.network.decoder"),
        *("captioning.network.encoder", "captioning.network.fast"),
        *("captioning.network.model", "captioning.network.occlusion"),
        *("captioning.network.pretrained", "captioning.network.saved_network"),
        "captioning.network.vocabulary_growth",
        "captioning.inference.torch_engine",
        *("captioning.evaluation.evaluate", "captioning.evaluation.faithfulness"),
        "captioning.evaluation.model_systems",
        *("captioning.training", "tools"),
    ),
}


class Arrow(NamedTuple):
    """A part of the package that imports another."""

    part: str
    imported: str


def modules() -> dict[str, Path]:
    """Every module outside the tests, by its dotted name."""
    paths = [*PACKAGE.rglob("*.py"), *(ROOT / "tools").rglob("*.py"), *ROOT.glob("*.py")]
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}
    return {name: path for path, name in names.items() if name != "conftest"}


MODULES = modules()


def nodes(path: Path, at_run_time: bool) -> Iterator[ast.AST]:
    """The nodes of a file's syntax tree, without what only type checkers see."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        yield node
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def imports(path: Path, at_run_time: bool = False) -> Iterator[str]:
    """The dotted names that a file imports."""
    for node in nodes(path, at_run_time):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


def module_of(name: str) -> str:
    """A package is its ``__init__``."""
    return name if name in MODULES else f"{name}.__init__"


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: ``data`` for ``captioning.data.vocab``."""
    return module.split(".")[1]


def own_imports(module: str) -> set[str]:
    return {module_of(name) for name in imports(MODULES[module]) if name.startswith("captioning")}


def arrows() -> set[Arrow]:
    """What the code does: arrows between parts, those to the foundation left out."""
    package = [name for name in MODULES if name.startswith("captioning.")]
    found = {Arrow(part_of(m), part_of(used)) for m in package for used in own_imports(m)}
    return {a for a in found if a.part != a.imported and a.imported not in FOUNDATION}


def table() -> list[Arrow]:
    """What CONTRIBUTING.md allows, in its order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    return [
        Arrow(part.strip(" `"), word.strip(" `"))
        for part, words in rows
        for word in words.split(",")
        if word.strip() != "nothing"
    ]


def parts() -> list[str]:
    """The rows of the table, from the bottom of the package to its top."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]


def test_every_import_between_parts_is_in_the_table_and_every_row_is_used():
    assert sorted(arrows()) == sorted(table())
    assert len(table()) <= MAX_ARROWS


def test_the_table_has_a_row_for_every_part():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    top = {path.stem for path in PACKAGE.glob("*.py")} - FOUNDATION
    assert sorted(parts()) == sorted(folders | top)


def test_the_drawn_tree_has_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text.partition("```\n")[2].partition("```")[0]
    for name, path in MODULES.items():
        if path.name != "__init__.py":
            assert path.stem in tree, name
    drawn = set(re.findall(r"[a-z_]+\.py", tree))
    assert drawn <= {path.name for path in MODULES.values()}


def test_arrows_point_from_the_top_of_the_table_to_its_bottom():
    order = parts()
    assert [a for a in table() if order.index(a.imported) >= order.index(a.part)] == []


@pytest.mark.parametrize("name", sorted(FOUNDATION))
def test_the_foundation_knows_nothing_of_the_rest(name):
    assert {part_of(used) for used in own_imports(f"captioning.{name}")} <= FOUNDATION


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: own_imports(name) for name in MODULES if name.startswith("captioning.")}
    # A package's __init__ may gather what its modules have; importing a module imports it too.
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_imports_an_entry_point_or_a_tool(name):
    # A tool may look at the recipe that an entry point holds.
    others = {"tests"} if name.startswith("tools") else ENTRY_POINTS | {"tools", "tests"}
    assert not {used.partition(".")[0] for used in imports(MODULES[name])} & others


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_only_where_it_belongs(package):
    def belongs(module: str) -> bool:
        return any(module == name or module.startswith(f"{name}.") for name in FOREIGN[package])

    knowing = {
        name
        for name, path in MODULES.items()
        if package in {used.partition(".")[0] for used in imports(path, at_run_time=True)}
    }
    assert [name for name in sorted(knowing) if not belongs(name)] == []
    for place in FOREIGN[package]:
        assert any(name == place or name.startswith(f"{place}.") for name in knowing), place


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_short(name):
    lines = MODULES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_MODULE_LINES


def functions(module: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("name", sorted(MODULES))
def test_functions_are_short_and_take_few_parameters(name):
    for function in functions(name):
        length = (function.end_lineno or 0) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{function.name} has {length} lines"
        arguments = function.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        own = [one.arg for one in parameters if one.arg not in ("self", "cls")]
        if function.name != "__init__":
            assert len(own) <= MAX_PARAMETERS, f"{function.name} takes {len(own)} parameters"
