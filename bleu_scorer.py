"""Score captions: python bleu_scorer.py

Of a model, of a file that another system wrote, or of a baseline; with intervals, comparisons and
a report.
"""

from captioning.interrupts import INTERRUPTED, ending_at_once, ending_quietly

with ending_at_once():
    import argparse
    import sys
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TYPE_CHECKING, Any

    from captioning.errors import CaptioningError, needed_for
    from captioning.evaluation.scoring_flags import BASELINES, ScoringFlags
    from captioning.network.shipped import SHIPPED_MODEL

if TYPE_CHECKING:
    from captioning.evaluation.assessment import Assessment
    from captioning.evaluation.scored_system import ScoredSystem
    from captioning.evaluation.scoring_data import ScoringData

README = Path(__file__).parent / "README.md"


def make_parser() -> argparse.ArgumentParser:
    """The command line; what is not given is left to the defaults of ``ScoringFlags``."""
    parser = argparse.ArgumentParser(
        prog="bleu_scorer.py",
        description="Score captions: BLEU-1 to BLEU-4, ROUGE-L, CIDEr-D (coco-caption "
        "definitions), METEOR where Java is, and much more, each with a 95 % interval. The scores "
        "are written to results/metrics/NAME.json and NAME.csv, a report to "
        "results/plots/NAME.html.",
        argument_default=argparse.SUPPRESS,
    )
    add_system(parser)
    add_data(parser)
    add_options(parser)
    return parser


def add_system(parser: argparse.ArgumentParser) -> None:
    """What is scored."""
    add = parser.add_mutually_exclusive_group().add_argument
    add("--model", type=Path, metavar="FILE", help="checkpoint to score (default: what ships)")
    add("--captions", type=Path, metavar="FILE", help="captions of another system: see README")
    add("--baseline", choices=BASELINES, help="captions without a model")
    parser.add_argument(
        "--against",
        metavar="OTHER",
        help="compare with another model, caption file or baseline, with p-values",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """What it is scored on."""
    add, default = parser.add_argument, ScoringFlags
    add(
        "--references",
        type=Path,
        metavar="FILE",
        help=f"the data set's caption file ({default.references})",
    )
    add("--images", type=Path, help=f"folder of photographs ({default.images})")
    add("--skip-bad", action="store_true", help="leave out bad rows and missing photographs")
    add(
        "--split",
        choices=["train", "dev", "test", "all"],
        help="what to score (default: test where the data set has one, else dev; with --captions "
        "the part that the file has captions for)",
    )
    add(
        "--also",
        type=Path,
        nargs=2,
        action="append",
        metavar=("FILE", "FOLDER"),
        help="measure the model on another data set too, on the photographs it holds out: its "
        "caption file and its folder of photographs; may be given several times",
    )
    add(
        "--manner",
        action="append",
        metavar="GLOB=NAME",
        help="measure photographs of --also whose names match the pattern apart, such as "
        "'web_*=web', since their captions are in a manner of their own; the model captions them "
        "in the default manner too",
    )
    add("--limit", type=int, metavar="N", help="score N photographs of each set: a quick trial")
    add(
        "--allow-training-images",
        action="store_true",
        help="score even photographs that the model was trained on",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How it is scored, and what is written."""
    add, default = parser.add_argument, ScoringFlags
    add("--beam", type=int, metavar="K", help="beam width (default: the model's)")
    add(
        "--length-penalty",
        type=float,
        metavar="A",
        help="exponent of the length that log-probabilities are divided by (default: the model's)",
    )
    add("--beams", action="store_true", help="score beam widths 1 to 10 too")
    add(
        "--strange",
        type=Path,
        metavar="FOLDER",
        help="measure how well pictures unlike the training photographs are told from those that "
        "are scored: a folder with a folder of pictures for each kind",
    )
    add("--four-references", action="store_true", help="score with each reference left out too")
    add("--name", help="name of the result (default: the system's and the split's)")
    add("--cache", type=Path, help=f"folder for features ({default.cache})")
    add("--device", help=f"where to compute: auto, cpu or cuda ({default.device})")
    add(
        "--publish",
        action="store_true",
        help="write the result, the model card and the README's table too",
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> ScoringFlags:
    """Read the command line. Raises SettingError for flags that do not go together."""
    words = sys.argv[1:] if arguments is None else arguments
    values = vars(make_parser().parse_args(words))
    values["also"] = tuple(map(tuple, values.get("also", ())))
    values["manner"] = tuple(values.get("manner", ()))
    return ScoringFlags(**values, words=tuple(words))


def say(text: str) -> None:
    """Print a line at once, in a log too."""
    print(text, flush=True)


def run(flags: ScoringFlags) -> None:
    """Score, print and write."""
    # It takes seconds, which --help need not wait for.
    with ending_at_once(), needed_for("scoring", "'.[score]'"):
        from captioning.evaluation.assessment import assess, compare_systems
        from captioning.evaluation.other_sets import score_groups
        from captioning.evaluation.publish import describe, require_free_results, score_beams
        from captioning.evaluation.scoring_data import ScoringData
        from captioning.evaluation.systems import Systems
        from captioning.evaluation.table import as_lines

    device, versions = network_setting(flags) if flags.needs_photographs else ("", {})
    data = ScoringData.read(flags)
    for remark in data.remarks:
        say(remark)
    systems = Systems(data, flags, SHIPPED_MODEL, device, say)
    require_free_results(systems, data, flags)
    # First, since it is quick, and says what is wrong with the folder or the model.
    novelty = novelty_of(flags, flags.strange, device, data) if flags.strange else None
    system, other = systems.both()
    say(f"scoring {len(data.photographs):,} {data.split} photographs")
    training, references = data.training_captions(), data.references
    assessment = assess(system.system, references, training, flags.leaves_one_out)
    result = describe(system, data, flags, versions) | assessment.to_json()
    if other is not None:
        theirs = assess(other.system, references, training, system.system.human)
        metrics = compare_systems(assessment, theirs)
        result["against"] = {"name": other.about, "metrics": metrics}
    if system.groups:
        result["other sets"] = score_groups(system.groups, other.groups if other else ())
    if novelty is not None:
        result["novelty"] = novelty
    if system.sweep:
        result["beams"] = score_beams(system.sweep, data)
    for line in as_lines(result):
        say(line)
    write(result, system, data, flags, assessment)


def network_setting(flags: ScoringFlags) -> tuple[str, dict[str, str]]:
    """The device to compute on, and the versions of what computes there."""
    with ending_at_once(), needed_for("scoring a model", "'.[train]'"):
        from captioning.evaluation.model_systems import versions
        from captioning.inference.torch_engine import resolve_device

    return resolve_device(flags.device), versions()


def write(
    result: dict[str, Any],
    system: "ScoredSystem",
    data: "ScoringData",
    flags: ScoringFlags,
    assessment: "Assessment",
) -> None:
    """Write the result, and publish it where the flags say so."""
    from captioning.evaluation.publish import publish, write_result

    for path in write_result(result, system, data, flags.images, assessment):
        say(f"written to {path}")
    if flags.publish and system.checkpoint is not None:
        model = flags.model or SHIPPED_MODEL
        readme = README if model.resolve() == SHIPPED_MODEL else None
        for path in publish(model, system.checkpoint, result, readme):
            say(f"published in {path}")


def novelty_of(
    flags: ScoringFlags, folder: Path, device: str, data: "ScoringData"
) -> dict[str, Any]:
    """How well the model tells the pictures of a folder from the photographs that are scored."""
    from captioning.evaluation.novelty import measure_novelty, pictures_by_kind
    from captioning.inference.captioner import Captioner

    strange = pictures_by_kind(folder)
    captioner = Captioner.load(flags.model or SHIPPED_MODEL, device)
    ordinary = [photograph.path for photograph in data.photographs]
    return measure_novelty(captioner, ordinary, strange).to_json()


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; returns the exit status."""
    try:
        with ending_quietly():
            run(parse_arguments(arguments))
    except (CaptioningError, OSError) as error:
        print(f"bleu_scorer.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
