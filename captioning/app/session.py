"""One person's photographs and their captions, kept in memory for as long as they look at them."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from captioning.inference.captioner import Caption, Captioner, Failure

MAX_PHOTOS = 50  # captioned at a time
KEPT = 200  # captions that are not computed again; each is a few kilobytes


@dataclass(frozen=True)
class Upload:
    """A file as it came: what it is called, and its bytes."""

    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """The hash of the bytes, computed once however often the page is drawn."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Settings:
    """What decides a caption beside the photograph; ``model`` tells models apart."""

    model: str
    beam: int
    length_penalty: float


class Session:
    """Captions photographs, and remembers the captions by content and settings, the last ``kept``.

    Of the photographs themselves it keeps nothing but ``uploads``, which whoever shows them sets.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.uploads: list[Upload] = []
        self._kept = kept
        self._found: OrderedDict[tuple[str, Settings], Caption | Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def captions(
        self, captioner: Captioner, uploads: Sequence[Upload], settings: Settings
    ) -> Iterator[Caption | Failure]:
        """Caption ``uploads`` in order, under their names; one that is broken spoils no other."""
        keys = [(upload.digest, settings) for upload in uploads]
        places = dict(zip(keys, uploads, strict=True))  # each content once
        known = {key: self._found[key] for key in places if key in self._found}
        found = captioner.stream(
            (upload.content for key, upload in places.items() if key not in known),
            beam=settings.beam,
            length_penalty=settings.length_penalty,
        )
        for key, upload in zip(keys, uploads, strict=True):
            if key not in known:
                known[key] = next(found)
            self._keep(key, known[key])
            yield _named(known[key], upload.name)

    def _keep(self, key: tuple[str, Settings], result: Caption | Failure) -> None:
        """Remember a result as the one used last."""
        self._found[key] = result
        self._found.move_to_end(key)
        if len(self._found) > self._kept:
            self._found.popitem(last=False)


def _named(result: Caption | Failure, name: str) -> Caption | Failure:
    """The result under a file's name, which the captioner was not told."""
    if isinstance(result, Caption):
        return replace(result, source=name)
    return Failure(name, result.reason.replace("the image", name, 1))
