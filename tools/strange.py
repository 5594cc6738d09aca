"""Pictures unlike ordinary photographs: choose them among the web's, make others, measure.

python -m tools.strange list --images everyday/Images --encoder-weights resnet50.pth > posters.txt
python -m tools.strange make strange --posters posters.txt --images everyday/Images
python -m tools.strange measure strange

A checkpoint that was trained without the pictures of the list is measured on them fairly.
"""

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.models import ResNet50_Weights
from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.images import load_image
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.novelty import measure_novelty, pictures_by_kind
from captioning.inference.captioner import Captioner
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.encoder import Encoder
from captioning.network.fast import fold_batch_norm
from captioning.network.pretrained import pretrained_encoder
from captioning.network.saved_network import build_network, load_plain
from captioning.training.novelty import with_novelty
from tools.strange_pictures import drawings, plots, screenshots

# Classes of ImageNet whose pictures are printed or drawn, or shown on a screen.
GRAPHIC = ("web site", "comic book", "crossword puzzle", "book jacket", "menu")
LEAST = 0.2  # of their probabilities' sum: then four in five are graphic, by eye
FIRST = 4000  # of the pictures by name, which are in no order: enough, and each takes a while
WEB = "web_*"  # pictures of the web; no photograph of another source is chosen
BATCH = 16
MAKERS = {"screenshots": screenshots, "plots": plots, "drawings": drawings}


def choose(images: Path, weights: Path) -> Iterator[str]:
    """The names of the first web pictures that an ImageNet classifier finds graphic.

    ``weights`` are those of the original ResNet-50, which strides in the 1x1 convolutions, as a
    state dict of torchvision's ``resnet50`` with its classifier.
    """
    encoder = fold_batch_norm(pretrained_encoder(weights, stride_in_1x1=True).encoder.eval())
    state = load_plain(weights)
    classifier = state["fc.weight"].float(), state["fc.bias"].float()
    paths = sorted(images.glob(WEB))[:FIRST]
    for start in tqdm(range(0, len(paths), BATCH), desc="classifying", unit="batch", disable=None):
        batch = paths[start : start + BATCH]
        shares = graphic(encoder, classifier, batch)
        yield from (path.name for path, share in zip(batch, shares, strict=True) if share >= LEAST)


@torch.inference_mode()
def graphic(encoder: Encoder, classifier: tuple[Tensor, Tensor], paths: list[Path]) -> list[float]:
    """The probability of each picture that it is of one of the graphic classes."""
    pixels = torch.from_numpy(np.stack([load_image(path) for path in paths]))
    weight, bias = classifier
    logits = encoder(pixels).mean(dim=1) @ weight.T + bias  # (B, 1000)
    names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    columns = [names.index(name) for name in GRAPHIC]
    shares: list[float] = logits.softmax(dim=1)[:, columns].sum(dim=1).tolist()
    return shares


def make(folder: Path, count: int, seed: int) -> None:
    """Write ``count`` pictures of each kind that is made here, each kind into its folder."""
    for kind, maker in MAKERS.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(maker(count, seed)):
            picture.save(folder / kind / f"{number:04}.png")


def copy_posters(folder: Path, names: Iterable[str], images: Path) -> None:
    """Copy the chosen pictures of the web into their folder."""
    (folder / "posters").mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(images / name, folder / "posters")


def measure(folder: Path, model: Path, data: Path, left_out: frozenset[str]) -> Iterator[str]:
    """The AUROC of each kind against the development photographs of a data set, a line each.

    The first half of these says what is far, the other half is measured. A model without a
    detector gets one from the data set's training photographs.
    """
    splits = split_photographs(read_captions(data / "captions.txt", data / "Images").photographs)
    training, dev = (_without(part, left_out) for part in (splits.train, splits.dev))
    held_out, ordinary = dev[::2], dev[1::2]
    checkpoint = Checkpoint.load(model)
    if checkpoint.novelty is None:
        checkpoint = with_novelty(checkpoint, training, held_out)
    engine = TorchEngine(build_network(checkpoint), take_over=True)
    settings = checkpoint.images, checkpoint.vocabulary, checkpoint.decoding, checkpoint.novelty
    paths = [photograph.path for photograph in ordinary]
    results = measure_novelty(Captioner(engine, *settings), paths, pictures_by_kind(folder))
    section = results.to_json()
    yield f"ordinary: {section['ordinary']}, {section['ordinary called unusual']:.1%} unusual"
    for kind, part in section["kinds"].items():
        low, high = part["interval"]
        yield (
            f"{kind}: {part['pictures']}, AUROC {part['AUROC']:.3f} ({low:.3f} to {high:.3f}), "
            f"{part['called unusual']:.1%} unusual"
        )


def _without(photographs: Sequence[Photograph], names: frozenset[str]) -> list[Photograph]:
    return [photograph for photograph in photographs if photograph.name not in names]


def _names(path: Path | None) -> list[str]:
    """The names in a file, one a line; none for no file."""
    return [] if path is None else path.read_text(encoding="utf-8").split("\n")[:-1]


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.strange",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print the names of graphic pictures of the web")
    listing.add_argument("--images", type=Path, required=True)
    listing.add_argument("--encoder-weights", type=Path, required=True)
    making = commands.add_parser("make", help="write pictures, a folder for each kind")
    making.add_argument("folder", type=Path)
    making.add_argument("--count", type=int, default=120, help="of each kind that is made")
    making.add_argument("--seed", type=int, default=1)
    making.add_argument("--posters", type=Path, help="the file that list wrote")
    making.add_argument("--images", type=Path, help="the folder of those pictures")
    measuring = commands.add_parser("measure", help="print the AUROC of each kind")
    measuring.add_argument("folder", type=Path)
    measuring.add_argument("--model", type=Path, default=SHIPPED_MODEL)
    measuring.add_argument("--data", type=Path, default=Path("flickr8k/Flickr8k_Subset"))
    measuring.add_argument("--posters", type=Path, help="names that are not ordinary photographs")
    return parser


def run(flags: argparse.Namespace) -> None:
    """Do what the command says."""
    if flags.command == "list":
        for name in choose(flags.images, flags.encoder_weights):
            print(name, flush=True)
    elif flags.command == "make":
        make(flags.folder, flags.count, flags.seed)
        if flags.posters and flags.images:
            copy_posters(flags.folder, _names(flags.posters), flags.images)
    else:
        posters = frozenset(_names(flags.posters))
        for line in measure(flags.folder, flags.model, flags.data, posters):
            print(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    try:
        run(make_parser().parse_args(arguments))
    except (CaptioningError, OSError) as error:
        print(f"tools.strange: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
