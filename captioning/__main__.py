"""The command line: captioning photo.jpg, or python -m captioning photo.jpg"""

import argparse
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from captioning.data.images import IMAGE_SUFFIXES, read_photo
from captioning.errors import CaptioningError, SettingError
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.export import as_json
from captioning.network.checkpoint import SHIPPED_MODEL

FAILED = 2  # exit status when anything could not be captioned
_PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


@dataclass(frozen=True)
class Flags:
    """What the command line was given."""

    photos: Sequence[Path]
    beam: int | None
    json: bool
    maps: bool
    attention: Path | None
    evidence: bool
    model: Path
    device: str


def parse_arguments(arguments: Sequence[str] | None = None) -> Flags:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=program_name(sys.argv[0]),
        description="Caption photographs: JPEG, PNG, WebP, GIF, TIFF and BMP. Prints one sentence "
        "per photograph; the exit status is 2 if any could not be captioned.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="a photograph, or a folder of them")
    add("--beam", type=int, metavar="K", help="beam width; 1 is greedy (default: the model's)")
    add("--json", action="store_true", help="print one JSON line per photograph, with all details")
    add("--maps", action="store_true", help="with --json: whole maps, not only their peaks")
    add(
        "--attention",
        type=Path,
        metavar="OUT.png",
        help="draw where the model looked for each word (one photograph)",
    )
    add(
        "--evidence",
        action="store_true",
        help="also compute what each word rests on, for --json and for the picture of --attention",
    )
    add(
        "--model",
        type=Path,
        metavar="FILE",
        default=SHIPPED_MODEL,
        help="a checkpoint (default: the model that ships)",
    )
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto takes a GPU if there is one (default: %(default)s)",
    )
    add("--version", action="version", version=f"captioning {version()}")
    flags = Flags(**vars(parser.parse_args(arguments)))
    if flags.maps and not flags.json:
        parser.error("--maps adds to --json: give that too")
    if flags.evidence and not (flags.json or flags.attention):
        parser.error("--evidence adds to --json or to --attention OUT.png: give one of them too")
    return flags


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


def expand(photos: Iterable[Path]) -> Iterator[Path | Failure]:
    """Each file itself, and for a folder the images in it, sorted by name."""
    for path in photos:
        # Not Path.is_dir(), which raises OSError for a name that is too long.
        if not os.path.isdir(path):
            yield path
            continue
        try:
            images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        except OSError as error:
            yield Failure(str(path), f"{path}: this folder cannot be read ({error.strerror})")
            continue
        yield from images
        if not images:
            yield Failure(str(path), f"{path}: there is no image in this folder")


def as_text(caption: Caption, alone: bool) -> str:
    """The sentence, after the file's name unless it is the only one."""
    return caption.sentence if alone else f"{caption.source}: {caption.sentence}"


def as_warning(caption: Caption, alone: bool) -> str:
    """The warning of an unusual picture, after the file's name unless it is the only one."""
    return f"{caption.warning}" if alone else f"{caption.source}: {caption.warning}"


def caption_all(
    captioner: Captioner, items: Sequence[Path | Failure], flags: Flags
) -> Iterator[Caption | Failure]:
    """Caption in order; with a progress bar, unless the captions appear on the terminal too."""
    paths = (item for item in items if isinstance(item, Path))
    captions = captioner.stream(paths, beam=flags.beam, evidence=flags.evidence)
    hide = True if sys.stdout.isatty() or len(items) == 1 else None
    for item in tqdm(items, unit="image", disable=hide):
        yield item if isinstance(item, Failure) else next(captions)


def run(flags: Flags) -> int:
    """Caption and print; returns the exit status.

    Raises CaptioningError where nothing can be captioned at all.
    """
    items = list(expand(flags.photos))
    if flags.attention and len(items) != 1:
        raise SettingError(f"--attention draws one photograph, not {len(items)}; name only one")
    captioner = Captioner.load(flags.model, flags.device)
    status = 0
    for item, result in zip(items, caption_all(captioner, items, flags), strict=True):
        if isinstance(result, Failure):
            print(result.reason, file=sys.stderr)
            status = FAILED
            continue
        text = as_json(result, flags.maps) if flags.json else as_text(result, len(items) == 1)
        print(text, flush=True)
        if result.warning and not flags.json:  # JSON holds it
            print(as_warning(result, len(items) == 1), file=sys.stderr)
        if flags.attention and isinstance(item, Path):
            # Read from its path: the caption's source is escaped for printing.
            draw(captioner, item, result, flags.attention)
    return status


def draw(captioner: Captioner, photo: Path, caption: Caption, path: Path) -> None:
    """Draw the maps of a caption; raises SettingError where the picture cannot be written."""
    # Captioning alone need not wait for the import of matplotlib.
    from captioning.plots import maps_figure, save_figure

    picture = read_photo(photo, captioner.images)
    figure = maps_figure(picture, caption.words, caption.attention, caption.evidence)
    try:
        save_figure(figure, path)
    except OSError as error:
        raise SettingError(
            f"{path}: the picture cannot be written there ({error.strerror}); name another file"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    flags = parse_arguments(arguments)
    try:
        return run(flags)
    except BrokenPipeError:
        # The reader has closed the pipe (as head does): end quietly, also when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CaptioningError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
