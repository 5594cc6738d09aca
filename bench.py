"""What scoring costs, as ratios timed side by side: python bench.py

Each line is the median over pairs of runs, one of ours and one of what it is compared with, in turn
in one process. Nothing else may run while it measures.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from torchvision.models import resnet50

from captioning.captioner import SHIPPED_MODEL
from captioning.checkpoint import Checkpoint, CheckpointError
from captioning.data import (
    CaptionDataset,
    DataError,
    Photograph,
    Pixels,
    batches,
    collate,
    read_captions,
    split_photographs,
)
from captioning.decode import DecodeConfig, beam_search
from captioning.engine import TorchEngine
from captioning.evaluate import TOKENS, evaluate
from captioning.faithfulness import FUNCTION_WORDS, AttentionProbe
from captioning.metrics import caption_scores
from captioning.scoring import Corpus, caption_statistics
from captioning.uncertainty import intervals

PAIRS = 15  # at least
BATCH = 50  # photographs


def seconds(work: Callable[[], object]) -> float:
    """How long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int = PAIRS
) -> None:
    """Time both in turn, and print the median ratio with its quartiles."""
    ours()
    theirs()
    timed = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratios = [ours / theirs for ours, theirs in timed]
    low, _, high = statistics.quantiles(ratios, n=4)
    first, second = (statistics.median(column) for column in zip(*timed, strict=True))
    print(
        f"{statistics.median(ratios):6.2f} ({low:.2f} to {high:.2f})  {name}: "
        f"{first:.3f} s against {second:.3f} s, {pairs} pairs",
        flush=True,
    )


def bench_metrics(photographs: Sequence[Photograph]) -> None:
    """BLEU, ROUGE-L and CIDEr-D of a caption a photograph against its other captions."""
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
    compare(name, lambda: caption_scores(corpus.candidates, corpus.references), theirs)


def bench_captioning(photographs: Sequence[Photograph]) -> None:
    """Captioning and scoring, against the bare batched forward of the encoder's network."""
    checkpoint = Checkpoint.load(SHIPPED_MODEL)
    engine, vocabulary = TorchEngine(checkpoint.build()), checkpoint.vocabulary
    pixels = Pixels(photographs, checkpoint.images)
    dataset = CaptionDataset(photographs, vocabulary, pixels, max_words=10**6)
    batch = collate([dataset[place] for place in range(len(photographs))])
    bare = resnet50(weights=None).eval().to(memory_format=torch.channels_last)
    images = batch.visual.contiguous(memory_format=torch.channels_last)
    decoding = DecodeConfig(beam=3)

    @torch.inference_mode()
    def theirs() -> None:
        bare(images)

    def captions_alone() -> None:
        seen = next(iter(batches(dataset, BATCH)))
        found = beam_search(engine, engine.encode(seen.visual), TOKENS, decoding)
        texts = [" ".join(vocabulary.decode(each[0].tokens)) for each in found]
        references = [photo.captions for photo in photographs]
        intervals(caption_statistics(Corpus.of(texts, references)).statistics)

    def everything() -> None:
        probe = AttentionProbe(engine.network.decoder, vocabulary.encode(FUNCTION_WORDS))
        evaluate(engine, photographs, batches(dataset, BATCH), vocabulary, decoding, probe)

    size = f"{len(photographs)} photographs"
    compare(f"captioning and scoring / bare ResNet-50, {size}", captions_alone, theirs)
    compare(f"the same, next word and attention test too, {size}", everything, theirs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.partition("\n")[0])
    data = Path("flickr8k/Flickr8k_Subset")
    parser.add_argument("--references", type=Path, default=data / "captions.txt")
    parser.add_argument("--images", type=Path, default=data / "Images")
    flags = parser.parse_args(arguments)
    try:
        splits = split_photographs(read_captions(flags.references, flags.images).photographs)
        print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
        bench_metrics(splits.dev)
        bench_captioning(splits.dev[:BATCH])
    except (DataError, CheckpointError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
