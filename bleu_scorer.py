"""Score captions: python bleu_scorer.py

Of a model, of a file that another system wrote, or of a baseline; with intervals, comparisons and
a report to look at.
"""

import argparse
import csv
import io
import json
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.dataset import CaptionDataset, Pixels, batches
from captioning.data.images import ImageError, read_photo
from captioning.data.splits import name_hash, split_photographs
from captioning.errors import CaptioningError, SettingError
from captioning.evaluation.assessment import Assessment, System, assess, caption_figures, compared
from captioning.evaluation.baselines import (
    cached_mean_features,
    most_frequent_caption,
    nearest_captions,
)
from captioning.evaluation.card import model_card, with_results
from captioning.evaluation.evaluate import BeamSweep, Evaluation, Look, evaluate
from captioning.evaluation.faithfulness import FUNCTION_WORDS, AttentionProbe
from captioning.evaluation.predictions import match_predictions, read_predictions
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.report import report_html
from captioning.evaluation.report_gallery import Entry
from captioning.files import write_text
from captioning.inference.captioner import as_sentence
from captioning.inference.torch_engine import TorchEngine, resolve_device
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint, file_hash
from captioning.network.config import DecodeConfig
from captioning.network.pretrained import encoder_hash
from captioning.pictures import thumbnail
from captioning.plots import (
    beam_curve,
    length_figure,
    reliability_figure,
    save_figure,
    score_distribution,
)

BATCH = 50  # photographs
BEAMS = range(1, 11)
BASELINES = ("nearest", "frequent", "human")
GALLERY = 12  # photographs of each group
PHOTO_SIDE = 320  # pixels, in the report
README = Path(__file__).parent / "README.md"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="bleu_scorer.py",
        description="Score captions: BLEU-1 to BLEU-4, ROUGE-L, CIDEr-D (coco-caption "
        "definitions), METEOR where Java is, and much more, each with a 95 % interval. Figures "
        "land in results/metrics/NAME.json and NAME.csv, a report in results/plots/NAME.html.",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    model = what.add_argument
    model("--model", type=Path, metavar="FILE", help="checkpoint to score (default: what ships)")
    model("--captions", type=Path, metavar="FILE", help="captions of another system: see README")
    model("--baseline", choices=BASELINES, help="captions without a captioner")
    data = Path("flickr8k/Flickr8k_Subset")
    add(
        "--references",
        type=Path,
        default=data / "captions.txt",
        metavar="FILE",
        help="the data set's caption file (%(default)s)",
    )
    add("--images", type=Path, default=data / "Images", help="folder of photographs (%(default)s)")
    add("--skip-bad", action="store_true", help="leave out bad rows and missing photographs")
    add(
        "--split",
        choices=["train", "dev", "test", "all"],
        help="what to score (default: test where the data set has one, else dev; with --captions "
        "the part that the file has captions for)",
    )
    add("--limit", type=int, metavar="N", help="score N photographs: a quick trial")
    add("--beam", type=int, metavar="K", help="beam width (default: the model's)")
    add("--length-penalty", type=float, metavar="A", help="default: the model's")
    add(
        "--against",
        metavar="OTHER",
        help="compare with another model, caption file or baseline, with p-values",
    )
    add("--four-references", action="store_true", help="score with each reference left out too")
    add("--beams", action="store_true", help="score beam widths 1 to 10 too")
    add("--name", help="name of the result (default: the system's and the split's)")
    add("--cache", type=Path, default=Path("cache"), help="folder for features (%(default)s)")
    add("--device", default="auto", help="where to compute: auto, cpu or cuda (%(default)s)")
    add("--allow-training-images", action="store_true", help="score even what it has seen")
    add(
        "--publish",
        action="store_true",
        help="write the result, the model card and the README's figures too",
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True, eq=False)
class Source:
    """Where captions come from: a short name, a sentence, and what the result says of it."""

    name: str
    about: str
    facts: Mapping[str, Any]
    system: System
    evaluation: Evaluation | None = None
    sweep: BeamSweep | None = None
    checkpoint: Checkpoint | None = None


class Scorer:
    """The data set to score on, and how each kind of system captions it."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        flags.device = resolve_device(flags.device)
        if flags.limit is not None and flags.limit < 1:
            raise SettingError(f"--limit must be at least 1, not {flags.limit}")
        needs_photographs = flags.captions is None and flags.baseline in (None, "nearest")
        images = flags.images if needs_photographs or is_model(flags.against) else None
        file = read_captions(flags.references, images, flags.skip_bad)
        self.splits = split_photographs(file.photographs)
        for remark in (*file.remarks, self.splits.describe()):
            say(remark)
        self.everything = file.photographs
        self.split, self.part = self.choose()
        # Captions of like length together: a batch under teacher forcing is as long as its longest.
        self.photographs = sorted(self.part[: flags.limit], key=longest_caption)

    def choose(self) -> tuple[str, tuple[Photograph, ...]]:
        """The split to score."""
        flags = self.flags
        if flags.split:
            return flags.split, self.photographs_of(flags.split)
        if flags.captions is not None:
            return self.covered(read_predictions(flags.captions), flags.captions)
        name = "test" if self.splits.test else "dev"
        return name, self.photographs_of(name)

    def photographs_of(self, name: str) -> tuple[Photograph, ...]:
        """The photographs of a split; raises DataError where there is none."""
        chosen = self.everything if name == "all" else getattr(self.splits, name)
        if not chosen:
            raise DataError(f"the data set has no {name} photographs; choose another --split")
        return tuple(chosen)

    def covered(
        self, candidates: Mapping[str, str], path: Path
    ) -> tuple[str, tuple[Photograph, ...]]:
        """The part of the data set that a file fits best: all of it, or one split.

        Raises DataError, by the part with the most of its images, where it fits none.
        """
        splits = {name: getattr(self.splits, name) for name in ("test", "dev", "train")}
        whole = len(self.everything)
        parts = {name: own for name, own in splits.items() if 0 < len(own) < whole}
        parts["all"] = self.everything
        for name, photographs in parts.items():
            try:
                match_predictions(candidates, [photo.name for photo in photographs], path)
            except DataError:
                continue
            return name, photographs
        known = {name: sum(photo.name in candidates for photo in parts[name]) for name in parts}
        return (best := max(known, key=lambda name: (known[name], -len(parts[name])))), parts[best]

    @property
    def references(self) -> list[tuple[str, ...]]:
        """The reference captions of the photographs."""
        return [photograph.captions for photograph in self.photographs]

    @property
    def training(self) -> frozenset[tuple[str, ...]] | None:
        """The tokens of the training captions, unless these are what is scored."""
        if self.split in ("train", "all") or not self.splits.train:
            return None
        return frozenset(
            tuple(ptb_tokenize(text)) for photo in self.splits.train for text in photo.captions
        )

    def source(self, model: Path | None, captions: Path | None, baseline: str | None) -> Source:
        """Caption the photographs, or read what another system wrote."""
        if captions is not None:
            return self.from_file(captions)
        if baseline is not None:
            return self.from_baseline(baseline)
        return self.from_model(model or SHIPPED_MODEL)

    def other(self, name: str) -> Source:
        """The system to compare with: a baseline's name, a checkpoint, or a caption file."""
        if name in BASELINES:
            return self.from_baseline(name)
        return self.from_model(Path(name)) if is_model(name) else self.from_file(Path(name))

    def from_file(self, path: Path) -> Source:
        """Captions that another system wrote."""
        candidates = read_predictions(path)
        # A table written with the same --limit holds the photographs that are scored, and no more.
        whole = len(candidates) > len(self.photographs)
        names = [photograph.name for photograph in (self.part if whole else self.photographs)]
        texts = match_predictions(candidates, names, path)
        by_name = dict(zip(names, texts, strict=True))
        texts = [by_name[photograph.name] for photograph in self.photographs]
        facts = {"captions": path.name, "sha256": file_hash(path)}
        return Source(path.stem, f"The captions of {path.name}", facts, System(texts))

    def from_baseline(self, name: str) -> Source:
        """Captions without a captioner."""
        if name == "human":
            texts = [captions[0] for captions in self.references]
            about = "People: each reference against the others, the mean over references"
            return Source(name, about, {"baseline": name}, System(texts, people=True))
        if self.split in ("train", "all"):
            raise DataError(
                "this baseline takes its captions from the training photographs, so it cannot be "
                "scored on them; choose another --split"
            )
        if not self.splits.train:
            raise DataError("this baseline needs training photographs, and the data set has none")
        if name == "frequent":
            text = most_frequent_caption(self.splits.train)
            about = f"The most frequent training caption for every photograph: “{text}”"
            return Source(name, about, {"baseline": name}, System([text] * len(self.photographs)))
        texts = nearest_captions(self.photographs, self.splits.train, self.mean_features())
        about = "The caption of the training photograph that looks most alike"
        return Source(name, about, {"baseline": name}, System(texts))

    def mean_features(self) -> Callable[[Sequence[Photograph]], NDArray[np.floating]]:
        """Mean features by the shipped model's encoder."""
        checkpoint = Checkpoint.load(SHIPPED_MODEL)
        network = checkpoint.build().to(self.flags.device)
        engine, digest = TorchEngine(network), encoder_hash(network.encoder)

        def features(photographs: Sequence[Photograph]) -> NDArray[np.floating]:
            cache = self.flags.cache
            return cached_mean_features(
                cache, photographs, checkpoint.images, digest, engine.encode
            )

        return features

    def from_model(self, path: Path) -> Source:
        """Captions of a checkpoint, with what only the network can tell."""
        checkpoint = Checkpoint.load(path)
        decoding = settings(checkpoint, self.flags)
        if not self.flags.allow_training_images:
            refuse_training_images(checkpoint, self.photographs)
        engine = TorchEngine(checkpoint.build().to(self.flags.device))
        vocabulary = checkpoint.vocabulary
        probe = AttentionProbe(engine.reference_decoder, vocabulary.encode(FUNCTION_WORDS))
        sweep = BeamSweep(engine, vocabulary, decoding, BEAMS) if self.flags.beams else None
        looks = [look for look in (probe, sweep) if look is not None]
        # Every caption is scored whole, however long.
        pixels = Pixels(self.photographs, checkpoint.images)
        dataset = CaptionDataset(self.photographs, vocabulary, pixels, max_words=10**6)
        say(f"captioning {len(self.photographs):,} photographs with beam {decoding.beam}")
        loader = tqdm(batches(dataset, BATCH), desc="captioning", unit="batch", disable=None)
        evaluation = evaluate(engine, self.photographs, loader, vocabulary, decoding, all_of(looks))
        facts = {
            "model": path.name,
            "sha256": file_hash(path),
            "beam": decoding.beam,
            "length penalty": decoding.length_penalty,
        }
        about = f"The model {path.name} with beam {decoding.beam}"
        system = system_of(evaluation, probe)
        return Source(path.stem, about, facts, system, evaluation, sweep, checkpoint)


def longest_caption(photograph: Photograph) -> int:
    """The length in words of a photograph's longest caption."""
    return max(map(len, photograph.references))


def is_model(name: str | None) -> bool:
    """Whether this names a checkpoint, by its suffix."""
    return name is not None and Path(name).suffix in (".pth", ".pt")


def all_of(looks: Sequence[Look]) -> Look:
    """One look that is several."""

    def look(*arguments: Any) -> None:
        for each in looks:
            each(*arguments)

    return look


def system_of(evaluation: Evaluation, probe: AttentionProbe) -> System:
    """What an evaluation says of the captions."""
    means = [float(one.log_probabilities.mean().exp()) for one in evaluation.hypotheses]
    return System(
        evaluation.captions,
        scores=np.array([one.score for one in evaluation.hypotheses]),
        log_probabilities=np.array(
            [float(one.log_probabilities.sum()) for one in evaluation.hypotheses]
        ),
        confidences=np.array(means),
        forced=evaluation.forced,
        probe=probe,
    )


def refuse_training_images(checkpoint: Checkpoint, photographs: Sequence[Photograph]) -> None:
    """Raise DataError when the model was trained on some of these photographs."""
    hashes = [name_hash(photograph.name) for photograph in photographs]
    seen = sum(digest in checkpoint.training_images for digest in hashes)
    if seen:
        raise DataError(
            f"the model was trained on {seen:,} of these {len(hashes):,} photographs, so its score "
            "would mean nothing; choose another --split, or pass --allow-training-images"
        )


def settings(checkpoint: Checkpoint, flags: argparse.Namespace) -> DecodeConfig:
    """The model's own search settings, with the flags that were given."""
    given = {"beam": flags.beam, "length_penalty": flags.length_penalty}
    return replace(checkpoint.decoding, **{k: v for k, v in given.items() if v is not None})


def say(text: str) -> None:
    """Print a line at once, in a log too."""
    print(text, flush=True)


def run(flags: argparse.Namespace) -> None:
    """Score, print and write."""
    refuse_what_does_not_fit(flags)
    scorer = Scorer(flags)
    # Both before either is scored: what is wrong with the second should not cost the first.
    source = scorer.source(flags.model, flags.captions, flags.baseline)
    other = scorer.other(flags.against) if flags.against else None
    say(f"scoring {len(scorer.photographs):,} {scorer.split} photographs")
    against_people = other is not None and other.system.people
    four = flags.four_references or against_people
    found = assess(source.system, scorer.references, scorer.training, four)
    name = flags.name or default_name(source, scorer)
    result = describe(name, source, scorer, flags) | found.to_json()
    if other is not None:
        against = assess(other.system, scorer.references, scorer.training, source.system.people)
        result["against"] = {"name": other.about, "metrics": compared(found, against)}
    if source.sweep is not None:
        result["beams"] = beams_of(source.sweep, scorer)
    show(result)
    write(name, result, source, scorer, found)
    if flags.publish:
        publish(flags.model or SHIPPED_MODEL, source, result)


def refuse_what_does_not_fit(flags: argparse.Namespace) -> None:
    """Raise ValueError for flags that would be ignored, or would publish what is not the whole."""
    of_model = {"--beam": flags.beam, "--length-penalty": flags.length_penalty}
    of_model |= {"--beams": flags.beams or None, "--publish": flags.publish or None}
    given = [name for name, value in of_model.items() if value is not None]
    if given and (flags.captions or flags.baseline):
        raise SettingError(f"{given[0]} is for a model: leave it out, or --captions and --baseline")
    partial = {"--limit": flags.limit, "--allow-training-images": flags.allow_training_images}
    partial["--split"] = flags.split in ("train", "all")
    given = [name for name, value in partial.items() if value]
    if flags.publish and given:
        raise SettingError(
            f"what is published is of all photographs held out: leave {given[0]} out"
        )
    if flags.name and Path(flags.name).name != flags.name:
        raise SettingError(f"--name {flags.name}: a name makes files in results, not a path")


def default_name(source: Source, scorer: Scorer) -> str:
    """The system's and the split's, and what was changed: a trial must not replace the whole."""
    flags = scorer.flags
    changes = {"first": flags.limit, "beam": flags.beam, "penalty": flags.length_penalty}
    parts = [f"_{name}_{value:g}" for name, value in changes.items() if value is not None]
    return f"{source.name}_{scorer.split}{''.join(parts)}"


def describe(
    name: str, source: Source, scorer: Scorer, flags: argparse.Namespace
) -> dict[str, Any]:
    """What was scored, on what, with what, by which command."""
    counts = {len(captions) for captions in scorer.references}
    references = counts.pop() if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return {
        "name": name,
        "system": source.about,
        **source.facts,
        "split": scorer.split,
        "split source": scorer.splits.source,
        "images": len(scorer.photographs),
        "references per image": references,
        "command": shlex.join(["python", "bleu_scorer.py", *flags.words]),
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


def beams_of(sweep: BeamSweep, scorer: Scorer) -> list[dict[str, Any]]:
    """Figures and intervals for each beam width."""
    return [
        {"beam": beam, **caption_figures(captions, scorer.references)}
        for beam, captions in sweep.captions.items()
    ]


def show(result: Mapping[str, Any]) -> None:
    """Print the figures with their intervals, and the comparison."""
    for name, value in result["metrics"].items():
        low, high = result["intervals"].get(name, (None, None))
        interval = "" if low is None else f"   95 % interval {low:.2f} to {high:.2f}"
        say(f"{name:>22} {value:8.2f}{interval}")
    if "attention" in result:
        attention = result["attention"]
        low, high = attention["interval"]
        say(f"{'faithfulness':>22} {attention['faithfulness']:8.3f}   {low:.3f} to {high:.3f} nats")
    for name, row in result.get("against", {}).get("metrics", {}).items():
        say(
            f"{name:>22} {row['this']:8.2f} against {row['other']:8.2f}: {row['difference']:+.2f} "
            f"({row['interval'][0]:+.2f} to {row['interval'][1]:+.2f}), p = {row['p']:.4f}"
        )
    for note in result["notes"]:
        say(note)


def write(
    name: str, result: dict[str, Any], source: Source, scorer: Scorer, found: Assessment
) -> None:
    """Write JSON, CSV, the report and its figures as PNG: each beside, then renamed."""
    metrics, plots = Path("results/metrics"), Path("results/plots")
    figures = draw(result, source, scorer, found)
    entries = gallery(source, scorer, found)
    pages = {
        plots / f"{name}.html": report_html(result, entries, figures),
        metrics / f"{name}.csv": table(source, scorer, found),
        metrics / f"{name}.json": as_json(result),
    }
    for key, figure in figures.items():
        save_figure(figure, plots / f"{name}_{key}.png")
    for path, text in pages.items():
        write_text(path, text)
        say(f"written to {path}")


def as_json(content: Mapping[str, Any]) -> str:
    """JSON as people read it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def table(source: Source, scorer: Scorer, found: Assessment) -> str:
    """A CSV row an image; ``--captions`` reads it too."""
    text = io.StringIO()
    writer = csv.writer(text)  # its own line ends: a caption may hold any of them
    new = [] if found.new is None else ["new"]
    # A person's row has the first reference beside means over all: nothing for --captions to read.
    caption = "first reference" if source.system.people else "caption"
    writer.writerow(["image", caption, *found.images, "invented objects", *new])
    in_order = sorted(enumerate(scorer.photographs), key=lambda pair: pair[1].name)
    for place, photograph in in_order:
        values = [round(float(column[place]), 4) for column in found.images.values()]
        row = [photograph.name, source.system.captions[place], *values]
        unseen = [] if found.new is None else [int(found.new[place])]
        writer.writerow([*row, " ".join(found.invented[place]), *unseen])
    return text.getvalue()


def draw(
    result: Mapping[str, Any], source: Source, scorer: Scorer, found: Assessment
) -> dict[str, Any]:
    """The report's figures."""
    lengths = [len(ptb_tokenize(caption)) for caption in source.system.captions]
    expected = [len(ptb_tokenize(text)) for texts in scorer.references for text in texts]
    figures = {
        "scores": score_distribution(found.images["CIDEr-D"], "CIDEr-D"),
        "lengths": length_figure(lengths, expected),
    }
    if "calibration" in result:
        figures["reliability"] = reliability_figure(result["calibration"]["bins"], "CIDEr-D")
    if "beams" in result:
        figures["beams"] = beam_curve(result["beams"])
    return figures


def gallery(source: Source, scorer: Scorer, found: Assessment) -> list[Entry]:
    """The best, median, worst and random photographs by CIDEr-D."""
    order = np.argsort(-found.images["CIDEr-D"], kind="stable")
    middle = max(0, len(order) // 2 - GALLERY // 2)
    chance = np.random.default_rng(0).permutation(len(order))
    groups = {
        "best": order[:GALLERY],
        "median": order[middle : middle + GALLERY],
        "worst": order[::-1][:GALLERY],
        "random": chance[:GALLERY],
    }
    members: dict[int, list[str]] = {}
    for group, places in groups.items():
        for place in places.tolist():
            members.setdefault(place, []).append(group)
    return [entry(place, names, source, scorer, found) for place, names in members.items()]


def entry(
    place: int, groups: Sequence[str], source: Source, scorer: Scorer, found: Assessment
) -> Entry:
    """One photograph of the gallery."""
    photograph, caption = scorer.photographs[place], source.system.captions[place]
    shown = Entry(
        tuple(groups),
        photograph.name,
        photo_of(photograph, scorer.flags.images),
        as_sentence(caption) if caption else "",
        photograph.captions,
        {name: float(values[place]) for name, values in found.images.items()},
        hallucinated=found.invented[place],
    )
    if source.evaluation is None or source.checkpoint is None:
        return shown
    best = source.evaluation.hypotheses[place]
    words = source.checkpoint.vocabulary.decode(best.tokens)
    return replace(shown, words=tuple(words), attention=best.maps().numpy())


def photo_of(photograph: Photograph, folder: Path) -> Image.Image | None:
    """The photograph, small and upright; None where it is not there."""
    try:
        return thumbnail(read_photo(folder / photograph.name, near=PHOTO_SIDE), PHOTO_SIDE)
    except ImageError:
        return None


def publish(model: Path, source: Source, result: dict[str, Any]) -> None:
    """Write results.json and the model card beside a model, and the README's figures."""
    assert source.checkpoint is not None
    pages = {
        model.parent / "results.json": as_json(result),
        model.parent / "README.md": model_card(source.checkpoint, result),
    }
    if model.resolve() == SHIPPED_MODEL:
        pages[README] = with_results(README.read_text(encoding="utf-8"), result)
    # All are made before the first is written, so that they never disagree.
    for path, text in pages.items():
        write_text(path, text)
        say(f"published in {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; returns the exit status."""
    flags = parse_arguments(arguments)
    flags.words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        run(flags)
    except (CaptioningError, OSError) as error:
        print(f"bleu_scorer.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
