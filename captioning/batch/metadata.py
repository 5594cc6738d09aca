"""Captions in the photographs' own metadata: IPTC's Caption-Abstract and XMP's dc:description.

Written by exiftool, a program of its own: the libraries that write both are under the GPL
(pyexiv2, exiv2), write IPTC alone and of JPEG alone (iptcinfo3), need a C library that no package
brings (python-xmp-toolkit), or know EXIF only (piexif); Pillow would compress the photograph anew.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from PIL import Image, ImageSequence

from captioning.batch.exiftool import ExifTool
from captioning.data.images import describe, read_photo
from captioning.errors import CaptioningError
from captioning.files import write_atomically

_CAPTION, _DESCRIPTION = "IPTC:Caption-Abstract", "XMP-dc:Description"
_CHARSET = "IPTC:CodedCharacterSet"
_STRIP = 64  # rows of pixels that are compared at a time
# By content and not by name, because exiftool refuses a kind that its name belies.
_SUFFIXES = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
}


class MetadataError(CaptioningError):
    """A photograph whose metadata cannot be written; it is as it was. The message says why."""


class MetadataWriter:
    """Writes captions into photographs; a context manager, for many with one exiftool.

    An existing caption is kept unless ``overwrite``. A photograph that takes exiftool more than
    ``timeout`` seconds is given up. For one thread at a time.
    """

    def __init__(
        self, overwrite: bool = False, timeout: float = 60.0, program: str = "exiftool"
    ) -> None:
        self._overwrite = overwrite
        self._exiftool = ExifTool(timeout, program)

    def __enter__(self) -> Self:
        """Raises ExifToolError where exiftool is missing: before the work, and not for each."""
        self._exiftool.require()
        return self

    def __exit__(self, *_: object) -> None:
        self._exiftool.close()

    def write(self, path: Path, text: str) -> bool:
        """Write a caption into a photograph; False if it has another already, which is then kept.

        Both fields are written where the kind of file has both (JPEG, TIFF, JPEG 2000), else XMP
        alone; neither may be there before, or only with ``overwrite``. All other metadata, the
        permissions and the time of modification stay; the size of the file changes. A copy is
        written, its decoded pixels are compared with the photograph's, and it takes the
        photograph's place in one step. A symbolic link stays one, and its target is replaced.

        Raises ExifToolError where exiftool is missing or hangs, and MetadataError for anything
        else; the photograph is untouched then.
        """
        text = " ".join(text.replace("\0", " ").split())
        name = describe(path)
        if not text:
            raise MetadataError(f"{name} has no caption to write: give it one.")
        with _one_sentence(name), tempfile.TemporaryDirectory() as folder:
            photograph = Path(os.path.realpath(path))
            before = _checked(photograph, name)
            # A copy under a plain name, so that no file name is read as an option of exiftool's,
            # or is too long or no text for it.
            copy = Path(folder, "photograph" + _suffix(photograph))
            shutil.copyfile(photograph, copy)
            fields = self._fields(copy)
            if not self._overwrite and (found := _described(fields)):
                # A run that was killed may have written it, before it could record that.
                return found == {text}
            self._add(copy, fields, text, name)
            if _pixels(copy, name) != _pixels(photograph, name):
                raise MetadataError(
                    f"{name} was left as it is, because its pixels would change: keep its caption "
                    "in a file beside it."
                )
            _replace(photograph, copy, before, name)
            return True

    def _fields(self, copy: Path) -> dict[str, Any]:
        """The metadata that decide what is written, as exiftool names and reads it."""
        # The asterisk stands for languages.
        wanted = ("-File:FileType", "-IPTC:all", f"-{_DESCRIPTION}*")
        answer = self._exiftool.run("-json", "-G1", "-q", "-q", *wanted, str(copy))
        try:
            fields: dict[str, Any] = json.loads(answer[answer.index("[") :])[0]
        except ValueError:  # nothing that exiftool knows; writing will say so
            return {}
        return fields

    def _add(self, copy: Path, fields: dict[str, Any], text: str, name: str) -> None:
        assignments = [f"-{_DESCRIPTION}={text}"]
        if fields.get("File:FileType") != "PNG":  # whose IPTC is not of the standard
            assignments += [*_iptc_charset(fields, text), f"-{_CAPTION}={text}"]
        answer = self._exiftool.run("-overwrite_original", *assignments, str(copy))
        if "1 image files updated" not in answer:
            raise MetadataError(
                f"{name} cannot hold a caption: exiftool says “{_reason(answer)}”; keep its "
                "caption in a file beside it."
            )


def write_caption(path: Path, text: str, overwrite: bool = False) -> bool:
    """Write one caption into one photograph, as MetadataWriter does."""
    with MetadataWriter(overwrite) as writer:
        return writer.write(path, text)


def _described(fields: dict[str, Any]) -> set[str]:
    """The captions that a photograph has."""
    found = [text for field, text in fields.items() if field.startswith((_CAPTION, _DESCRIPTION))]
    return {str(text).strip() for text in found} - {""}


def _iptc_charset(fields: dict[str, Any], text: str) -> list[str]:
    """What makes IPTC hold the text: UTF-8, unless it says otherwise or need not."""
    others = [field for field in fields if field.startswith("IPTC:")]
    if _CHARSET in others or (others and text.isascii()):
        return []
    # What is there already is in Latin-1, and has to be written anew in the new encoding.
    again = ["-tagsFromFile", "@", "-IPTC:all"] if others else []
    return [*again, f"-{_CHARSET}=UTF8"]


def _reason(answer: str) -> str:
    """The first error that exiftool prints, without the name of the copy."""
    match = re.search(r"^Error: (?:\[minor\] )?(.*?)(?: - \S+)?$", answer, re.MULTILINE)
    return match.group(1) if match else " ".join(answer.split()) or "nothing"


# The photograph itself ------------------------------------------------------------------------


@contextmanager
def _one_sentence(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MetadataError(
            f"{name} was left as it is ({error.strerror or error}): see to that, or keep its "
            "caption in a file beside it."
        ) from error


def _checked(photograph: Path, name: str) -> os.stat_result:
    """The state of a photograph that may be replaced."""
    try:
        state = photograph.stat()
    except FileNotFoundError as error:
        raise MetadataError(f"{name} does not exist: check the path.") from error
    if not stat.S_ISREG(state.st_mode):
        raise MetadataError(f"{name} is not an ordinary file: give the path of a photograph.")
    # The superuser may write to any file, but was asked not to.
    if not state.st_mode & 0o222 or not os.access(photograph, os.W_OK):
        raise MetadataError(f"{name} is read-only: change its permissions to write into it.")
    return state


def _replace(photograph: Path, copy: Path, before: os.stat_result, name: str) -> None:
    """Put the copy in the photograph's place, with its owner, permissions and times."""

    def write(temporary: Path) -> None:
        shutil.copyfile(copy, temporary)
        with suppress(OSError, AttributeError):  # only the superuser may; Windows has none
            os.chown(temporary, before.st_uid, before.st_gid)
        shutil.copystat(photograph, temporary)
        now = photograph.stat()
        if (now.st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
            raise MetadataError(
                f"{name} was changed by another program meanwhile and is left as it is: try again."
            )

    write_atomically(photograph, write)


def _suffix(photograph: Path) -> str:
    """The suffix of the kind of file that a photograph is, going by its content."""
    kind = ""
    with suppress(Exception), _opened(photograph) as image:
        kind = image.format or ""
    if kind == "TIFF":  # so are the raw files of many cameras, which exiftool tells by their names
        return photograph.suffix if re.fullmatch(r"\.[A-Za-z0-9]+", photograph.suffix) else ".tif"
    return _SUFFIXES.get(kind, "")  # without one exiftool looks into the file


def _pixels(path: Path, name: str) -> list[str]:
    """A digest of each frame as it is decoded; of what Pillow cannot open by itself, of its RGB."""
    with suppress(Exception), _opened(path) as image:  # decoders raise nearly anything
        return [_digest(frame) for frame in ImageSequence.Iterator(image)]
    try:
        return [_digest(read_photo(path))]
    except CaptioningError as error:
        raise MetadataError(
            f"{name} was left as it is, because it cannot be decoded to compare its pixels: keep "
            "its caption in a file beside it."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's are of sizes, which were checked before
        Image.init()
        # By name, because opening other kinds may run programs (EPS). MPO is opened as JPEG.
        formats = [kind for kind in (*_SUFFIXES, "TIFF") if kind in Image.OPEN]
        with Image.open(path, formats=formats) as image:
            yield image


def _digest(frame: Image.Image) -> str:
    """A digest of size, mode, palette and decoded pixels, made without a copy of all of them."""
    frame.load()
    palette = frame.palette.tobytes() if frame.palette else b""
    digest = hashlib.blake2b(repr((frame.size, frame.mode, palette)).encode())
    for top in range(0, frame.height, _STRIP):
        strip = (0, top, frame.width, min(top + _STRIP, frame.height))
        digest.update(frame.crop(strip).tobytes())
    return digest.hexdigest()
