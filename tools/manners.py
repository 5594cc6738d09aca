"""Captions in another manner that read like those in the default one: print whose they are.

python -m tools.manners runs/wide/language.pth --captions FILE --images FOLDER > plain.txt
python main.py ... --manner "web_*=web" --default-manner plain.txt

Captions of the web that a language model of ordinary captions finds as likely as those may well be
learned as such: they name things that the others lack.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.dataset import batches
from captioning.data.manners import MannerRule, set_manners
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.network.checkpoint import Checkpoint
from captioning.network.saved_network import build_network
from captioning.training.language import TextDataset, caption_losses

BATCH = 128


def plain(model: Path, photographs: Sequence[Photograph], most: float) -> Iterator[Photograph]:
    """The photographs all of whose captions cost at most ``most`` nats per token."""
    checkpoint = Checkpoint.load(model)
    network = build_network(checkpoint)
    captions = [tokens for photo in photographs for tokens in photo.references]
    dataset = TextDataset(captions, checkpoint.vocabulary, max_words=None)
    shown = tqdm(batches(dataset, BATCH), desc="reading", unit="batch", disable=None)
    losses = iter(caption_losses(network, shown))
    for photo in photographs:
        if max([next(losses) for _ in photo.references]) <= most:
            yield photo


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.manners",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", type=Path, help="a checkpoint of --stage language")
    add("--captions", type=Path, required=True)
    add("--images", type=Path, required=True)
    add("--manner", default="web_*=web", help="which of them are in another manner")
    add("--most", type=float, default=4.5, help="nats per token (default: %(default)g)")
    return parser


def run(flags: argparse.Namespace) -> Iterator[str]:
    """The names of training photographs; those held out keep their manner, to be compared."""
    training = split_photographs(read_captions(flags.captions, flags.images).photographs).train
    (photographs,) = set_manners([training], [MannerRule.parse(flags.manner)])
    others = [photo for photo in photographs if photo.manner]
    for photo in plain(flags.model, others, flags.most):
        yield photo.name


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        for name in run(make_parser().parse_args(arguments)):
            print(name)
    except (CaptioningError, OSError) as error:
        print(f"tools.manners: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
