"""Whether anything that is installed or allowed has a known hole: python -m tools.audit FOLDER ...

For each environment, and for the lowest versions that pyproject.toml allows, two lists are asked:
the one that people keep, tools/holes.json, and by pip-audit that of PyPI. A hole that is explained
there does not count. The exit status is 1 where one counts, and 2 where PyPI did not answer for a
package, for which pip-audit itself reports no vulnerabilities.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from captioning.errors import CaptioningError
from tools.bom import interpreter, packages
from tools.holes import Hole, holes, holes_in, looked_at
from tools.lowest import constraints

OURS = "captioning"  # not on PyPI


@dataclass
class Findings:
    """What came of a question: holes that count, those explained, packages that nobody knew."""

    packages: int = 0  # that were asked for, or of the list those that it knows
    open: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def add(self, text: str, known: Sequence[Hole]) -> None:
        """Sort a hole in: it counts unless somebody wrote why it does not."""
        explained = bool(known) and all(hole.explained for hole in known)
        (self.explained if explained else self.open).append(text)


def by_hand(versions: Mapping[str, str]) -> Findings:
    """What the list that people keep says of these packages, of which it knows the direct ones."""
    found = Findings(len(looked_at() & {canonicalize_name(package) for package in versions}))
    for package, version in versions.items():
        for hole in holes_in(package, version):
            text = f"{package} {version}: {' '.join(hole.ids)}: {hole.what}. {hole.why}"
            found.add(f"{text} {hole.until}".strip(), [hole])
    return found


def by_pypi(versions: Mapping[str, str], *options: str) -> Findings:
    """What PyPI says of these packages, by pip-audit; raises CaptioningError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        words = ("-m", "pip_audit", "-r", str(file), "--no-deps", "--disable-pip", "-f", "json")
        done = subprocess.run(
            [sys.executable, *words, "--progress-spinner", "off", *options],
            capture_output=True,
            text=True,
        )
    try:
        return answers(json.loads(done.stdout), len(versions))
    except json.JSONDecodeError:
        reason = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise CaptioningError(f"pip-audit did not finish: {reason[0]}") from None


def answers(content: Mapping[str, Any], asked: int) -> Findings:
    """The findings in a report of pip-audit."""
    found = Findings(asked)
    for package in content["dependencies"]:
        if "skip_reason" in package:
            found.unanswered.append(package["name"])
            continue
        for hole in package["vulns"]:
            names = {hole["id"], *hole["aliases"]}
            known = [one for one in holes() if names & set(one.ids)]
            fixed = ", ".join(hole["fix_versions"]) or "no version"
            text = f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}"
            found.add(text, [one for one in known if one.package == package["name"].lower()])
    return found


def installed(environment: Path) -> dict[str, str]:
    """The versions in an environment, without ours."""
    found = packages(interpreter(environment))
    return {name: one.version.partition("+")[0] for name, one in found.items() if name != OURS}


def allowed() -> dict[str, str]:
    """The lowest versions that pyproject.toml allows here."""
    found = {}
    for line in constraints():
        requirement, _, marker = line.partition(";")
        if not marker or Marker(marker).evaluate():
            name, _, version = requirement.partition("==")
            found[name] = version
    return found


def report(title: str, found: Findings) -> int:
    """Print findings; returns the exit status that they deserve."""
    told = f"{len(found.open)} holes, {len(found.explained)} explained"
    print(f"{title}: {found.packages} packages, {told}", flush=True)
    for kind, texts in (("hole", found.open), ("explained", found.explained)):
        for text in texts:
            print(f"    {kind}: {text}")
    if found.unanswered:
        print(f"    PyPI did not answer for {len(found.unanswered)}: nothing is known of them")
    return 1 if found.open else 2 if found.unanswered else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask both lists of everything; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("environments", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--service", default="pypi", help="that pip-audit asks: pypi or osv")
    options = parser.parse_args(arguments)
    statuses = []
    try:
        asked = {str(folder): installed(folder) for folder in options.environments}
        for title, versions in {**asked, "the lowest allowed": allowed()}.items():
            statuses.append(report(f"{title}, by hand", by_hand(versions)))
            statuses.append(report(f"{title}, PyPI", by_pypi(versions, "-s", options.service)))
    except (CaptioningError, OSError, subprocess.CalledProcessError) as error:
        print(f"tools.audit: {error}", file=sys.stderr)
        return 1 if 1 in statuses else 2
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
