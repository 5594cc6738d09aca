"""Train the captioner: python main.py

The recipe below trains a model like the one that ships, whose own history is in model/README.md.
Change it here, or override it by flags: python main.py --help lists them.
"""

import argparse
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning.data.augment import AugmentConfig, Augmented
from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.dataset import Batch, CaptionDataset, Pixels, View, batches
from captioning.data.features import (
    Features,
    cached_features,
    with_mean_features,
    with_other_features,
)
from captioning.data.images import ImageConfig
from captioning.data.splits import Splits, name_hash, split_photographs
from captioning.data.vocab import SPECIAL_TOKENS, Vocabulary
from captioning.errors import CaptioningError, SettingError
from captioning.evaluation.evaluate import evaluate
from captioning.files import remove_leftovers, write_atomically
from captioning.inference.torch_engine import TorchEngine, resolve_device
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import DecodeConfig, ModelConfig
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import (
    encoder_hash,
    pretrained_encoder,
    weights_hash,
)
from captioning.network.vocabulary_growth import extend_vocabulary
from captioning.plots import save_figure, training_curves
from captioning.training.reinforce import SelfCritical
from captioning.training.resume import Record
from captioning.training.train import (
    LossFunction,
    Run,
    TrainConfig,
    caption_loss,
    fit,
    interpolate_weights,
)

STAGES = ("decoder", "finetune", "refine", "reinforce")
BLEND = "blend"  # needs no training: weights between those of the last two stages
ADAPT = "adapt"  # instead of all others, where training goes on from a trained model


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run makes."""

    min_count: int  # a word is known when it occurs this often in the training captions
    caption_words: int  # longer captions are cut in training
    image_size: int  # pixels: photographs are squeezed into a square of this side
    embedding_dim: int
    attention_dim: int
    decoder_dim: int
    dropout: float
    decoding: DecodeConfig  # for choosing the best epoch; the checkpoint keeps it as its default
    decoder: TrainConfig  # first stage: the decoder, over features of the frozen encoder
    finetune: TrainConfig  # second stage: the whole encoder with the decoder
    refine: TrainConfig  # third stage: both, on photographs changed by chance
    search: DecodeConfig  # what the blended model searches with
    blend: float  # last: the way from the refined weights (0) to the reinforced ones (1)
    reinforce: TrainConfig  # fourth stage: the decoder, rewarded by CIDEr-D of what it says
    adapt: TrainConfig  # with --init: a trained model's decoder, on captions of one's own

    def __post_init__(self) -> None:
        for name in ("min_count", "caption_words"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.blend <= 1:
            raise SettingError(f"blend must be in [0, 1], not {self.blend}")

    @property
    def stages(self) -> dict[str, TrainConfig]:
        """The stages in their order, by name."""
        return {name: getattr(self, name) for name in (*STAGES, ADAPT)}


RECIPE = Recipe(
    min_count=5,
    caption_words=20,
    image_size=224,
    embedding_dim=512,
    attention_dim=512,
    decoder_dim=512,
    dropout=0.5,
    decoding=DecodeConfig(beam=3, length_penalty=0.0, max_words=30),
    search=DecodeConfig(beam=4, length_penalty=0.8, max_words=30),
    blend=0.25,  # all the way, captions become alike
    decoder=TrainConfig(
        epochs=10,
        batch_size=32,
        learning_rate=1e-3,
        precision="auto",
        seed=1,
    ),
    finetune=TrainConfig(
        epochs=3,
        batch_size=16,
        learning_rate=2e-4,
        encoder_learning_rate=5e-5,
        attention_penalty=0.1,  # the first stage has spread the attention; this lets it settle
        precision="auto",
        seed=2,
    ),
    refine=TrainConfig(
        epochs=9,
        batch_size=20,
        learning_rate=2e-4,
        encoder_learning_rate=1e-4,
        attention_penalty=0.0,
        crop=0.7,
        flip=0.5,
        jitter=0.2,
        precision="auto",
        seed=3,
    ),
    reinforce=TrainConfig(
        epochs=3,
        batch_size=32,
        learning_rate=2e-4,
        attention_penalty=0.0,
        samples=5,
        cross_entropy=0.0,
        precision="auto",
        seed=4,
    ),
    adapt=TrainConfig(
        epochs=10,
        batch_size=16,
        learning_rate=5e-4,
        attention_penalty=0.0,
        precision="auto",
        seed=5,
    ),
)


SCORING_BATCH = 50  # photographs
UNCHANGED = AugmentConfig()


def simple_fields(config: type) -> dict[str, type]:
    """The fields of a configuration that one flag can set."""
    return {field.name: field.type for field in fields(config) if field.type in (int, float, str)}


RECIPE_FLAGS = {
    **simple_fields(DecodeConfig),
    **simple_fields(TrainConfig),
    **simple_fields(Recipe),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Train the captioner: first the decoder over features of a frozen ResNet-50, "
        "then both together, last the decoder by the CIDEr-D of what it says. The best epoch by "
        "CIDEr-D lands in runs/NAME, figures and curves in results. A run that was interrupted "
        "goes on where it was, with the same command.",
    )
    add = parser.add_argument
    data = Path("flickr8k/Flickr8k_Subset")
    add("--captions", type=Path, default=data / "captions.txt", help="caption file (%(default)s)")
    add("--images", type=Path, default=data / "Images", help="folder of photographs (%(default)s)")
    add("--skip-bad", action="store_true", help="leave out bad rows and missing photographs")
    add("--limit", type=int, metavar="N", help="use N photographs of each split: a quick trial")
    add("--name", help="name of the run (flickr8k; adapted with --init)")
    add(
        "--init",
        type=Path,
        metavar="FILE",
        help=f"go on from a trained model, such as model/{SHIPPED_MODEL.name}, with captions of "
        "your own",
    )
    going_on = parser.add_mutually_exclusive_group()
    going_on.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run was; that is also done without this flag",
    )
    going_on.add_argument(
        "--restart", action="store_true", help="start anew instead of going on where a run was"
    )
    add(
        "--save-every",
        type=float,
        default=5.0,
        metavar="MINUTES",
        help="save the state of training this often, for going on (%(default)g)",
    )
    add(
        "--stage",
        choices=[*STAGES, BLEND, "all"],
        default="all",
        help="what to train (%(default)s)",
    )
    add(
        "--encoder-weights",
        type=Path,
        metavar="FILE",
        help="a state dict of torchvision's resnet50, instead of its ImageNet weights",
    )
    add(
        "--stride-in-1x1",
        action="store_true",
        help="FILE is of the original ResNet-50, with stride in 1x1 and ceil_mode pooling",
    )
    add("--encoder-source", metavar="TEXT", help="whence FILE, and its licence: the model says so")
    add(
        "--control",
        choices=["blind", "no-attention"],
        help="a control experiment, with --stage decoder: learn from other photographs' features, "
        "or from the mean feature at every place",
    )
    add("--cache", type=Path, default=Path("cache"), help="folder for features (%(default)s)")
    add("--workers", type=int, default=0, help="processes that read photographs (%(default)s)")
    add("--device", default="auto", help="where to compute: auto, cpu or cuda (%(default)s)")
    add("--install", action="store_true", help=f"copy the result to model/{SHIPPED_MODEL.name}")
    recipe = parser.add_argument_group(
        "recipe",
        "override the recipe at the top of main.py; settings of a stage hold for each that runs",
    )
    for name, kind in RECIPE_FLAGS.items():
        recipe.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=kind.__name__.upper())
    flags = parser.parse_args(arguments)
    flags.name = flags.name or ("adapted" if flags.init else "flickr8k")
    return flags


def override(recipe: Recipe, flags: argparse.Namespace) -> Recipe:
    """The recipe with the flags that were given. Raises ValueError for values out of range."""
    given = {name: value for name in RECIPE_FLAGS if (value := getattr(flags, name)) is not None}

    def own(config: Recipe | DecodeConfig | TrainConfig) -> dict[str, Any]:
        return {name: given[name] for name in simple_fields(type(config)) if name in given}

    parts: dict[str, Any] = {"decoding": recipe.decoding, "search": recipe.search}
    parts |= recipe.stages
    changed = {name: replace(config, **own(config)) for name, config in parts.items()}
    return replace(recipe, **own(recipe), **changed)


def say(text: str) -> None:
    """Print a line at once, in a log too."""
    print(text, flush=True)


def read_splits(flags: argparse.Namespace) -> Splits:
    """Read the data set and say what is used."""
    if flags.limit is not None and flags.limit < 1:
        raise SettingError(f"--limit must be at least 1, not {flags.limit}")
    file = read_captions(flags.captions, flags.images, flags.skip_bad)
    splits = split_photographs(file.photographs).limited(flags.limit)
    for line in (*file.remarks, splits.describe()):
        say(line)
    if not splits.train or not splits.dev:
        raise DataError(
            f"{flags.captions}: there must be photographs to train on and others to choose with; "
            "add photographs"
        )
    return splits


def untrained(flags: argparse.Namespace, recipe: Recipe, splits: Splits) -> Checkpoint:
    """The start of all training: a pretrained encoder, a vocabulary, a decoder by chance."""
    fallback = SHIPPED_MODEL if SHIPPED_MODEL.exists() else None
    first = pretrained_encoder(flags.encoder_weights, flags.stride_in_1x1, fallback)
    captions = [tokens for photograph in splits.train for tokens in photograph.references]
    vocabulary = Vocabulary.build(captions, recipe.min_count)
    if len(vocabulary) == len(SPECIAL_TOKENS):
        raise DataError(
            f"{flags.captions}: no word occurs {recipe.min_count} times in the training captions; "
            "add photographs, or lower --min-count"
        )
    source = f"{flags.encoder_source}; {first.source}" if flags.encoder_source else first.source
    say(f"encoder: {source}; vocabulary: {len(vocabulary):,} words")
    model = ModelConfig(
        len(vocabulary),
        recipe.embedding_dim,
        recipe.attention_dim,
        recipe.decoder_dim,
        recipe.dropout,
        first.stride_in_1x1,
    )
    torch.manual_seed(recipe.decoder.seed)
    network = CaptioningModel(model)
    network.encoder.load_state_dict(first.encoder.state_dict())
    return Checkpoint(
        model,
        ImageConfig(recipe.image_size),
        vocabulary,
        network.state_dict(),
        training_images=first.training_images,
        decoding=recipe.decoding,
        provenance={"encoder": source, "data": splits.describe(), "stages": []},
    )


def initial(flags: argparse.Namespace, recipe: Recipe, splits: Splits) -> Checkpoint:
    """The trained model that --init names, with the new words of these captions added."""
    start = Checkpoint.load(flags.init)
    refuse_other_sizes(flags, start)
    captions = [tokens for photograph in splits.train for tokens in photograph.references]
    larger = extend_vocabulary(start, captions, recipe.min_count)
    added = len(larger.vocabulary) - len(start.vocabulary)
    say(f"start: {flags.init}; {added:,} new words beside {len(start.vocabulary):,} known ones")
    return larger


class Stage:
    """One stage of training: from one checkpoint to a better one."""

    def __init__(
        self,
        name: str,
        start: Checkpoint,
        splits: Splits,
        recipe: Recipe,
        flags: argparse.Namespace,
    ) -> None:
        self.name, self.start, self.splits = name, start, splits
        self.recipe, self.flags = recipe, flags
        self.config = recipe.stages[name].resolve_precision(flags.device)
        self.network = start.build().to(flags.device)
        self.engine = TorchEngine(self.network)
        self.folder = Path("runs") / flags.name

    def run(self) -> Checkpoint:
        """Train, and return the best checkpoint."""
        words = self.recipe.caption_words
        training = self.dataset(self.splits.train, words, self.config.augmentation)
        # The development captions are scored whole.
        dev = self.dataset(self.splits.dev, max_words=10**6)
        best = self.folder / f"{self.name}.pth"
        resume = self.folder / f"{self.name}.resume.pth"
        if self.flags.restart:
            resume.unlink(missing_ok=True)

        def sampler(epoch: int, done: int) -> Iterable[Batch]:
            seed = self.config.seed * 1000 + epoch
            return batches(training, self.config.batch_size, seed, self.flags.workers, done)

        def score(network: CaptioningModel) -> Mapping[str, float]:
            return self.measure(network, dev, self.recipe.decoding)

        fit(
            self.network,
            sampler,
            steps=-(-len(training) // self.config.batch_size),
            score=score,
            rank=by_cider_then_loss,
            config=self.config,
            run=Run(
                best,
                resume,
                self.checkpoint,
                self.report,
                self.origin(),
                self.flags.save_every * 60,
            ),
            loss_function=self.loss_function(training),
        )
        return Checkpoint.load(best)

    def measure(
        self, network: CaptioningModel, dev: CaptionDataset, decoding: DecodeConfig
    ) -> Mapping[str, float]:
        """Figures of a network on the development photographs."""
        loader = batches(dev, SCORING_BATCH, workers=self.flags.workers)
        arguments = (self.splits.dev, loader, self.start.vocabulary, decoding)
        return evaluate(TorchEngine(network), *arguments).metrics

    def blend(self) -> Checkpoint:
        """The network between the one it starts from and the one it made; nothing is trained."""
        after = Checkpoint.load(before_stage(self.folder, self.name))
        search, share = self.recipe.search, self.recipe.blend
        weights = interpolate_weights(self.start.weights, after.weights, share)
        network = replace(after, weights=weights).build().to(self.flags.device)
        figures = self.measure(network, self.dataset(self.splits.dev, max_words=10**6), search)
        stages = [*after.provenance["stages"], self.made(BLEND, {"share": share, **asdict(search)})]
        return replace(
            after,
            weights=weights,
            decoding=search,
            provenance={**after.provenance, "stages": stages},
            figures=figures,
        )

    def made(self, stage: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a checkpoint says of one stage."""
        return {
            "stage": stage,
            "command": shlex.join(["python", "main.py", *sys.argv[1:]]),
            "config": dict(config),
            "data": self.splits.describe(),
            "torch": str(torch.__version__),
        }

    def loss_function(self, training: CaptionDataset) -> LossFunction:
        """Cross-entropy, or the self-critical loss where captions are sampled."""
        if self.config.samples == 0:
            return caption_loss
        return SelfCritical(training.captions, self.recipe.caption_words)

    def origin(self) -> str:
        """What the stage begins with and is measured by: network, captions, search settings."""
        parts = (self.splits.train, self.splits.dev)
        captions = [[(photo.name, photo.captions) for photo in part] for part in parts]
        start = (weights_hash(self.start.weights), self.start.model, self.start.images)
        settings = (self.recipe.caption_words, self.recipe.decoding, self.flags.control)
        content = (start, captions, *settings)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def dataset(
        self,
        photographs: Sequence[Photograph],
        max_words: int,
        augment: AugmentConfig = UNCHANGED,
    ) -> CaptionDataset:
        """Photographs as features while the encoder is frozen, else as pixels."""
        visual: Callable[[int], Tensor | View]
        if self.config.encoder_learning_rate == 0:
            visual = self.controlled(self.features(photographs), photographs)
        elif augment == UNCHANGED:
            visual = Pixels(photographs, self.start.images)
        else:
            visual = Augmented(photographs, self.start.images, augment)
        return CaptionDataset(photographs, self.start.vocabulary, visual, max_words)

    def controlled(
        self, visual: Features, photographs: Sequence[Photograph]
    ) -> Callable[[int], Tensor]:
        """The features as the control experiment asked for has them; without one, as they are."""
        if self.flags.control == "no-attention":
            return with_mean_features(visual)
        if self.flags.control == "blind" and photographs is self.splits.train:
            return with_other_features(visual, len(photographs))
        return visual

    def features(self, photographs: Sequence[Photograph]) -> Features:
        """The cached features of these photographs, computed now if need be."""
        digest = encoder_hash(self.network.encoder)
        cached = cached_features(
            self.flags.cache, photographs, self.start.images, digest, self.engine.encode
        )
        return Features(cached)

    def checkpoint(self, network: CaptioningModel, figures: Mapping[str, float]) -> Checkpoint:
        """What to save of a network that scored ``figures`` on the development split."""
        made = self.made(self.name, asdict(self.config))
        stages = [*self.start.provenance["stages"], made]
        return replace(
            self.start,
            weights=network.state_dict(),
            training_images=self.start.training_images
            | {name_hash(photograph.name) for photograph in self.splits.train},
            provenance={**self.start.provenance, "stages": stages},
            figures=figures,
        )

    def report(self, records: list[Record]) -> None:
        """Write a JSON line an epoch and the curves, and say how the last epoch went."""
        path = metrics_of(self.flags)
        earlier = STAGES[: STAGES.index(self.name)] if self.name in STAGES else ()
        lines = [line for line in read_lines(path) if line["stage"] in earlier]
        lines += [{"stage": self.name, **record} for record in records]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_atomically(path, lambda temporary: temporary.write_text(text))
        curves = training_curves(lines, f"Training of {self.flags.name}")
        save_figure(curves, plot_of(self.flags))
        last, figures = records[-1], records[-1]["dev"]
        say(
            f"{self.name} epoch {last['epoch']}: train loss {last['train_loss']:.3f}, "
            f"dev loss {figures['loss']:.3f}, BLEU-4 {figures['BLEU-4']:.2f}, "
            f"CIDEr-D {figures['CIDEr-D']:.2f}, {last['seconds']:.0f} s"
        )


def by_cider_then_loss(figures: Mapping[str, float]) -> tuple[float, float]:
    """The figures by which epochs are chosen: on few photographs, several may caption alike."""
    return figures["CIDEr-D"], -figures["loss"]


def metrics_of(flags: argparse.Namespace) -> Path:
    """Where a run keeps its figures."""
    return Path("results/metrics") / f"{flags.name}.jsonl"


def plot_of(flags: argparse.Namespace) -> Path:
    """Where a run keeps its curves."""
    return Path("results/plots") / f"{flags.name}.png"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def refuse_other_sizes(flags: argparse.Namespace, decided: Checkpoint) -> None:
    """Raise ValueError for flags that a later stage cannot follow: the first one decided."""
    sizes = {**asdict(decided.model), "image_size": decided.images.size}
    own = [name for name in RECIPE_FLAGS if name in sizes]
    others = [name for name in own if getattr(flags, name) not in (None, sizes[name])]
    if others:
        raise SettingError(
            f"the model to go on from was decided otherwise than {', '.join(others)}: leave that "
            "out, or train all stages anew under another --name"
        )


def before_stage(folder: Path, stage: str) -> Path:
    """The checkpoint of the stage before; raises ValueError where that has not been trained."""
    path = folder / f"{stage}.pth"
    if not path.exists():
        raise SettingError(f"{path}: there is no such model file; train --stage {stage} first")
    return path


def best_of(made: Sequence[Checkpoint], known: Path) -> Checkpoint:
    """The best checkpoint of those made, and of what later stages made of them before.

    Figures on other photographs than the last one's are not comparable, and do not count.
    """
    last = made[-1].provenance
    candidates = list(made)
    if known.exists():
        before = Checkpoint.load(known)
        if before.provenance["stages"][: len(last["stages"])] == last["stages"]:
            candidates.append(before)
    measured_on = data_of(made[-1])
    alike = [checkpoint for checkpoint in candidates if data_of(checkpoint) == measured_on]
    return max(alike, key=lambda checkpoint: by_cider_then_loss(checkpoint.figures))


def data_of(checkpoint: Checkpoint) -> str:
    """The data that the last stage of a checkpoint was trained and measured on."""
    provenance = checkpoint.provenance
    return str(provenance["stages"][-1].get("data", provenance["data"]))


def train(flags: argparse.Namespace) -> None:
    """Run the stages asked for and keep the best checkpoint."""
    recipe = override(RECIPE, flags)
    if flags.control and flags.stage != "decoder":
        raise SettingError("--control is for the frozen encoder: give --stage decoder and a --name")
    if flags.init and (flags.stage != "all" or flags.encoder_weights):
        raise SettingError("--init has a stage and an encoder of its own: leave out the others")
    flags.device = resolve_device(flags.device)
    splits = read_splits(flags)
    folder = Path("runs") / flags.name
    for path in (folder / f"{BLEND}.pth", folder / "best.pth", metrics_of(flags), plot_of(flags)):
        remove_leftovers(path)
    stages = {"all": STAGES, BLEND: STAGES[-1:]}.get(flags.stage, (flags.stage,))
    made = []
    if flags.init:
        stages, checkpoint = (ADAPT,), initial(flags, recipe, splits)
    elif stages[0] == STAGES[0]:
        checkpoint = untrained(flags, recipe, splits)
    else:
        before = STAGES[STAGES.index(stages[0]) - 1]
        checkpoint = Checkpoint.load(before_stage(folder, before))
        refuse_other_sizes(flags, checkpoint)
        made.append(checkpoint)
    for name in stages:
        stage = Stage(name, checkpoint, splits, recipe, flags)
        if flags.stage != BLEND:
            checkpoint = stage.run()
            made.append(checkpoint)
    if flags.stage in (BLEND, "all") and not flags.init:
        made.append(stage.blend())
        made[-1].save(folder / f"{BLEND}.pth")
    best = best_of(made, folder / "best.pth")
    best.save(folder / "best.pth")
    say(f"best: {folder / 'best.pth'}, CIDEr-D {best.figures['CIDEr-D']:.2f} on dev")
    if flags.install:
        best.save(SHIPPED_MODEL)
        say(f"installed as {SHIPPED_MODEL}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit status."""
    flags = parse_arguments(arguments)
    try:
        train(flags)
    except (CaptioningError, OSError) as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("main.py: stopped; the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
