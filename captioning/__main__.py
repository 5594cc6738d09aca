"""The command line: captioning photo.jpg, or python -m captioning photo.jpg"""

from captioning.interrupts import INTERRUPTED, ending_at_once, ending_quietly

with ending_at_once():
    import argparse
    import os
    import sys
    import tomllib
    from collections.abc import Sequence
    from contextlib import suppress
    from importlib import metadata
    from pathlib import Path
    from typing import NoReturn

    from captioning.batch.flags import Flags
    from captioning.errors import CaptioningError, SettingError
    from captioning.inference.engine_config import FLAGS

FAILED = 2  # exit status when anything could not be captioned
_PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


class Parser(argparse.ArgumentParser):
    """A parser that knows of files whose names begin with a dash."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and exit with status 2."""
        dashed = [word for word in sys.argv[1:] if word.startswith("-") and os.path.lexists(word)]
        if dashed:
            message += f"; a file whose name begins with a dash is written ./{dashed[0]}"
        super().error(message)


def parse_arguments(arguments: Sequence[str] | None = None) -> Flags:
    """Read the command line."""
    parser = Parser(
        prog=program_name(sys.argv[0]),
        description="Caption photographs: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC, AVIF and "
        "JPEG 2000. Prints one sentence per photograph, or writes a file of captions; the exit "
        "status is 2 if any could not be captioned.",
    )
    parser.add_argument(
        "photos",
        nargs="*",
        metavar="PHOTO",
        help="a photograph, a folder of them, a pattern such as 'photos/*.jpg', or - for a "
        "photograph or a list of names on standard input",
    )
    add_caption_flags(parser)
    add_printing_flags(parser)
    add_folder_flags(parser)
    add_cluster_flags(parser)
    values = vars(parser.parse_args(arguments))
    try:
        return Flags(**values)
    except SettingError as error:
        parser.error(str(error))


def add_caption_flags(parser: argparse.ArgumentParser) -> None:
    """How pictures are captioned."""
    add = parser.add_argument
    add("--beam", type=int, metavar="K", help="beam width; 1 is greedy (default: the model's)")
    add(
        "--model",
        type=Path,
        metavar="FILE",
        help="a checkpoint (default: the model that ships)",
    )
    add_engine_flags(parser)
    add("--version", action="version", version=f"captioning {version()}")


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """How the model is run."""
    for name, (choices, text) in FLAGS.items():
        shown, default = f"{text} (default: %(default)s)", getattr(Flags, name)
        parser.add_argument(f"--{name}", choices=choices, default=default, help=shown)


def add_printing_flags(parser: argparse.ArgumentParser) -> None:
    """What is shown of captions."""
    add = parser.add_argument_group("details").add_argument
    add("--json", action="store_true", help="print one JSON line per photograph, with all details")
    add("--maps", action="store_true", help="in JSON: whole maps, not only their peaks")
    add(
        "--evidence",
        action="store_true",
        help="also compute what each word rests on, for JSON and for the picture of --attention",
    )
    add(
        "--attention",
        type=Path,
        metavar="OUT.png",
        help="draw where the model looked for each word (one photograph), as .png, .jpg, .svg or "
        ".pdf",
    )


def add_folder_flags(parser: argparse.ArgumentParser) -> None:
    """What is done with many pictures."""
    add = parser.add_argument_group("folders").add_argument
    add("-r", "--recursive", action="store_true", help="read the folders in a folder too")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the captions to a file, as .jsonl, .csv or .parquet; an interrupted run goes "
        "on with the same command, and pictures that the file has are not captioned again",
    )
    add(
        "--changed",
        action="store_true",
        help="with --output: caption those anew whose files have changed since",
    )
    add(
        "--sidecar",
        action="store_true",
        help="also write each caption beside its picture: photo.jpg.txt",
    )
    add(
        "--embed",
        action="store_true",
        help="also write each caption into its picture's own metadata (IPTC and XMP), where it has "
        "none; needs exiftool",
    )
    add(
        "--alt-text",
        type=Path,
        metavar="PAGE.html",
        help="caption the pictures of a page that have no alt text, and write the page with them "
        "to PAGE.alt.html (or --output), with a list for review",
    )


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    """How the work is spread over machines."""
    add = parser.add_argument_group("clusters").add_argument
    add(
        "--ray",
        metavar="ADDRESS",
        help="caption on a Ray cluster, into a folder of Parquet files (--output FOLDER): local "
        "starts one on this machine, auto or HOST:PORT joins one that runs; pictures may also be "
        "addresses such as s3://bucket/photos, and Parquet files that hold bytes",
    )
    add(
        "--actors",
        type=int,
        metavar="N",
        help="how many processes caption (default: as many as the cluster has room for)",
    )
    add(
        "--actor-cpus",
        type=int,
        metavar="K",
        help="processors of each of them, and its threads (default: 1)",
    )


def program_name(started_as: str) -> str:
    """The name in the usage message: the installed command's, or how Python runs this module."""
    return "captioning" if Path(started_as).stem == "captioning" else "python -m captioning"


def version() -> str:
    """The version of the installed package, or of the checkout that this is run from."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("captioning")
    if _PYPROJECT.is_file():
        return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])
    return "of unknown version"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    with ending_quietly(FAILED):
        return caption(parse_arguments(arguments))


def caption(flags: Flags) -> int:
    """Do what the flags say; returns the exit status."""
    try:
        with ending_at_once():  # PyTorch takes a second, which --help need not wait for
            from captioning.batch.command import run
        return 0 if run(flags) else FAILED
    except BrokenPipeError:  # an OSError too, but one for ``ending_quietly``
        raise
    except (CaptioningError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        if flags.output:
            print(f"stopped; the same command goes on with {flags.output}", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
