"""What captioning and scoring cost, as ratios timed side by side: python -m tools.bench

Each line is a median over pairs of runs: ours and the baseline, timed in turn in one process.
"Bare ResNet-50" is torchvision's with its classifier, in float32 and channels-last, under inference
mode. "The encoder's own batched forward" is one call of our network, batch norm folded, with the
whole batch. After each part the lines so far are written to results/metrics/bench.json. Nothing
else may run while it measures.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import torch
from PIL import Image
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.dataset import Batch, CaptionDataset, Pixels, batches, collate
from captioning.data.function_words import FUNCTION_WORDS
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.corpus import Corpus, caption_scores, caption_statistics
from captioning.evaluation.evaluate import evaluate
from captioning.evaluation.faithfulness import AttentionProbe
from captioning.evaluation.uncertainty import intervals
from captioning.files import write_atomically
from captioning.inference.captioner import Captioner
from captioning.inference.decode import beam_search
from captioning.inference.engines import PACKAGES, is_installed
from captioning.inference.evidence import evidence_maps
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import DecodeConfig
from captioning.network.saved_network import build_network
from captioning.training.config import TrainConfig
from captioning.training.objective import CaptionLoss
from captioning.training.train import (
    Optimization,
    make_optimizer,
    train_one_epoch,
)
from tools.bench_cluster import bench_cluster
from tools.bench_commands import bench_memory, bench_sharing, bench_start
from tools.bench_engines import (
    LARGE,
    Bare,
    bench_choice,
    bench_engines,
    bench_folder,
    bench_gpu,
    bench_peer,
    jpeg,
)
from tools.timing import QUICK_PAIRS, Memory, Ratio, Work, compare, processor

BATCH = 50  # photographs scored
CALL = 32  # photographs captioned in one call
EXPLAINED = 16  # photographs with evidence
EPOCH = 8  # photographs of a small epoch of training
RESULTS = Path("results/metrics/bench.json")


def own_forward(engine: TorchEngine, images: torch.Tensor) -> Work:
    """Our encoder on images (B, 3, H, W), in one batch."""

    @torch.inference_mode()
    def forward() -> object:
        return engine.encoder(images)

    return forward


def bench_photographs(photographs: Sequence[Photograph]) -> list[Ratio]:
    """From the JPEG file to the caption, many in one call, in PyTorch."""
    captioner = Captioner.load(SHIPPED_MODEL, engine="torch")
    engine = captioner.engine
    assert isinstance(engine, TorchEngine)
    paths = [photo.path for photo in photographs[:CALL]]
    pixels = Pixels(photographs[:CALL], captioner.images)
    images = torch.stack([pixels(index) for index in range(len(paths))])
    images = images.contiguous(memory_format=torch.channels_last)

    def all_of_them() -> None:
        list(captioner.stream(paths, beam=3, batch_size=CALL))

    many = f"{len(paths)} in one call, beam 3"
    return [
        compare(
            f"{many} / the encoder's own batched forward", all_of_them, own_forward(engine, images)
        ),
        compare(f"{many} / encoding alone", all_of_them, lambda: engine.encode(images)),
    ]


def bench_large_photograph(photographs: Sequence[Photograph]) -> list[Ratio]:
    """A photograph as a phone takes it, against the same one at the data set's size."""
    captioner = Captioner.load(SHIPPED_MODEL)
    with Image.open(photographs[0].path) as image:
        small, large = (jpeg(image, size) for size in (image.size, LARGE))
    name = "one 12-megapixel JPEG / the same one at 224 pixels"
    return [compare(name, lambda: captioner(large), lambda: captioner(small), QUICK_PAIRS)]


def bench_evidence(photographs: Sequence[Photograph]) -> list[Ratio]:
    """What each word rests on, against passes of the encoder, and against the caption alone."""
    captioner = Captioner.load(SHIPPED_MODEL)
    engine, chosen = captioner.engine, photographs[:EXPLAINED]
    pixels = Pixels(chosen, captioner.images)
    images = torch.stack([pixels(index) for index in range(len(chosen))])
    features = engine.encode(images.numpy())  # (B, L, C)
    beams = beam_search(engine, features, captioner.vocabulary.tokens(), captioner.decoding)
    captions = [hypotheses[0].tokens for hypotheses in beams]

    def each(work: Callable[[slice], object]) -> Work:
        turn = cycle(slice(index, index + 1) for index in range(len(chosen)))
        return lambda: work(next(turn))

    def explain(part: slice) -> object:
        return evidence_maps(engine, features[part], captions[part])

    def encode(part: slice) -> object:
        return engine.encode(images[part].numpy())

    def caption(evidence: bool) -> Work:
        return each(lambda part: captioner(chosen[part.start].path, evidence=evidence))

    everything = slice(0, len(chosen))
    several = f"evidence of {len(chosen)} captions in one batch / encoding their photographs"
    with_evidence = "one photograph with evidence / the same without"
    return [
        compare(
            "evidence of one caption / one pass of the encoder",
            each(explain),
            each(encode),
            QUICK_PAIRS,
        ),
        compare(several, lambda: explain(everything), lambda: encode(everything)),
        compare(with_evidence, caption(True), caption(False), QUICK_PAIRS),
    ]


def bench_training(photographs: Sequence[Photograph]) -> list[Ratio]:
    """An epoch of the decoder over cached features, against two common ways that are slower."""
    checkpoint = Checkpoint.load(SHIPPED_MODEL)
    network = build_network(checkpoint)
    pixels = Pixels(photographs, checkpoint.images)
    dataset = CaptionDataset(photographs, checkpoint.vocabulary, pixels, max_words=20)
    seen = collate([dataset[index] for index in range(len(photographs))])
    each = len(seen.inputs) // len(photographs)
    config = TrainConfig(epochs=1, batch_size=len(photographs), learning_rate=1e-6)
    optimizer = make_optimizer(network, config)
    optimization = Optimization(optimizer, LambdaLR(optimizer, lambda step: 1.0))

    def encoded(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features: torch.Tensor = network.encoder(images)
        return features

    cached = encoded(seen.visual)  # (B, L, C)
    loss = CaptionLoss(checkpoint.vocabulary, dataset.captions)

    def epoch(visual: Callable[[], torch.Tensor]) -> Work:
        def batch() -> Iterator[Batch]:
            yield seen._replace(visual=visual())

        return lambda: train_one_epoch(network, batch(), optimization, config, loss)

    def once() -> torch.Tensor:
        return cached

    def for_every_caption() -> torch.Tensor:
        return cached.repeat_interleave(each, dim=0)  # (N, L, C)

    def encoded_for_every_caption() -> torch.Tensor:
        return encoded(seen.visual.repeat_interleave(each, dim=0))

    name = f"a decoder's epoch over {len(photographs)} photographs' cached features"
    return [
        compare(
            f"{name} / projecting them for every caption", epoch(once), epoch(for_every_caption)
        ),
        compare(
            f"{name} / running the encoder for every caption",
            epoch(once),
            epoch(encoded_for_every_caption),
        ),
    ]


def bench_metrics(photographs: Sequence[Photograph]) -> list[Ratio]:
    """BLEU, ROUGE-L and CIDEr-D of one caption per photograph against all of its captions."""
    corpus = Corpus.of(
        [photo.captions[0] for photo in photographs], [photo.captions for photo in photographs]
    )
    results = {i: [" ".join(tokens)] for i, tokens in enumerate(corpus.candidates)}
    expected = {i: [" ".join(t) for t in texts] for i, texts in enumerate(corpus.references)}

    def theirs() -> None:
        for scorer in (Bleu(4), Rouge(), Cider()):
            options = {"verbose": 0} if isinstance(scorer, Bleu) else {}
            scorer.compute_score(expected, results, **options)

    size = f"{len(photographs):,} captions, {len(photographs[0].captions)} references"
    name = f"metrics / pycocoevalcap, {size}"
    return [compare(name, lambda: caption_scores(corpus.candidates, corpus.references), theirs)]


def bench_scoring(photographs: Sequence[Photograph]) -> list[Ratio]:
    """Captioning and scoring, against the batched forward of a bare ResNet-50."""
    checkpoint = Checkpoint.load(SHIPPED_MODEL)
    engine, vocabulary = TorchEngine(build_network(checkpoint)), checkpoint.vocabulary
    pixels = Pixels(photographs, checkpoint.images)
    dataset = CaptionDataset(photographs, vocabulary, pixels, max_words=None)
    batch = collate([dataset[index] for index in range(len(photographs))])
    bare = Bare()
    images = batch.visual.contiguous(memory_format=torch.channels_last)
    decoding = DecodeConfig(beam=3)

    def theirs() -> object:
        return bare(images)

    def captions_alone() -> None:
        seen = next(iter(batches(dataset, BATCH)))
        hypotheses = beam_search(engine, engine.encode(seen.visual), vocabulary.tokens(), decoding)
        texts = [" ".join(vocabulary.decode(each[0].tokens)) for each in hypotheses]
        references = [photo.captions for photo in photographs]
        intervals(caption_statistics(Corpus.of(texts, references)).statistics)

    def everything() -> None:
        probe = AttentionProbe(engine.reference_decoder, vocabulary.encode(FUNCTION_WORDS))
        evaluate(engine, photographs, batches(dataset, BATCH), vocabulary, decoding, [probe])

    size = f"{len(photographs)} photographs"
    name = f"captioning and scoring {size}, beam 3"
    return [
        compare(f"{name} / bare ResNet-50", captions_alone, theirs),
        compare(
            f"{name} / the encoder's own batched forward",
            captions_alone,
            own_forward(engine, images),
        ),
        compare(f"{name}, next word and attention / bare ResNet-50", everything, theirs),
    ]


def write(ratios: Sequence[Ratio], memory: Sequence[Memory], machine: str) -> None:
    """Write all results as JSON."""
    content = {
        "machine": machine,
        "ratios": [ratio._asdict() for ratio in ratios],
        "memory": [folder._asdict() for folder in memory],
    }
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(RESULTS, lambda temporary: temporary.write_text(text))


def measure(photographs: Sequence[Photograph], machine: str) -> None:
    """Measure everything, and write the results so far after each part: it takes a while."""
    parts: tuple[Callable[[], list[Ratio]], ...] = (
        lambda: bench_engines(photographs),
        lambda: bench_choice(photographs),
        lambda: bench_peer(photographs),
        lambda: bench_folder(photographs),
        lambda: bench_gpu(photographs),
        lambda: bench_sharing(photographs),
        lambda: bench_photographs(photographs),
        lambda: bench_large_photograph(photographs),
        lambda: bench_evidence(photographs),
        bench_start,
        lambda: bench_cluster(photographs),
        lambda: bench_training(photographs[:EPOCH]),
        lambda: bench_metrics(photographs),
        lambda: bench_scoring(photographs[:BATCH]),
    )
    ratios: list[Ratio] = []
    for part in parts:
        ratios += part()
        write(ratios, [], machine)
    write(ratios, bench_memory(photographs), machine)
    print(f"written to {RESULTS}")


def installed_packages() -> list[str]:
    """The packages of the engines that are here."""
    return [package for engine, package in PACKAGES.items() if is_installed(engine)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__.partition("\n")[0]
    )
    data = Path("flickr8k/Flickr8k_Subset")
    parser.add_argument("--references", type=Path, default=data / "captions.txt")
    parser.add_argument("--images", type=Path, default=data / "Images")
    flags = parser.parse_args(arguments)
    try:
        splits = split_photographs(read_captions(flags.references, flags.images).photographs)
        versions = [f"{package} {version(package)}" for package in installed_packages()]
        machine = ", ".join([processor(), f"{torch.get_num_threads()} threads", *versions])
        print(machine)
        measure(splits.dev, machine)
    except (CaptioningError, OSError, subprocess.SubprocessError) as error:
        print(f"tools.bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
