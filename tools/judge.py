"""Judge two systems' captions blind: python -m tools.judge OLD.csv NEW.csv

Draws sheets of photographs, each with both captions in random order. A person writes into a file
which is better, and the same command with --verdicts counts them.
"""

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from captioning.data.caption_files import DataError
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


@dataclass(frozen=True)
class Flags:
    """The command line's flags."""

    old: Path
    new: Path
    images: Path
    count: int
    seed: int
    name: str
    verdicts: Path | None


def parse_arguments(arguments: Sequence[str] | None = None) -> Flags:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.judge",
        description="Judge two systems' captions blind: sheets of photographs land in "
        "results/plots/NAME_*.png, with captions A and B in random order. Write a CSV with the "
        "header image,verdict and A, B or same for each photograph, and pass it to --verdicts.",
    )
    add = parser.add_argument
    add("old", type=Path, metavar="OLD", help="captions of one system: as for bleu_scorer.py")
    add("new", type=Path, metavar="NEW", help="captions of the other system")
    images = Path("flickr8k/Flickr8k_Subset/Images")
    add("--images", type=Path, default=images, help="folder of photographs (%(default)s)")
    add("--count", type=int, default=50, metavar="N", help="photographs (%(default)s)")
    add("--seed", type=int, default=0, help="seed of the choice and the order (%(default)s)")
    add("--name", default="judge", help="name of the sheets (%(default)s)")
    add("--verdicts", type=Path, metavar="FILE", help="count these verdicts")
    return Flags(**vars(parser.parse_args(arguments)))


def choose(
    old: Mapping[str, str], new: Mapping[str, str], count: int, seed: int
) -> tuple[list[Pair], int]:
    """Random pairs of captions that differ, and how many photographs have such a pair.

    Raises SettingError where there are fewer than ``count``.
    """
    shared = sorted(set(old) & set(new))
    different = [image for image in shared if old[image] != new[image]]
    if not 1 <= count <= len(different):
        raise SettingError(
            f"--count must be from 1 to {len(different):,}: so many of {len(shared):,} photographs "
            "in both files have captions that differ"
        )
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(different))[:count].tolist()
    first = rng.integers(0, 2, count).tolist()
    images = [different[index] for index in chosen]
    pairs = [Pair(i, old[i], new[i], bool(a)) for i, a in zip(images, first, strict=True)]
    return pairs, len(different)


def draw(pairs: Sequence[Pair], flags: Flags) -> None:
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
    """Read image and verdict from a CSV. Raises DataError for anything else."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"image", "verdict"} <= set(rows[0]):
        raise DataError(f"{path}: write a CSV with the header image,verdict")
    wrong = [row for row in rows if row["verdict"] not in ANSWERS]
    if wrong:
        raise DataError(
            f"{path}: the verdict on {wrong[0]['image']} is {wrong[0]['verdict']!r}; "
            f"write {', '.join(ANSWERS)}"
        )
    return {row["image"]: row["verdict"] for row in rows}


def count(pairs: Sequence[Pair], verdicts: Mapping[str, str]) -> Counter[str]:
    """How often each system was better. Raises DataError where a verdict is missing."""
    missing = [pair.image for pair in pairs if pair.image not in verdicts]
    if missing:
        raise DataError(
            f"{len(missing)} photographs have no verdict, such as {missing[0]}; add them"
        )
    return Counter(winner(pair, verdicts[pair.image]) for pair in pairs)


def winner(pair: Pair, verdict: str) -> str:
    """Which system a verdict prefers: old, new or same."""
    if verdict == "same":
        return "same"
    return "new" if (verdict == "A") == pair.new_is_a else "old"


def sign_test(wins: int, decided: int) -> float:
    """The probability of so many wins or a rarer number, if both systems were as good."""
    tail = sum(math.comb(decided, k) for k in range(min(wins, decided - wins) + 1))
    return min(1.0, 2 * tail / (1 << decided))


def run(flags: Flags) -> None:
    """Draw the sheets, or count the verdicts."""
    old, new = read_predictions(flags.old), read_predictions(flags.new)
    pairs, different = choose(old, new, flags.count, flags.seed)
    if flags.verdicts is None:
        draw(pairs, flags)
        return
    wins = count(pairs, read_verdicts(flags.verdicts))
    decided = wins["new"] + wins["old"]
    p = sign_test(wins["new"], decided)
    print(
        f"of {len(pairs)} photographs: new better {wins['new']}, old better {wins['old']}, "
        f"same {wins['same']}; sign test p = {p:.4f}; captions differ on {different:,}"
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
