"""The command line: python -m captioning photo.jpg"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from captioning.data.images import IMAGE_SUFFIXES, read_photo
from captioning.errors import CaptioningError, SettingError
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.export import as_json
from captioning.network.checkpoint import SHIPPED_MODEL
from captioning.plots import attention_figure, save_figure

FAILED = 2  # exit status when anything could not be captioned


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m captioning",
        description="Caption photographs: JPEG, PNG, WebP, GIF, TIFF and BMP. Prints a sentence a "
        "photograph; exit status 2 when one could not be captioned.",
    )
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="a photograph, or a folder of them")
    add("--beam", type=int, metavar="K", help="beam width; 1 is greedy (default: the model's)")
    add("--json", action="store_true", help="print a JSON line a photograph, with all there is")
    add("--attention", type=Path, metavar="OUT.png", help="draw where it looked (one photograph)")
    add("--model", type=Path, metavar="FILE", default=SHIPPED_MODEL, help="another checkpoint")
    return parser.parse_args(arguments)


def expand(photos: Iterable[Path]) -> Iterator[Path | Failure]:
    """Each file as it is, and in a folder's place the images in it, by name."""
    for path in photos:
        # Not Path.is_dir(), which raises OSError for a name too long to be one.
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
    """The sentence, and the file's name before it unless it is the only one."""
    return caption.sentence if alone else f"{caption.source}: {caption.sentence}"


def caption_all(
    captioner: Captioner, items: Sequence[Path | Failure], beam: int | None
) -> Iterator[Caption | Failure]:
    """Caption what can be captioned, in order; a progress bar where only the bar is looked at."""
    captions = captioner.stream((item for item in items if isinstance(item, Path)), beam=beam)
    hide = True if sys.stdout.isatty() or len(items) == 1 else None
    for item in tqdm(items, unit="image", disable=hide):
        yield item if isinstance(item, Failure) else next(captions)


def run(flags: argparse.Namespace) -> int:
    """Caption and print; returns the exit status. Raises ValueError for what cannot be begun."""
    items = list(expand(flags.photos))
    if flags.attention and len(items) != 1:
        raise SettingError(f"--attention draws one photograph, not {len(items)}; name only one")
    captioner = Captioner.load(flags.model)
    status = 0
    for item, result in zip(items, caption_all(captioner, items, flags.beam), strict=True):
        if isinstance(result, Failure):
            print(result.reason, file=sys.stderr)
            status = FAILED
            continue
        print(as_json(result) if flags.json else as_text(result, len(items) == 1), flush=True)
        if flags.attention and isinstance(item, Path):
            # From its path: the source that the caption names is made for printing.
            draw(captioner, item, result, flags.attention)
    return status


def draw(captioner: Captioner, photo: Path, caption: Caption, path: Path) -> None:
    """Draw where the model looked. Raises ValueError where the picture cannot be written."""
    figure = attention_figure(read_photo(photo, captioner.images), caption.words, caption.attention)
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
        # Whoever read has had enough (as head does): end quietly, also when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CaptioningError, OSError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
