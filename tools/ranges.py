"""Measures the ranges that int8 needs, on training photographs: python -m tools.ranges

They are written beside the checkpoint, as model.ranges.json beside model.pth, and belong to it.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from captioning.data.caption_files import read_captions
from captioning.data.images import load_image
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.inference.engines import make_runtime, ranges_path
from captioning.inference.quantisation import measure_ranges
from captioning.inference.ranges import MeasuredRanges
from captioning.inference.threads import available_threads
from captioning.network.checkpoint import Checkpoint, file_hash
from captioning.network.shipped import SHIPPED_MODEL

PHOTOGRAPHS = 128
SEED = 17


def measure(model: Path, paths: Sequence[Path]) -> MeasuredRanges:
    """The ranges of a model's activations on photographs."""
    checkpoint = Checkpoint.load(model)
    pixels = [load_image(path, checkpoint.images) for path in paths]
    runtime = make_runtime("onnx", available_threads())
    ranges = measure_ranges(checkpoint.weights, checkpoint.model.stride_in_1x1, pixels, runtime)
    return MeasuredRanges(file_hash(model), len(paths), ranges)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.ranges", description=__doc__.partition("\n")[0]
    )
    data = Path("flickr8k/Flickr8k_Subset")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL)
    parser.add_argument("--references", type=Path, default=data / "captions.txt")
    parser.add_argument("--images", type=Path, default=data / "Images")
    flags = parser.parse_args(arguments)
    try:
        splits = split_photographs(read_captions(flags.references, flags.images).photographs)
        count = min(PHOTOGRAPHS, len(splits.train))
        chosen = random.Random(SEED).sample(splits.train, count)
        path = ranges_path(flags.model)
        measure(flags.model, [photograph.path for photograph in chosen]).save(path)
    except (CaptioningError, OSError) as error:
        print(f"tools.ranges: {error}", file=sys.stderr)
        return 1
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
