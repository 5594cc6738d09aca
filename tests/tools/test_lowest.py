"""tools.lowest: the constraints are the lowest versions that the requirements allow."""

import tomllib

import pytest
from packaging.requirements import Requirement

from tools.lowest import PYPROJECT, constraints, lowest, requirements

PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


def bounds(requirement):
    """The versions that may be the lowest, as packaging reads them."""
    specifiers = Requirement(requirement).specifier
    return [one.version for one in specifiers if one.operator in (">=", "==")]


@pytest.mark.parametrize("text", sorted(set(requirements())))
def test_a_constraint_is_the_lowest_version_of_a_requirement(text):
    wanted, got = Requirement(text), Requirement(lowest(text))
    assert (got.name, got.marker) == (wanted.name, wanted.marker)
    ((operator, version),) = [(one.operator, one.version) for one in got.specifier]
    assert operator == "=="
    assert [version] == bounds(text)
    assert wanted.specifier.contains(version)


def test_each_package_but_ours_and_the_tools_has_one_constraint():
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[name] for name in extras if name != "dev")]
    names = {Requirement(text).name for part in lists for text in part} - {PROJECT["name"]}
    assert sorted(Requirement(text).name for text in constraints()) == sorted(names)


def test_requirements_txt_has_the_same_lowest_versions():
    lines = (PYPROJECT.parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert set(map(lowest, lines)) <= set(constraints())


@pytest.mark.parametrize("text", ["numpy", "numpy<3", "numpy; python_version >= '3.11'"])
def test_a_requirement_without_a_lowest_version_is_a_defect(text):
    with pytest.raises(ValueError, match="name the lowest version"):
        lowest(text)
