"""Everything that could break the captioner, tried many times: make soak

python -m tools.soak                all parts, one after the other
python -m tools.soak images app     some of them; the figures of the others stay

What was tried, how often, and what was lost go to docs/soak.json, and from there into the table of
SECURITY.md. The exit status is 1 where anything did harm.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from captioning.files import write_text
from tools.attacks import (
    app,
    captions,
    dependencies,
    determinism,
    faults,
    images,
    kills,
    models,
    one_visitor,
)
from tools.attacks.outcome import Outcome
from tools.marks import with_part
from tools.timing import processor

ROOT = Path(__file__).resolve().parents[1]
RESULT, DOCUMENT = ROOT / "docs" / "soak.json", ROOT / "SECURITY.md"

# Each takes an empty folder to work in.
PARTS: Mapping[str, Callable[[Path], Iterator[Outcome]]] = {
    "images": images.attacks,
    "models": models.attacks,
    "captions": captions.attacks,
    "kills": kills.attacks,
    "faults": faults.attacks,
    "app": app.attacks,
    "one visitor": one_visitor.attacks,
    "dependencies": dependencies.attacks,
    "determinism": determinism.attacks,
}


def run(name: str) -> dict[str, Any]:
    """Run one part, and print each outcome as it comes."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix=f"soak-{name}-") as folder:
        for outcome in PARTS[name](Path(folder)):
            outcomes.append(asdict(outcome))
            print(line(outcomes[-1]), flush=True)
            for harm in outcome.harm:
                print(f"    {harm}", flush=True)
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "threads": os.cpu_count(),
        "python": platform.python_version(),
        "outcomes": outcomes,
    }


def line(outcome: Mapping[str, Any]) -> str:
    """An outcome as a line of the terminal."""
    tried, harm = outcome["tried"], len(outcome["harm"])
    return f"{outcome['what']}: tried {tried}, harm {harm}{extra(outcome)}"


def extra(outcome: Mapping[str, Any]) -> str:
    """The slowest attempt, the memory and the other counts, where there are any."""
    parts = [f"{name} {count:g}" for name, count in outcome["notes"].items()]
    if outcome["slowest"] is not None:
        parts.append(f"slowest {outcome['slowest']:.1f} s")
    if outcome["memory"] is not None:
        parts.append(f"memory {outcome['memory'] / 1e6:.0f} MB")
    return "".join(f", {part}" for part in parts)


def section(content: Mapping[str, Any]) -> str:
    """The table of SECURITY.md."""
    rows = ["| part | what was tried | times | did harm | slowest | memory | besides |"]
    rows.append("|---|---|---|---|---|---|---|")
    for part, result in content.items():
        for outcome in result["outcomes"]:
            rows.append(_row(part, outcome))
    where = sorted({_where(result) for result in content.values()})
    return "\n".join([*rows, "", *where])


def _where(result: Mapping[str, Any]) -> str:
    """On which machine, and when."""
    return (
        f"Run on {result['date']}: {result['threads']} threads of {result['processor']}, "
        f"Python {result['python']}."
    )


def _row(part: str, outcome: Mapping[str, Any]) -> str:
    slowest, memory = outcome["slowest"], outcome["memory"]
    cells = [
        part,
        outcome["what"],
        f"{outcome['tried']:,}",
        str(len(outcome["harm"])),
        "" if slowest is None else f"{slowest:.1f} s",
        "" if memory is None else f"{memory / 1e6:.0f} MB",
        ", ".join(f"{name} {count:,g}" for name, count in outcome["notes"].items()),
    ]
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    chosen = parser.parse_args(arguments).parts or list(PARTS)
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]}; the parts are {', '.join(PARTS)}")
    content = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    for name in chosen:
        print(name, flush=True)
        content[name] = run(name)
        content = {part: content[part] for part in PARTS if part in content}
        write_text(RESULT, json.dumps(content, indent=2) + "\n")
        document = DOCUMENT.read_text(encoding="utf-8")
        write_text(DOCUMENT, with_part(document, "soak", section(content)))
    harm = sum(len(outcome["harm"]) for name in chosen for outcome in content[name]["outcomes"])
    print(f"did harm: {harm}" if harm else "nothing did harm")
    return 1 if harm else 0


if __name__ == "__main__":
    sys.exit(main())
