"""What each engine and precision loses, against PyTorch in float32: python -m tools.precisions

The development split is captioned by each: how many captions are the same, CIDEr-D, and the share
of evidence and of attention on the right half of mosaics. Where one loses more than 0.5 CIDEr-D or
0.01 of pointing, it is not offered (``inference.engines``). Written to docs/precisions.json and
the README; what each takes in time is measured by make bench.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.assessment import score_captions
from captioning.evaluation.mosaics import choose_mosaics
from captioning.evaluation.pointing import caption_mosaics, judge
from captioning.files import write_text
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.engine_config import PRECISIONS, EngineConfig
from captioning.inference.engines import OFFERED
from captioning.network.shipped import SHIPPED_MODEL
from tools.marks import with_part

ROOT = Path(__file__).resolve().parents[1]
RESULT, README = ROOT / "docs" / "precisions.json", ROOT / "README.md"
MOST_CIDER, MOST_POINTING = 0.5, 0.01  # what may be lost


@dataclass(frozen=True)
class Measured:
    """What an engine in a precision scored."""

    engine: str
    precision: str
    captions: list[str]
    log_probabilities: list[float]
    cider: float
    evidence: float
    attention: float

    def lost(self, reference: "Measured") -> dict[str, Any]:
        """Against another, in plain types."""
        same = sum(a == b for a, b in zip(self.captions, reference.captions, strict=True))
        pairs = zip(self.captions, self.log_probabilities, strict=True)
        others = zip(reference.captions, reference.log_probabilities, strict=True)
        gaps = [abs(x - y) for (a, x), (b, y) in zip(pairs, others, strict=True) if a == b]
        cider, evidence = reference.cider - self.cider, reference.evidence - self.evidence
        attention = reference.attention - self.attention
        return {
            "engine": self.engine,
            "precision": self.precision,
            "photographs": len(self.captions),
            "same captions": same,
            "greatest difference of a same caption's log-probability": round(max(gaps), 6),
            "CIDEr-D": round(self.cider, 2),
            "evidence on the right half": round(self.evidence, 4),
            "attention on the right half": round(self.attention, 4),
            "loses little": cider <= MOST_CIDER and max(evidence, attention) <= MOST_POINTING,
        }


def measure(config: EngineConfig, photographs: Sequence[Photograph]) -> Measured:
    """Caption the photographs, and mosaics of them, and score both."""
    captioner = Captioner.load_with(SHIPPED_MODEL, config)
    name = f"{config.engine} {config.precision}"
    paths = tqdm([each.path for each in photographs], desc=name, disable=None)
    captions = [one for one in captioner.stream(paths) if isinstance(one, Caption)]
    scores = score_captions([one.text for one in captions], [each.captions for each in photographs])
    mosaics = choose_mosaics(photographs)
    pointing = judge(mosaics, list(caption_mosaics(captioner, tqdm(mosaics, disable=None))))
    evidence, attention = (
        pointing.statistics(kind)["mass"].estimate() for kind in ("evidence", "attention")
    )
    return Measured(
        engine=config.engine,
        precision=config.precision,
        captions=[one.text for one in captions],
        log_probabilities=[(len(one.words) + 1) * math.log(one.confidence) for one in captions],
        cider=scores["metrics"]["CIDEr-D"],
        evidence=evidence,
        attention=attention,
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the README says of them."""
    head = (
        "| engine | precision | captions as in PyTorch's float32 | CIDEr-D | evidence | attention |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|", *map(_row, rows)])


def _row(row: Mapping[str, Any]) -> str:
    share = row["same captions"] / row["photographs"]
    cells = (
        *(row["engine"], row["precision"], f"{100 * share:.1f} %", f"{row['CIDEr-D']:.1f}"),
        *(f"{row[f'{kind} on the right half']:.3f}" for kind in ("evidence", "attention")),
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.precisions", description=__doc__.partition("\n")[0]
    )
    data = Path("flickr8k/Flickr8k_Subset")
    parser.add_argument("--references", type=Path, default=data / "captions.txt")
    parser.add_argument("--images", type=Path, default=data / "Images")
    parser.add_argument("--limit", type=int, metavar="N", help="N photographs: a quick trial")
    flags = parser.parse_args(arguments)
    try:
        splits = split_photographs(read_captions(flags.references, flags.images).photographs)
        photographs = splits.dev[: flags.limit]
        reference = measure(EngineConfig("torch"), photographs)
        rows = []
        for engine, precisions in OFFERED.items():
            for precision in sorted(precisions, key=PRECISIONS.index):
                measured = measure(EngineConfig(engine, precision), photographs)
                rows.append(measured.lost(reference))
                print(json.dumps(rows[-1]), flush=True)
        write_text(RESULT, json.dumps(rows, indent=2) + "\n")
        write_text(README, with_part(README.read_text(encoding="utf-8"), "precisions", table(rows)))
    except (CaptioningError, OSError) as error:
        print(f"tools.precisions: {error}", file=sys.stderr)
        return 1
    print(f"written to {RESULT} and {README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
