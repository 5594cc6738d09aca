"""What is installed: known holes of the packages, and the libraries inside them.

Three questions: of the list of holes that people keep, of PyPI by pip-audit, and of the bill of
materials. Where PyPI does not answer, nothing was tried, and the notes count the packages that
nobody knows anything about.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from PIL import features

from captioning.errors import CaptioningError
from tools import audit, bom
from tools.attacks.outcome import Outcome
from tools.audit import Findings

# What Pillow calls the libraries that it loads, and what the bill does.
OF_PILLOW = {
    "avif": "libavif",
    "freetype2": "FreeType",
    "jpg_2000": "OpenJPEG",
    "libjpeg_turbo": "libjpeg-turbo",
    "libtiff": "libtiff",
    "webp": "libwebp",
    "zlib_ng": "zlib",
}


def attacks(_folder: Path) -> Iterator[Outcome]:
    """Ask for holes, and check the bill."""
    python = Path(sys.executable)
    found = {name: one.version for name, one in bom.packages(python).items() if name != audit.OURS}
    versions = {name: version.partition("+")[0] for name, version in found.items()}
    for what, everything in (("installed", versions), ("the lowest allowed", audit.allowed())):
        yield asked(f"packages {what}, by the list of holes", audit.by_hand, everything)
        yield asked(f"packages {what}, by pip-audit", audit.by_pypi, everything)
    yield listed(python)


def asked(
    what: str, question: Callable[[Mapping[str, str]], Findings], versions: Mapping[str, str]
) -> Outcome:
    """One list, asked of all packages; a hole that nobody explained is harm."""
    try:
        found = question(versions)
    except CaptioningError:
        return Outcome(what, notes={"unanswered": len(versions)})
    outcome = Outcome(what, tried=found.packages - len(found.unanswered), harm=found.open)
    outcome.note("holes explained", len(found.explained))
    outcome.note("unanswered", len(found.unanswered))
    return outcome


def listed(python: Path) -> Outcome:
    """The libraries inside the packages: the bill is valid, and says what Pillow says."""
    outcome = Outcome("libraries inside the packages, in the bill of materials")
    content = bom.bill(python)
    libraries = [one for package in content["components"] for one in package.get("components", ())]
    outcome.tried = len(libraries)
    outcome.note("without a version", sum("version" not in library for library in libraries))
    if wrong := bom.fault(json.dumps(content)):
        outcome.harm.append(f"the bill is not CycloneDX 1.6: {wrong}")
    (pillow,) = [one for one in content["components"] if one["name"] == "pillow"]
    inside = {(one["name"], one.get("version")) for one in pillow["components"]}
    for theirs, ours in OF_PILLOW.items():
        if (version := features.version(theirs)) and (ours, version) not in inside:
            outcome.harm.append(f"Pillow has {ours} {version}, and the bill does not say so")
    return outcome
