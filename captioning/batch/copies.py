"""Captions beside their pictures (photo.jpg.txt), and inside them."""

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from captioning.batch.metadata import MetadataWriter
from captioning.batch.sources import SIDECAR, Picture
from captioning.errors import CaptioningError
from captioning.files import remove_leftovers_in, write_text
from captioning.inference.captioner import as_sentence

EMBEDDED = "embedded"  # the field of a record: whether the caption was written into the picture


class SidecarError(CaptioningError):
    """A text beside a picture that cannot be written; the message says which."""


@dataclass
class Counts:
    """How many texts and descriptions of others were there, and are kept; how many failed."""

    texts: int = 0
    descriptions: int = 0
    failed: int = 0

    def describe(self) -> str:
        """What is kept, for people; empty where nothing is."""
        parts = []
        if self.texts:
            parts.append(f"{self.texts:,} with another text beside them, which is kept")
        if self.descriptions:
            parts.append(f"{self.descriptions:,} with a description in them, which is kept")
        return ", ".join(parts)


class CaptionCopies:
    """Writes captions to where people look for them; a context manager.

    Nothing that somebody else has written is replaced. What cannot be written is said by ``say``
    and counted, and the other pictures are not affected.
    """

    def __init__(self, sidecar: bool, embed: bool, say: Callable[[str], object]) -> None:
        self.sidecar, self.say = sidecar, say
        self.embed = embed
        self.counts = Counts()
        self._open = ExitStack()
        self._metadata: MetadataWriter | None = None

    def __enter__(self) -> Self:
        if self.embed:
            self._metadata = self._open.enter_context(MetadataWriter())
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def remove_leftovers(self, pictures: Iterable[Picture]) -> None:
        """Remove the half-written files that killed runs have left beside these pictures."""
        written = [text for text, wanted in ((SIDECAR, self.sidecar), ("", self.embed)) if wanted]
        names: dict[str, list[str]] = {}
        for picture in pictures if written else ():
            folder, name = os.path.split(picture.path)
            names.setdefault(folder, []).extend(name + suffix for suffix in written)
        for folder, files in names.items():
            with suppress(OSError):
                remove_leftovers_in(Path(folder), files, abandoned=True)

    def write(self, picture: str, caption: str, before: str = "") -> dict[str, Any]:
        """Write the copies of a caption; ``before`` is the one that we wrote last, if any.

        Returns what the picture's record is to say of them.
        """
        try:
            if self.sidecar:
                self.write_sidecar(picture, as_sentence(caption), before and as_sentence(before))
            if self._metadata is None:
                return {}
            is_new = self._metadata.write(Path(picture), as_sentence(caption))
            self.counts.descriptions += not is_new
            return {EMBEDDED: is_new}
        except CaptioningError as error:
            self.counts.failed += 1
            self.say(str(error))
            return {}

    def write_sidecar(self, picture: str, text: str, before: str) -> None:
        """Write a text beside a picture; raises SidecarError where it cannot be written."""
        path = Path(f"{picture}{SIDECAR}")
        try:
            if os.path.lexists(path):
                found = path.read_bytes().decode(errors="replace").strip()
                if found == text:
                    return
                if not before or found != before:
                    self.counts.texts += 1
                    return
            write_text(path, f"{text}\n")
        except OSError as error:
            raise SidecarError(
                f"{path}: the caption cannot be written there ({error.strerror}); change the "
                "folder's permissions, or leave --sidecar out"
            ) from None
