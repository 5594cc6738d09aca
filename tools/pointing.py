"""How well kinds of evidence point, over several samples of mosaics: python -m tools.pointing

For each number of neighbours that are hidden with a location, and each weight of the other words'
gain, it prints the mean mass and peak on the right half, and the rank correlation with the loss of
log-probability; docs/experiments.md has the results.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.images import to_array
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.mosaics import Mosaic, choose_mosaics
from captioning.evaluation.pointing import Pointed, PointingResults, point
from captioning.evaluation.uncertainty import spearman
from captioning.inference.decode import beam_search
from captioning.inference.engine import Floats
from captioning.inference.evidence import neighbourhoods
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import build_network

SEEDS = range(5)
VARIANTS = {0: (1.0,), 1: (1.0, 0.8, 0.6, 0.4, 0.2, 0.0), 2: (1.0, 0.6)}  # weights by reach
BATCH = 16  # mosaics


class Captioned(NamedTuple):
    """Mosaics with their features (B, L, C) and captions, as word ids."""

    mosaics: list[Mosaic]
    features: Tensor
    captions: list[list[int]]


def caption(checkpoint: Checkpoint, engine: TorchEngine, mosaics: list[Mosaic]) -> Captioned:
    """Caption mosaics and keep their features."""
    features, captions = [], list[list[int]]()
    for start in tqdm(range(0, len(mosaics), BATCH), unit="batch", disable=None, leave=False):
        part = mosaics[start : start + BATCH]
        pixels = [to_array(mosaic.picture(), checkpoint.images) for mosaic in part]
        features.append(engine.encode(np.stack(pixels)))
        beams = beam_search(
            engine, features[-1], checkpoint.vocabulary.tokens(), checkpoint.decoding
        )
        captions += [hypotheses[0].tokens for hypotheses in beams]
    return Captioned(mosaics, torch.cat(features), captions)


def losses(
    engine: TorchEngine, captioned: Captioned, reach: int, competition: float
) -> list[Floats]:
    """What each word loses: (T, L) for each caption."""
    hidden = neighbourhoods(math.isqrt(captioned.features.shape[1]), reach)
    parts = [slice(start, start + BATCH) for start in range(0, len(captioned.captions), BATCH)]
    return [
        lost
        for part in parts
        for lost in engine.occlude(
            captioned.features[part], captioned.captions[part], hidden, competition
        )
    ]


def measure(
    checkpoint: Checkpoint, engine: TorchEngine, photographs: Sequence[Photograph], seed: int
) -> list[tuple[float, float, float]]:
    """Mass, peak and rank correlation of each variant, on one sample of mosaics."""
    captioned = caption(checkpoint, engine, choose_mosaics(photographs, seed=seed))
    rows = []
    for reach, weights in VARIANTS.items():
        of_probability = losses(engine, captioned, reach, 1.0)
        of_score = losses(engine, captioned, reach, 0.0)
        for weight in weights:  # a loss is linear in the weight of the competition
            pairs = list(zip(of_probability, of_score, strict=True))
            maps = [weight * one + (1 - weight) * other for one, other in pairs]
            maps = [lost - np.median(lost, axis=1, keepdims=True) for lost in maps]
            correlations = [
                spearman(each, one).mean() for each, one in zip(maps, of_probability, strict=True)
            ]
            rows.append((*pointing(checkpoint, captioned, maps), float(np.mean(correlations))))
    return rows


def pointing(
    checkpoint: Checkpoint, captioned: Captioned, maps: Sequence[Floats]
) -> tuple[float, float]:
    """Mass and peak on the right half."""
    pointed = list[Pointed]()
    for mosaic, tokens, of_words in zip(captioned.mosaics, captioned.captions, maps, strict=True):
        side, words = math.isqrt(of_words.shape[1]), checkpoint.vocabulary.decode(tokens)
        pointed += point(mosaic, words, of_words.reshape(-1, side, side))
    pairs = 1 + max(mosaic.pair for mosaic in captioned.mosaics)
    results = PointingResults(pairs, len(captioned.mosaics), {"evidence": pointed})
    statistics = results.statistics("evidence")
    return statistics["mass"].estimate(), statistics["peak"].estimate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.pointing", description=__doc__.partition("\n")[0]
    )
    data = Path("flickr8k/Flickr8k_Subset")
    parser.add_argument("--references", type=Path, default=data / "captions.txt")
    parser.add_argument("--images", type=Path, default=data / "Images")
    flags = parser.parse_args(arguments)
    try:
        photographs = read_captions(flags.references, flags.images).photographs
        checkpoint = Checkpoint.load(SHIPPED_MODEL)
        engine = TorchEngine(build_network(checkpoint))
        dev = split_photographs(photographs).dev
        rows = [measure(checkpoint, engine, dev, seed) for seed in SEEDS]
    except (CaptioningError, OSError) as error:
        print(f"tools.pointing: {error}", file=sys.stderr)
        return 1
    print("reach, weight of others: mass, peak (lowest and highest sample), rank correlation")
    variants = [(reach, weight) for reach, weights in VARIANTS.items() for weight in weights]
    for (reach, weight), values in zip(variants, zip(*rows, strict=True), strict=True):
        mass, peak, correlation = np.mean(values, axis=0)
        peaks = [row[1] for row in values]
        print(
            f"{reach}, {weight:4.2f}: {mass:.3f}, {peak:.3f} "
            f"({min(peaks):.3f} to {max(peaks):.3f}), {correlation:.3f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
