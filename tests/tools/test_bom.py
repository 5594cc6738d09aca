"""tools.bom: the bill is CycloneDX, and its versions are those of the libraries themselves."""

import hashlib
import json
import sys
import sysconfig
from importlib.metadata import distribution, distributions
from pathlib import Path

import pillow_heif
import pytest
from packaging.utils import canonicalize_name
from PIL import features

from captioning.errors import CaptioningError
from tools import bom
from tools.attacks.dependencies import OF_PILLOW, listed
from tools.holes import decoders
from tools.marks import with_part
from tools.native_libraries import asked, libraries

RESULT = json.loads(bom.RESULT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bill():
    return bom.bill(Path(sys.executable))


@pytest.fixture(scope="module")
def part(bill):
    """The bill of the packages with decoders, which is checked in no time."""
    names = {decoder.package for decoder in decoders()}
    components = [one for one in bill["components"] if canonicalize_name(one["name"]) in names]
    return bill | {"components": components, "dependencies": []}


def test_the_bill_is_cyclonedx_and_lists_every_package(bill):
    assert bom.fault(json.dumps(bill)) is None
    assert bill["specVersion"] == "1.6"
    # By the folder: other tests import Ray, which puts its own copies of packages on the path.
    found = distributions(path=[sysconfig.get_path("purelib")])
    installed = {canonicalize_name(one.metadata["Name"]) for one in found}
    listed = {canonicalize_name(one["name"]) for one in bill["components"]}
    assert installed - {"captioning"} <= listed


@pytest.mark.parametrize("change", [{"bomFormat": "SPDX"}, {"version": "first"}, {"extra": 1}])
def test_what_is_not_cyclonedx_is_noticed(part, change):
    assert bom.fault(json.dumps(part | change)) is not None


@pytest.mark.parametrize(("theirs", "ours"), OF_PILLOW.items())
def test_pillows_libraries_have_the_versions_that_pillow_reports(bill, theirs, ours):
    (pillow,) = [one for one in bill["components"] if one["name"] == "pillow"]
    found = {one["version"] for one in pillow["components"] if one["name"] == ours}
    assert features.version(theirs) in found


def test_the_decoders_of_heic_have_the_versions_that_pillow_heif_reports():
    info = pillow_heif.libheif_info()
    versions = {one.name: one.version for one in libraries(distribution("pillow-heif"))}
    assert versions["libheif"] == info["libheif"]
    assert versions["libde265"] == info["decoders"]["libde265"].rpartition(" ")[2]


def test_hashes_are_those_of_the_files():
    pillow = distribution("pillow")
    files = [one for one in libraries(pillow) if one.file and one.name.startswith("lib")]
    assert files
    for library in files:
        content = Path(pillow.locate_file(library.file)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == library.sha256


def test_what_cannot_be_asked_has_no_version(tmp_path):
    (tmp_path / "libtiff.so").write_bytes(b"no library")
    assert asked("tiff", tmp_path / "libtiff.so") is None
    assert asked("unheard-of", tmp_path / "libtiff.so") is None


def test_every_library_that_was_reviewed_is_found(bill):
    here = {canonicalize_name(one["name"]) for one in bill["components"]}
    expected = {decoder.key for decoder in decoders() if decoder.package in here}
    assert set(bom.versions(bill)) == expected


def test_a_library_that_pillow_has_otherwise_is_harm(monkeypatch, part):
    monkeypatch.setattr(bom, "bill", lambda python: part)
    assert listed(Path(sys.executable)).harm == []
    monkeypatch.setattr(features, "version", lambda name: "0.0.1")
    assert len(listed(Path(sys.executable)).harm) == len(OF_PILLOW)


def test_the_document_has_what_was_measured():
    document = bom.DOCUMENT.read_text(encoding="utf-8")
    assert with_part(document, "bom", bom.section(RESULT)) == document
    assert set(RESULT["versions"]) == {decoder.key for decoder in decoders()}


def test_the_command_writes_both(tmp_path, monkeypatch, part, capsys):
    monkeypatch.setattr(bom, "bill", lambda python: part)
    monkeypatch.setattr(bom, "RESULT", tmp_path / "dependencies.json")
    monkeypatch.setattr(bom, "DOCUMENT", tmp_path / "dependencies.md")
    bom.DOCUMENT.write_text("<!-- bom: written by python -m tools.bom --><!-- end of bom -->")
    assert bom.main(["--output", str(tmp_path / "bom.json")]) == 0
    assert json.loads((tmp_path / "bom.json").read_text()) == part
    assert "| libjpeg-turbo | " in bom.DOCUMENT.read_text()
    assert f"{len(part['components'])} packages" in capsys.readouterr().out
    monkeypatch.setattr(bom, "bill", lambda python: part | {"bomFormat": "SPDX"})
    assert bom.main(["--output", str(tmp_path / "other.json")]) == 1
    assert not (tmp_path / "other.json").exists()


def test_a_folder_without_python_is_refused(tmp_path, capsys):
    with pytest.raises(CaptioningError, match="no Python environment"):
        bom.interpreter(tmp_path)
    assert bom.main([str(tmp_path)]) == 1
    assert "no Python environment" in capsys.readouterr().err
