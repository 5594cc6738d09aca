"""The bill of materials of an environment, in CycloneDX 1.6: python -m tools.bom

python -m tools.bom                 of this environment, with the table of docs/dependencies.md
python -m tools.bom .venv-light     of another one, and no table

cyclonedx-bom lists the packages; this adds the native libraries inside their wheels. The file is
build/bom.cdx.json, or the one that --output names.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from captioning.errors import CaptioningError
from captioning.files import write_text
from tools.holes import decoders
from tools.marks import with_part
from tools.native_libraries import Library, libraries

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "bom.cdx.json"
RESULT, DOCUMENT = ROOT / "docs" / "dependencies.json", ROOT / "docs" / "dependencies.md"


def interpreter(environment: Path) -> Path:
    """The Python of an environment; raises CaptioningError where there is none."""
    for name in ("bin/python", "Scripts/python.exe"):
        if (environment / name).exists():
            return environment / name
    raise CaptioningError(f"{environment}: there is no Python environment here; name its folder")


def packages(python: Path) -> dict[str, Distribution]:
    """What is installed, by its normalised name; the first on the path, as Python imports it."""
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    path = json.loads(_output(python, "-c", code))
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=path):
        found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
    return found


def bill(python: Path) -> dict[str, Any]:
    """The packages that a Python has, each with the libraries inside it."""
    words = ("environment", "--sv", "1.6", "--no-validate", "--pyproject", ROOT / "pyproject.toml")
    content: dict[str, Any] = json.loads(
        _output(sys.executable, "-m", "cyclonedx_py", *words, python)
    )
    installed = packages(python)
    for component in content["components"]:
        distribution = installed.get(canonicalize_name(component["name"]))
        if distribution is None:
            continue
        if inner := parts(component["bom-ref"], libraries(distribution)):
            component["components"] = inner
    return content


def _output(*command: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def parts(package: str, found: Iterable[Library]) -> list[dict[str, Any]]:
    """Libraries as components within the one of their package."""
    return [
        {"bom-ref": f"{package}#{number}"} | component(library)
        for number, library in enumerate(found)
    ]


def component(library: Library) -> dict[str, Any]:
    """A library in the words of CycloneDX."""
    properties = {"version said by": library.said_by, "file": library.file, "note": library.note}
    content: dict[str, Any] = {
        "type": "library",
        "name": library.name,
        "properties": [
            {"name": f"captioning:{name}", "value": value}
            for name, value in properties.items()
            if value
        ],
    }
    if library.version:
        content["version"] = library.version
    if library.sha256:
        content["hashes"] = [{"alg": "SHA-256", "content": library.sha256}]
    if library.licences:
        content["licenses"] = [{"license": {"name": name}} for name in library.licences]
    return content


def fault(text: str) -> str | None:
    """What is wrong with a bill by the schema of CycloneDX 1.6; None where nothing is."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)


def versions(content: Mapping[str, Any]) -> dict[str, str]:
    """The versions of the libraries that docs/dependencies.md reviews, by package and name."""
    found: dict[str, str] = {}
    for package in content["components"]:
        for inner in package.get("components", ()):
            key = f"{canonicalize_name(package['name'])} {inner['name']}"
            if inner.get("version"):
                found.setdefault(key, inner["version"])
    return {decoder.key: found[decoder.key] for decoder in decoders() if decoder.key in found}


def section(result: Mapping[str, Any]) -> str:
    """The table of docs/dependencies.md."""
    rows = ["| library | version | inside | is given | known holes |", "|---|---|---|---|---|"]
    for decoder in decoders():
        if version := result["versions"].get(decoder.key):
            cells = (decoder.name, version, decoder.package, decoder.given, decoder.holes)
            rows.append(f"| {' | '.join(cells)} |")
    told = f"Versions as the files reported them on {result['date']}: {result['system']}."
    return "\n".join([*rows, "", told])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the bill, and of this environment the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.bom", description=__doc__)
    parser.add_argument("environment", nargs="?", help="a folder (default: this environment)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default: {OUTPUT.name}")
    options = parser.parse_args(arguments)
    try:
        other = options.environment
        content = bill(interpreter(Path(other)) if other else Path(sys.executable))
        text = json.dumps(content, indent=2) + "\n"
        if wrong := fault(text):
            raise CaptioningError(f"this is not CycloneDX 1.6, which is a defect: {wrong}")
        write_text(options.output, text)
        if not other:
            _write_table(content)
    except (CaptioningError, OSError, subprocess.CalledProcessError) as error:
        print(f"tools.bom: {error}", file=sys.stderr)
        return 1
    inner = sum(len(part.get("components", ())) for part in content["components"])
    print(f"{options.output}: {len(content['components'])} packages, {inner} libraries in them")
    return 0


def _write_table(content: Mapping[str, Any]) -> None:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    today = date.today().isoformat()
    result = {"date": today, "system": system, "versions": versions(content)}
    write_text(RESULT, json.dumps(result, indent=2) + "\n")
    write_text(DOCUMENT, with_part(DOCUMENT.read_text("utf-8"), "bom", section(result)))


if __name__ == "__main__":
    sys.exit(main())
