"""Captions on standard output, and the picture of one photograph's maps."""

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from captioning.batch.copies import CaptionCopies
from captioning.batch.flags import Flags
from captioning.batch.sources import Picture
from captioning.data.images import Source, read_photo
from captioning.data.photo_sources import printable
from captioning.errors import SettingError
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.export import as_json
from captioning.inference.read_ahead import READERS


def print_captions(
    captioner: Captioner, pictures: Sequence[Picture], content: bytes | None, flags: Flags
) -> bool:
    """Caption and print, in order; returns whether all could be captioned.

    ``content`` is a picture without a file.
    """
    _escape_what_cannot_be_encoded()
    photos: list[Source] = [picture.path for picture in pictures]
    photos += [content] if content is not None else []
    is_alone = len(photos) == 1 and (not pictures or pictures[0].named)
    success = True
    with CaptionCopies(flags.sidecar, flags.embed, say) as copies:
        for photo, result in zip(photos, caption_all(captioner, photos, flags), strict=True):
            if isinstance(result, Failure):
                say(result.reason)
                success = False
                continue
            _print(result, is_alone, flags)
            if isinstance(photo, str):
                copies.write(photo, result.text)
            if flags.attention:
                draw_maps(captioner, photo, result, flags.attention)
    if kept := copies.counts.describe():
        say(kept)
    return success and not copies.counts.failed


def _print(caption: Caption, is_alone: bool, flags: Flags) -> None:
    """Print one caption, and its warning beside standard output."""
    if flags.json:
        print(_encodable(as_json(caption, flags.maps)), flush=True)
        return
    print(_as_text(caption, caption.sentence, is_alone), flush=True)
    if caption.warning:  # JSON holds it
        say(_as_text(caption, caption.warning, is_alone))


def say(text: str) -> None:
    """Print a line to people, on a line of its own beside a progress bar."""
    tqdm.write(text, file=sys.stderr)


def draw_maps(captioner: Captioner, photo: Source, caption: Caption, path: Path) -> None:
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


def caption_all(
    captioner: Captioner, photos: Sequence[Source], flags: Flags
) -> Iterator[Caption | Failure]:
    """Caption in order; with a progress bar, unless the captions appear on the terminal too."""
    readers = READERS if len(photos) > 1 else 0
    captions = captioner.stream(photos, beam=flags.beam, evidence=flags.evidence, readers=readers)
    hide = True if sys.stdout.isatty() or len(photos) == 1 else None
    yield from tqdm(captions, total=len(photos), unit="image", disable=hide)


def _as_text(caption: Caption, text: str, is_alone: bool) -> str:
    """A text about a caption, after its file's name unless it is the only one."""
    return text if is_alone else f"{printable(caption.source)}: {text}"


def _escape_what_cannot_be_encoded() -> None:
    """Let no name or word end the work because standard output cannot encode it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _encodable(json: str) -> str:
    """A line of JSON that standard output can encode, by JSON's own escapes where it cannot."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        json.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if c.isascii() else _escape(c) for c in json)
    return json


def _escape(character: str) -> str:
    """A character as JSON escapes it: by one or two units of UTF-16."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
