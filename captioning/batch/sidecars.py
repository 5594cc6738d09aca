"""Captions beside their pictures: photo.jpg.txt."""

import os
from dataclasses import dataclass
from pathlib import Path

from captioning.batch.sources import SIDECAR
from captioning.errors import CaptioningError
from captioning.files import write_text


class SidecarError(CaptioningError):
    """A text beside a picture that cannot be written; the message says which."""


@dataclass
class Sidecars:
    """Writes sidecars; one whose text is not ours is never replaced, but counted as ``kept``."""

    written: int = 0
    kept: int = 0

    def write(self, picture: str, text: str, before: str | None = None) -> None:
        """Write the text beside ``picture``; ``before`` is what was written there last.

        Raises SidecarError where it cannot be written.
        """
        path = Path(f"{picture}{SIDECAR}")
        try:
            if os.path.lexists(path):
                found = path.read_bytes().decode(errors="replace").strip()
                if found == text:
                    return
                if before is None or found != before:
                    self.kept += 1
                    return
            write_text(path, f"{text}\n")
        except OSError as error:
            raise SidecarError(
                f"{path}: the caption cannot be written there ({error.strerror}); change the "
                "folder's permissions, or leave --sidecar out"
            ) from None
        self.written += 1
