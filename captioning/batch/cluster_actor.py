"""One process of a cluster that captions: Ray makes it, and hands it tables of pictures."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from captioning.batch.caption_parts import parts_schema
from captioning.batch.folder import Stamp
from captioning.batch.stores import StoredPhoto
from captioning.batch.tables import as_table
from captioning.data.photo_sources import UNNAMED, Source, printable
from captioning.errors import CaptioningError
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.engine_config import EngineConfig
from captioning.inference.export import as_record
from captioning.network.checkpoint import file_hash
from captioning.network.shipped import SHIPPED_MODEL

STOP = "stop"  # the column with a reason why no process like this one can caption anything
_FETCHERS = 4  # threads for files at addresses, which mostly wait


@dataclass(frozen=True)
class ActorConfig:
    """What a process is to do.

    ``model`` is the path of the checkpoint, None for the one that ships, and ``digest`` how its
    hash begins. ``running`` says with how many threads.
    """

    model: Path | None
    digest: str
    running: EngineConfig
    beam: int | None = None
    evidence: bool = False


class _Picture(NamedTuple):
    """A picture of a table: what it is called, and what the captioner is to read."""

    name: str
    source: Source

    def stamp(self) -> Stamp | None:
        """By what a change of its file is recognised; None for bytes."""
        if isinstance(self.source, StoredPhoto):
            return self.source.stamp
        return Stamp.of(self.source) if isinstance(self.source, str) else None


class CaptionActor:
    """Captions tables of pictures (``parquet_sources.picture_table``).

    Nothing is raised but what ends the process: a picture that cannot be captioned, for whatever
    reason, has a row that says so, and where the process itself can do nothing, the only row has
    the reason in the column ``STOP``.
    """

    def __init__(self, config: ActorConfig) -> None:
        self.config, self.problem = config, ""
        try:
            self.captioner = self.load()
        except (CaptioningError, OSError) as error:
            self.problem = f"on the machine {socket.gethostname()}: {error}"

    def load(self) -> Captioner:
        """The captioner; raises CaptioningError for another model than the command's."""
        path = self.config.model or SHIPPED_MODEL
        if os.path.isfile(path) and not file_hash(path).startswith(self.config.digest):
            raise CaptioningError(
                f"{path}: this is another model than where the command was started; copy that one "
                "to every machine"
            )
        return Captioner.load_with(path, self.config.running)

    def __call__(self, table: Any) -> Any:
        """The captions of a table, as rows of a part and the column ``STOP``."""
        if self.problem:
            return _answer([{STOP: self.problem}])
        pictures = [_picture(row) for row in table.to_pylist()]
        return _answer(self.records(pictures))

    def records(self, pictures: list[_Picture]) -> list[dict[str, Any]]:
        """What is to be written of pictures, in their order."""
        records: list[dict[str, Any]] = []
        # What is raised for one picture ends the stream for those after it, too.
        with suppress(Exception):
            for record in self.stream(pictures):
                records.append(record)
        for picture in pictures[len(records) :]:
            try:
                records += self.stream([picture])
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                text = f"{printable(picture.name)} could not be captioned ({printable(reason)})."
                records.append({"file": picture.name, "error": text})
        return records

    def stream(self, pictures: list[_Picture]) -> Iterator[dict[str, Any]]:
        """What is to be written of each picture, as the captions come."""
        stamps: list[Stamp | None] = []

        def sources() -> Iterator[Source]:
            for picture in pictures:
                # Before it is read: a file that changes after that is captioned anew.
                stamps.append(picture.stamp())
                yield picture.source

        config = self.config
        results = self.captioner.stream(
            sources(), config.beam, evidence=config.evidence, readers=self.readers(pictures)
        )
        for index, (picture, result) in enumerate(zip(pictures, results, strict=True)):
            yield self.record(picture, result, stamps[index] or picture.stamp())

    def readers(self, pictures: Iterable[_Picture]) -> int:
        """How many threads read ahead: the processors of this process, or more that wait."""
        is_far = any(isinstance(picture.source, StoredPhoto) for picture in pictures)
        return _FETCHERS if is_far else self.config.running.threads or 1

    def record(
        self, picture: _Picture, result: Caption | Failure, stamp: Stamp | None
    ) -> dict[str, Any]:
        """What is to be written of one picture."""
        if isinstance(result, Failure):
            reason = result.reason
            if reason.startswith(UNNAMED):  # what is read of bytes does not know its name
                reason = printable(picture.name) + reason.removeprefix(UNNAMED)
            return {"file": picture.name, "error": reason}
        own = {"file": picture.name, "model": self.config.digest}
        return as_record(result) | own | (stamp._asdict() if stamp else {})


def _picture(row: dict[str, Any]) -> _Picture:
    """A picture of a row, which has its bytes, or its path here or in a store."""
    if row["content"] is not None:
        return _Picture(row["name"], row["content"])
    path = os.fsdecode(row["path"])
    if not row["store"]:
        return _Picture(row["name"], path)
    return _Picture(row["name"], cast(BinaryIO, StoredPhoto(row["store"], path)))


def _answer(records: list[dict[str, Any]]) -> Any:
    import pyarrow

    return as_table(records, parts_schema().append(pyarrow.field(STOP, pyarrow.string())))
