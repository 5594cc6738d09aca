"""Captions as the alt texts of a web page."""

import os
from pathlib import Path

from captioning.batch.alt_text import find_images, review_page, with_alt_texts
from captioning.batch.flags import Flags
from captioning.batch.outputs import require_output
from captioning.batch.printing import caption_all, say
from captioning.errors import CaptioningError
from captioning.files import write_atomically, write_text
from captioning.inference.captioner import Captioner, Failure


class PageFileError(CaptioningError):
    """A page that cannot be read; the message says what to do."""


def fill_page(page: Path, flags: Flags, model: Path) -> bool:
    """Write the page with alt texts, and a list for review; whether all could be captioned.

    Raises CaptioningError for a page that cannot be read, and for outputs that are inputs.
    """
    try:
        content = page.read_bytes()
    except OSError as error:
        raise PageFileError(
            f"{page}: cannot be read ({error.strerror}); name the HTML file of a page"
        ) from None
    images = find_images(content, page)
    files = list(dict.fromkeys(image.file for image in images if image.file is not None))
    output = flags.output or _beside(page, ".alt")
    review = _beside(output, ".review")
    for path in (output, review):
        require_output(path, [page, model, *files])
    texts: dict[Path, str] = {}
    problems: dict[Path, str] = {}
    if files:
        captioner = Captioner.load_with(model, flags.running)
        photos = [os.fspath(file) for file in files]
        for file, result in zip(files, caption_all(captioner, photos, flags), strict=True):
            if isinstance(result, Failure):
                problems[file] = result.reason
                say(result.reason)
            else:
                texts[file] = result.sentence
    filled = with_alt_texts(content, images, texts)
    write_atomically(output, lambda temporary: temporary.write_bytes(filled))
    write_text(review, review_page(images, texts, page, review, problems))
    count = sum(image.file in texts for image in images)
    say(f"{output}: {count:,} of {len(images):,} missing alt texts filled in; check {review}")
    return not problems


def _beside(path: Path, word: str) -> Path:
    """The file with a word before its suffix: page.alt.html."""
    return path.with_name(f"{path.stem}{word}{path.suffix or '.html'}")
