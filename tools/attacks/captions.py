"""Bad caption files, given to all that reads them; and texts with markup, shown in a page."""

import contextlib
import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from captioning.app.examples import examples
from captioning.data.caption_files import read_captions
from captioning.data.image_files import ImageFolder
from captioning.data.text_files import read_names, read_text_captions
from captioning.errors import CaptioningError
from captioning.evaluation.predictions import read_predictions
from captioning.inference.export import as_html
from tools.attacks.bad_captions import FORMATS, LEADING_OUT, MARKUP, large, malformed
from tools.attacks.outcome import Outcome
from tools.browser import chromium

ROOT = Path(__file__).resolve().parents[2]
MALFORMED = 20_000  # files
LARGE = 100_000_000  # bytes
SECONDS = 60.0
_PLACE = re.compile(r"(?:, (?:line|entry|sentence|annotation) \d+)?: ")


def readers(images: Path) -> dict[str, Callable[[Path], object]]:
    """What reads caption files, lists of names and texts."""
    return {
        "training": lambda path: read_captions(path, images),
        "training, bad rows left out": lambda path: read_captions(path, images, skip_bad=True),
        "references": lambda path: read_captions(path, None),
        "scoring": read_predictions,
        "text": read_text_captions,
        "names": read_names,
    }


def attempt(read: Callable[[Path], object], path: Path) -> str:
    """Read a file; returns the sentence that refuses it, "" for none.

    Raises AssertionError where that is no sentence that names the file, or another error comes.
    """
    try:
        read(path)
    except CaptioningError as error:
        message = str(error)
        assert "\n" not in message, f"several lines: {message!r}"
        assert len(message) < 1000, f"{len(message)} characters"
        named = message.startswith(str(path)) and _PLACE.match(message, len(str(path)))
        assert named, f"it does not name the file: {message}"
        return message
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    return ""


def read_malformed(folder: Path, count: int) -> Outcome:
    """Files of every format with changes at random."""
    outcome, path, images = Outcome("malformed caption files"), folder / "captions", folder / "some"
    images.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (images / name).touch()
    for seed in range(count):
        path.write_bytes(malformed(seed))
        for name, read in readers(images).items():
            with outcome.attempt(f"{name}, seed {seed}"):
                outcome.note("refused" if attempt(read, path) else "read")
    return outcome


_READ = """
import resource, sys
from pathlib import Path
from tools.attacks.captions import attempt, readers
attempt(readers(Path(sys.argv[2]))[sys.argv[1]], Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def read_large(folder: Path, size: int) -> Outcome:
    """Large files that a careless reader would take hours for, and packed ones that grow."""
    outcome, path, images = Outcome("caption files of 100 MB"), folder / "large", folder / "none"
    images.mkdir()
    for name, content in large(size):
        path.write_bytes(content)
        _read_in_time(outcome, name, path, images)
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(20):
            file.write(bytes(size))
    _read_in_time(outcome, "a packed file that grows", path, images)
    path.unlink()
    return outcome


def _read_in_time(outcome: Outcome, name: str, path: Path, images: Path) -> None:
    for reader in ("training", "scoring"):
        with outcome.attempt(f"{name}, {reader}"):
            command = [sys.executable, "-c", _READ, reader, str(images), str(path)]
            try:
                done = subprocess.run(
                    command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
                )
            except subprocess.TimeoutExpired:
                raise AssertionError(f"no answer in {SECONDS:g} s") from None
            assert done.returncode == 0, done.stderr[-300:]
            outcome.memory = max(outcome.memory or 0, int(done.stdout))


def names_elsewhere(folder: Path) -> Outcome:
    """Names of images that lead out of their folder, in every format."""
    outcome, path, images = Outcome("image names that lead out"), folder / "out", folder / "images"
    (images / "a").mkdir(parents=True)
    for target in (images / "a.jpg", folder / "secret.jpg"):
        shutil.copy(examples()[0].path, target)
    for format_name, write in FORMATS.items():
        for name in (*LEADING_OUT, str(folder / "secret.jpg")):
            with (
                contextlib.suppress(UnicodeEncodeError),
                outcome.attempt(f"{format_name}: {name!r}"),
            ):
                path.write_text(write([("a.jpg", "a dog"), (name, "a cat")]), encoding="utf-8")
                message = attempt(lambda file: read_captions(file, images), path)
                assert message, "it was accepted"
                found = ImageFolder(images).find(name).files
                assert not found, f"it means {found}"
    return outcome


def links(folder: Path) -> Outcome:
    """A link in the folder of images is its owner's own, and is followed."""
    outcome, images = Outcome("links in the folder of images"), folder / "linked"
    (images / "sub").mkdir(parents=True)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(examples()[0].path, elsewhere / "b.jpg")
    (images / "a.jpg").symlink_to(elsewhere / "b.jpg")
    (images / "more").symlink_to(elsewhere)
    (images / "loop.jpg").symlink_to(images / "loop.jpg")
    for name, is_found in (("a.jpg", True), ("more/b.jpg", True), ("loop.jpg", False)):
        with outcome.attempt(name):
            assert bool(ImageFolder(images).find(name).files) == is_found
    return outcome


class Scripts(HTMLParser):
    """The scripts, the handlers of events and the addresses of a page, read by Python's parser."""

    def __init__(self) -> None:
        super().__init__()
        self.harm: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what could run."""
        if tag in ("script", "iframe", "svg", "meta"):
            self.harm.append(tag)
        self.harm += [name for name, _ in attrs if name.startswith("on")]
        addresses = (value or "" for name, value in attrs if name in ("src", "href"))
        self.harm += [each for each in addresses if each.startswith("javascript:")]


def pages(folder: Path) -> Outcome:
    """Texts with markup as names and captions of an exported page, opened in Chromium."""
    outcome = Outcome("markup in exported pages, in Chromium")
    with chromium() as browser:
        page = browser.new_page()
        for text in MARKUP:
            with outcome.attempt(text):
                element = as_html(f"{text}.jpg", text)
                parser = Scripts()
                parser.feed(element)
                assert not parser.harm, f"it has {parser.harm}"
                path = folder / "page.html"
                path.write_text(f"<!DOCTYPE html><meta charset=utf-8>{element}", "utf-8")
                page.goto(path.as_uri())
                assert page.evaluate("window.harm") is None, "its script ran"
                shown = page.locator("img").get_attribute("alt")
                assert shown == text, f"it is shown as {shown!r}"
        page.close()
    return outcome


def alt_texts(folder: Path) -> Outcome:
    """Images of a page that are outside its folder get no alt texts."""
    outcome, site = Outcome("pages that name images elsewhere"), folder / "site"
    site.mkdir()
    shutil.copy(examples()[0].path, site / "a.jpg")
    shutil.copy(examples()[0].path, folder / "outside.jpg")
    sources = ("../outside.jpg", "%2e%2e/outside.jpg", str(folder / "outside.jpg"), "/etc/passwd")
    body = "".join(f'<img src="{source}">' for source in (*sources, "a.jpg"))
    (site / "page.html").write_text(f"<!DOCTYPE html><title>x</title>{body}", "utf-8")
    with outcome.attempt("sources outside the folder"):
        command = [sys.executable, "-m", "captioning", "--alt-text", str(site / "page.html")]
        done = subprocess.run(
            command,
            cwd=site,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr[-300:]
        written = (site / "page.alt.html").read_text("utf-8")
        assert written.count("alt=") == 1, written
    return outcome


def attacks(folder: Path) -> Iterator[Outcome]:
    """Everything."""
    yield read_malformed(folder, MALFORMED)
    yield read_large(folder, LARGE)
    yield names_elsewhere(folder)
    yield links(folder)
    yield pages(folder)
    yield alt_texts(folder)
