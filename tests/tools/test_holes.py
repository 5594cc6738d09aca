"""tools.holes: the reviewed list, and that nothing it names may be installed unexplained."""

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tools.holes import FILE, Hole, decoders, holes, holes_in, looked_at
from tools.lowest import PYPROJECT, lowest

PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
LISTS = (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
REQUIREMENTS = sorted(
    {text for part in LISTS for text in part if not text.startswith("captioning")}
)


def version_of(requirement):
    """The lowest version that a requirement allows."""
    (specifier,) = Requirement(lowest(requirement)).specifier
    return specifier.version


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_no_requirement_admits_a_version_with_a_hole_that_reaches_us(text):
    found = holes_in(Requirement(text).name, version_of(text))
    assert [hole for hole in found if not hole.explained] == []


def test_whatever_runs_was_reviewed():
    extras = PROJECT["optional-dependencies"]
    parts = (extras[name] for name in extras if name not in ("dev", "meteor"))
    texts = {text for part in (PROJECT["dependencies"], *parts) for text in part}
    assert {Requirement(text).name for text in texts} - {PROJECT["name"]} <= looked_at()


def test_the_versions_before_are_not_admitted():
    """The list would otherwise prove nothing: these were allowed once."""
    for package, version in (("pillow", "12.3.0"), ("torch", "2.9.1"), ("pyarrow", "26.0.0")):
        assert [hole for hole in holes_in(package, version) if not hole.explained], package


@pytest.mark.parametrize("hole", holes(), ids=lambda hole: f"{hole.package} {hole.ids[0]}")
def test_each_hole_has_a_reason_and_a_source(hole):
    assert hole.why.endswith(".")
    assert hole.source.startswith("https://")
    assert len(SpecifierSet(hole.affected)) > 0
    assert not hole.until or hole.reaches


def test_only_what_must_be_admitted_is_explained_so():
    lowest_of = {Requirement(text).name: version_of(text) for text in REQUIREMENTS}
    for hole in holes():
        assert not hole.until or hole.is_in(hole.package, lowest_of[hole.package])


def test_a_hole_is_in_the_versions_that_have_it_however_the_name_is_written():
    hole = Hole("pillow-heif", "<1.7.0", ("CVE-1",), "", True, "", "")
    assert hole.is_in("Pillow_Heif", "1.6.0")
    assert not hole.is_in("pillow-heif", "1.7.0")
    assert not hole.is_in("pillow", "1.6.0")


def test_each_library_is_reviewed_once():
    keys = [decoder.key for decoder in decoders()]
    assert len(set(keys)) == len(keys)
    assert "none found" not in FILE.read_text(encoding="utf-8").replace("none found on 20", "")
