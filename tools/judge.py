"""Judge two systems' captions blind: python -m tools.judge OLD.csv NEW.csv

Draws sheets of photographs, each with both captions in an order decided by chance. Whoever looks
writes which is better into a file, and the same command with --verdicts counts them.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from captioning.data.images import read_photo
from captioning.errors import CaptioningError, SettingError
from captioning.evaluation.predictions import read_predictions
from captioning.inference.captioner import as_sentence
from captioning.plots import PairOfCaptions, judging_sheet, save_figure

PER_SHEET = 6  # photographs
ANSWERS = ("A", "B", "same")


class Pair(NamedTuple):
    """One photograph with both captions, and whether the new one is shown as A."""

    image: str
    old: str
    new: str
    new_is_a: bool

    @property
    def shown(self) -> tuple[str, str]:
        """Captions A and B."""
        return (self.new, self.old) if self.new_is_a else (self.old, self.new)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.judge",
        description="Judge two systems' captions blind: sheets of photographs land in "
        "results/plots/NAME_*.png, with captions A and B in an order decided by chance. Write a "
        "CSV image,verdict with A, B or same for each, and give it to --verdicts.",
    )
    add = parser.add_argument
    add("old", type=Path, metavar="OLD", help="captions of one system: as for bleu_scorer.py")
    add("new", type=Path, metavar="NEW", help="captions of the other system")
    images = Path("flickr8k/Flickr8k_Subset/Images")
    add("--images", type=Path, default=images, help="folder of photographs (%(default)s)")
    add("--count", type=int, default=50, metavar="N", help="photographs (%(default)s)")
    add("--seed", type=int, default=0, help="which photographs, which order (%(default)s)")
    add("--name", default="judge", help="name of the sheets (%(default)s)")
    add("--verdicts", type=Path, metavar="FILE", help="count these verdicts")
    return parser.parse_args(arguments)


def choose(
    old: Mapping[str, str], new: Mapping[str, str], count: int, seed: int
) -> tuple[list[Pair], int]:
    """Pairs of captions that differ, chosen by chance, and how many photographs have such a pair.

    Raises ValueError where there are fewer than asked for.
    """
    shared = sorted(set(old) & set(new))
    different = [image for image in shared if old[image] != new[image]]
    if not 1 <= count <= len(different):
        raise SettingError(
            f"--count must be from 1 to {len(different):,}: so many of {len(shared):,} photographs "
            "in both files have captions that differ"
        )
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(different))[:count].tolist()
    first = random.integers(0, 2, count).tolist()
    images = [different[place] for place in chosen]
    pairs = [Pair(i, old[i], new[i], bool(a)) for i, a in zip(images, first, strict=True)]
    return pairs, len(different)


def draw(pairs: Sequence[Pair], flags: argparse.Namespace) -> None:
    """Draw the sheets."""
    for start in range(0, len(pairs), PER_SHEET):
        members = pairs[start : start + PER_SHEET]
        entries = [
            PairOfCaptions(
                pair.image,
                read_photo(flags.images / pair.image),
                *(as_sentence(text) for text in pair.shown),
            )
            for pair in members
        ]
        path = Path("results/plots") / f"{flags.name}_{start // PER_SHEET + 1}.png"
        save_figure(judging_sheet(entries), path)
        print(f"written to {path}")


def read_verdicts(path: Path) -> dict[str, str]:
    """Read image and verdict from a CSV. Raises ValueError for anything else."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image", "verdict"} <= set(rows[0]):
        raise SettingError(f"{path}: write a CSV with the header image,verdict")
    wrong = [row for row in rows if row["verdict"] not in ANSWERS]
    if wrong:
        raise SettingError(
            f"{path}: the verdict on {wrong[0]['image']} is {wrong[0]['verdict']!r}; "
            f"write {', '.join(ANSWERS)}"
        )
    return {row["image"]: row["verdict"] for row in rows}


def count(pairs: Sequence[Pair], verdicts: Mapping[str, str]) -> Counter[str]:
    """How often each system was better. Raises ValueError where a verdict is missing."""
    missing = [pair.image for pair in pairs if pair.image not in verdicts]
    if missing:
        raise SettingError(f"{len(missing)} photographs have no verdict, the first {missing[0]}")
    found: Counter[str] = Counter(old=0, new=0, same=0)
    for pair in pairs:
        verdict = verdicts[pair.image]
        found[
            "same" if verdict == "same" else "new" if (verdict == "A") == pair.new_is_a else "old"
        ] += 1
    return found


def run(flags: argparse.Namespace) -> None:
    """Draw the sheets, or count the verdicts."""
    old, new = read_predictions(flags.old), read_predictions(flags.new)
    pairs, different = choose(old, new, flags.count, flags.seed)
    if flags.verdicts is None:
        draw(pairs, flags)
        return
    found = count(pairs, read_verdicts(flags.verdicts))
    decided = found["new"] + found["old"]
    p = binomtest(found["new"], decided).pvalue if decided else 1.0
    print(
        f"of {len(pairs)} photographs: new better {found['new']}, old better {found['old']}, "
        f"alike {found['same']}; sign test p = {p:.4f}; captions differ on {different:,}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge; returns the exit status."""
    flags = parse_arguments(arguments)
    try:
        run(flags)
    except (CaptioningError, OSError) as error:
        print(f"tools.judge: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
