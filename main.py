"""Train the captioner: python main.py

The recipe below trains a model like the one that ships, whose history is in model/README.md.
Change it here, or override it by flags: python main.py --help lists them.
"""

from captioning.interrupts import INTERRUPTED, ending_at_once, ending_quietly

with ending_at_once():
    import argparse
    import sys
    from collections.abc import Sequence
    from pathlib import Path

    from captioning.errors import CaptioningError, needed_for
    from captioning.network.config import DecodeConfig
    from captioning.network.shipped import SHIPPED_MODEL
    from captioning.processes import first_speaks, joined
    from captioning.training.config import TrainConfig
    from captioning.training.flags import ALL, CONTROLS, TrainingFlags
    from captioning.training.recipe import BLEND, SETTINGS, STAGES, Recipe

CAPTIONS = Path("flickr8k/Flickr8k_Subset/captions.txt")
IMAGES = CAPTIONS.parent / "Images"

RECIPE = Recipe(
    min_count=5,
    caption_words=16,
    image_size=224,
    embedding_dim=512,
    attention_dim=512,
    decoder_dim=512,
    dropout=0.5,
    decoding=DecodeConfig(beam=4, length_penalty=0.8, max_words=30, repetition_penalty=1.5),
    blend=0.8,
    language=TrainConfig(
        epochs=1,
        batch_size=128,
        learning_rate=2e-3,
        precision="auto",
        seed=6,
    ),
    decoder=TrainConfig(
        epochs=2,
        batch_size=32,
        learning_rate=1e-3,
        guidance=0.3,
        detection=0.01,
        precision="auto",
        seed=1,
    ),
    finetune=TrainConfig(
        epochs=4,
        batch_size=48,
        learning_rate=1e-3,
        encoder_learning_rate=1e-4,
        frozen_layers=1,
        warmup=0.1,
        captions_per_photo=2,
        entropy=0.02,
        guidance=0.3,
        detection=0.01,
        distillation=0.5,
        train_size=160,  # half the pixels, half the time
        crop=0.6,
        flip=0.5,
        jitter=0.2,
        precision="auto",
        seed=2,
    ),
    refine=TrainConfig(
        epochs=6,
        batch_size=48,
        learning_rate=5e-4,
        encoder_learning_rate=1e-4,
        frozen_layers=1,
        captions_per_photo=3,
        entropy=0.1,
        guidance=0.3,
        detection=0.01,
        distillation=0.5,
        other_manners=0.25,
        train_size=192,
        crop=0.6,
        flip=0.5,
        jitter=0.2,
        precision="auto",
        seed=3,
    ),
    reinforce=TrainConfig(
        epochs=1,
        batch_size=32,
        learning_rate=3e-4,
        other_manners=0.1,
        train_size=192,  # of the classes that are kept: those of refine, from the cache
        samples=5,
        naming=0.5,
        hallucination=0.5,
        # The rest is multiplied by the weight of the cross-entropy, too.
        cross_entropy=0.2,
        entropy=0.5,
        guidance=1.0,
        detection=0.05,
        distillation=2.5,
        precision="auto",
        seed=4,
    ),
    adapt=TrainConfig(
        epochs=10,
        batch_size=16,
        learning_rate=5e-4,
        precision="auto",
        seed=5,
    ),
)


def parse_arguments(arguments: Sequence[str] | None = None) -> TrainingFlags:
    """Read the command line, or these ``arguments``."""
    words = sys.argv[1:] if arguments is None else arguments
    values = vars(build_parser().parse_args(words))
    settings = {name: values.pop(name) for name in SETTINGS if name in values}
    lists = {"captions": [CAPTIONS], "images": [IMAGES], "text": [], "manner": []}
    values |= {name: tuple(values[name] or default) for name, default in lists.items()}
    return TrainingFlags(**values, settings=settings, words=tuple(words))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all flags."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Train the captioner: first the decoder, on text where there is any and on "
        "features of a frozen ResNet-50, then both together, last the decoder with the CIDEr-D of "
        "its captions as the reward. The best epoch by CIDEr-D is saved in runs/NAME, metrics and "
        "curves in results. An interrupted run resumes with the same command. On several "
        "processors or GPUs: torchrun --nproc-per-node N main.py, with the same flags.",
    )
    add_data_flags(parser)
    add_reading_flags(parser)
    add_run_flags(parser)
    add_encoder_flags(parser)
    add_recipe_flags(parser)
    return parser


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """What to train on."""
    add = parser.add_argument_group("data").add_argument
    add(
        "--captions",
        type=Path,
        action="append",
        metavar="FILE",
        help="caption file; may be given several times, each with its --images: the first one's "
        f"development photographs choose the best epoch (default: {CAPTIONS})",
    )
    add(
        "--images",
        type=Path,
        action="append",
        metavar="FOLDER",
        help=f"folder of its photographs (default: {IMAGES})",
    )
    add(
        "--text",
        type=Path,
        action="extend",
        nargs="+",
        metavar="FILE",
        help="captions without photographs, one a line, UTF-8, plain or gzip",
    )
    add(
        "--manner",
        action="append",
        metavar="GLOB=NAME",
        help="captions of photographs whose names match the pattern are in a manner of their own, "
        "such as 'web_*=web'; the model writes in the default manner, which all other captions "
        "have, with --init your own too",
    )
    add(
        "--default-manner",
        type=Path,
        metavar="FILE",
        help="names of photographs whose captions are in the default manner, whatever --manner "
        "says, one a line",
    )
    add(
        "--leave-out",
        type=Path,
        metavar="FILE",
        help="names of photographs not to use at all, one a line",
    )


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """How the data is read."""
    add = parser.add_argument_group("reading").add_argument
    add(
        "--data-terms",
        type=Path,
        metavar="FILE",
        help="for the model card: where the data come from, on what terms, and (paragraphs that "
        "begin with 'Biases:') what is lopsided about them; an empty line between paragraphs",
    )
    add(
        "--skip-bad",
        action="store_true",
        help="skip bad rows, and photographs that are missing or damaged",
    )
    add(
        "--limit",
        type=int,
        metavar="N",
        help="use N photographs of each split of each data set: a quick trial",
    )
    add(
        "--cache",
        type=Path,
        default=Path("cache"),
        metavar="FOLDER",
        help="folder for features (default: %(default)s)",
    )
    add(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that read photographs, for each that trains (default: %(default)s)",
    )


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """What to train, and how the run is kept."""
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--name", help="name of the run (default: flickr8k; adapted with --init)")
    add(
        "--stage",
        choices=[*STAGES, BLEND, ALL],
        default=ALL,
        help="what to train (default: %(default)s)",
    )
    resuming = group.add_mutually_exclusive_group()
    resuming.add_argument(
        "--resume",
        action="store_true",
        help="resume an interrupted run; this also happens without the flag",
    )
    resuming.add_argument(
        "--restart", action="store_true", help="start over instead of resuming an interrupted run"
    )
    add(
        "--save-every",
        type=float,
        default=5.0,
        metavar="MINUTES",
        help="how often to save the state for resuming (default: %(default)g)",
    )
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--install", action="store_true", help=f"copy the result to model/{SHIPPED_MODEL.name}")


def add_encoder_flags(parser: argparse.ArgumentParser) -> None:
    """What to start from."""
    add = parser.add_argument_group("start").add_argument
    add(
        "--init",
        type=Path,
        metavar="FILE",
        help=f"continue training a model, such as model/{SHIPPED_MODEL.name}, on captions of your "
        "own",
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
        help="the encoder weights are of the original ResNet-50, with stride in 1x1 and ceil_mode "
        "pooling",
    )
    add(
        "--encoder-source",
        metavar="TEXT",
        help="origin and licence of the encoder weights, for the model card",
    )
    add(
        "--control",
        choices=CONTROLS,
        help="a control experiment, with --stage decoder: train on other photographs' features, or "
        "on the mean feature at every location",
    )


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """The settings of the recipe."""
    group = parser.add_argument_group(
        "recipe",
        "override the recipe at the top of main.py; a setting of a stage applies to every stage "
        "that runs",
    )
    for name, setting in SETTINGS.items():
        text = f"{setting.help} (default: {RECIPE.describe(name)})"
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=setting.type,
            default=argparse.SUPPRESS,
            metavar=setting.type.__name__.upper(),
            help=text.replace("%", "%%"),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit status."""
    try:
        with ending_quietly(), joined():
            with first_speaks():
                flags = parse_arguments(arguments)
            # PyTorch takes seconds, which --help need not wait for.
            with ending_at_once(), needed_for("training", "'.[train]'"):
                from captioning.training.pipeline import train
            train(flags, RECIPE)
    except (CaptioningError, OSError) as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("main.py: stopped; the same command resumes the run", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
