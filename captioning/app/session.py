"""One visitor's photographs and their captions, in memory while the page is open."""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from captioning.app.turns import TURNS, Turns
from captioning.data.images import printable
from captioning.inference.captioner import Caption, Captioner, Failure

MAX_PHOTOS = 50  # captioned at a time
MAX_REMEMBERED = 200  # captions that are not computed again; each is a few kilobytes
# Of photographs in a turn: the network is quickest with many, and others wait less for few; of a
# first turn, for which newcomers wait, one.
MANY, FEW, SECONDS = 16, 4, 1.0


@dataclass(frozen=True)
class Upload:
    """An uploaded file: its name and its bytes."""

    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """The hash of the bytes, computed once however often the page is drawn."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Settings:
    """What determines a caption besides the photograph; ``model`` identifies the model."""

    model: str
    beam: int
    length_penalty: float


class Session:
    """Captions photographs, and remembers the last ``capacity`` captions by content and settings.

    Of the photographs themselves it keeps nothing but ``uploads``, which the page sets. Sessions
    that share ``turns`` compute in turns: what they call while they wait may raise, which ends the
    waiting.
    """

    def __init__(self, capacity: int = MAX_REMEMBERED, turns: Turns = TURNS) -> None:
        self.uploads: list[Upload] = []
        self._capacity, self._turns = capacity, turns
        self._remembered: OrderedDict[tuple[str, Settings], Caption | Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._remembered)

    def captions(
        self,
        captioner: Captioner,
        uploads: Sequence[Upload],
        settings: Settings,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[Caption | Failure]:
        """Caption ``uploads`` in order, under their names; a broken one leaves the others alone."""
        keys = [(upload.digest, settings) for upload in uploads]
        contents = {key: upload.content for key, upload in zip(keys, uploads, strict=True)}
        # A copy: what is remembered may be dropped before its turn comes.
        known = {key: self._remembered[key] for key in contents if key in self._remembered}
        unknown = deque(content for key, content in contents.items() if key not in known)
        new = self._in_turns(captioner, unknown, settings, while_waiting)
        for key, upload in zip(keys, uploads, strict=True):
            if key not in known:
                known[key] = next(new)
            self._remember(key, known[key])
            yield _renamed(known[key], upload.name)

    def _in_turns(
        self,
        captioner: Captioner,
        photos: deque[bytes],
        settings: Settings,
        while_waiting: Callable[[], None],
    ) -> Iterator[Caption | Failure]:
        """Caption photographs turn by turn; nothing is handed out while a turn is held."""
        again = False
        while photos:
            with self._turns.turn(while_waiting, again):
                results = list(
                    captioner.stream(
                        self._share(photos, FEW if again else 1),
                        beam=settings.beam,
                        length_penalty=settings.length_penalty,
                    )
                )
            yield from results
            again = True

    def _share(self, photos: deque[bytes], few: int) -> Iterator[bytes]:
        """Take the photographs of one turn: ``few`` where others wait, and less of large ones."""
        end = time.monotonic() + SECONDS
        for count in range(MANY):
            used_up = count >= few or (count > 0 and time.monotonic() > end)
            if not photos or (used_up and self._turns.waiting):
                return
            yield photos.popleft()

    def explained(
        self,
        captioner: Captioner,
        upload: Upload,
        caption: Caption,
        settings: Settings,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Caption:
        """The caption of a photograph with its evidence, which is remembered with it.

        Raises ImageError where the photograph is too small, and SettingError for a captioner whose
        engine cannot give evidence.
        """
        key = (upload.digest, settings)
        known = self._remembered.get(key)
        if not isinstance(known, Caption) or known.evidence is None:
            with self._turns.turn(while_waiting):
                known = captioner.explain(caption, upload.content)
        self._remember(key, known)
        return replace(known, source=upload.name)

    def _remember(self, key: tuple[str, Settings], result: Caption | Failure) -> None:
        """Remember a result as the one used last, and forget the one unused for longest."""
        self._remembered[key] = result
        self._remembered.move_to_end(key)
        if len(self._remembered) > self._capacity:
            self._remembered.popitem(last=False)


def _renamed(result: Caption | Failure, name: str) -> Caption | Failure:
    """The result under the file's name, which the captioner, given only bytes, does not know."""
    if isinstance(result, Caption):
        return replace(result, source=name)
    return Failure(name, result.reason.replace("the image", printable(name), 1))
