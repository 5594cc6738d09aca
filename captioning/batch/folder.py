"""Captions a folder into a file, resuming by itself where it was interrupted."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from captioning.batch.copies import EMBEDDED, CaptionCopies, Counts
from captioning.batch.journal import Journal, Record
from captioning.batch.sources import Picture
from captioning.batch.tables import JSON_LINES, require_table, write_table
from captioning.errors import SettingError
from captioning.files import remove_leftovers
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.export import RECORD_VERSION, as_record
from captioning.inference.read_ahead import READERS

JOURNAL_SUFFIX = ".journal"  # after the name of an output that is not JSON lines itself


@dataclass(frozen=True)
class FolderConfig:
    """What a run over a folder does.

    ``output`` is where the captions go: JSON lines, CSV or Parquet by its suffix. ``model`` tells
    the model from others. ``changed`` captions pictures anew whose files have changed since;
    ``sidecar`` and ``embed`` write captions beside and into the pictures.
    """

    output: Path
    model: str
    changed: bool = False
    sidecar: bool = False
    embed: bool = False
    beam: int | None = None
    evidence: bool = False
    maps: bool = False

    def __post_init__(self) -> None:
        require_table(self.output)

    @property
    def journal(self) -> Path:
        """The file of JSON lines that is written as captions come."""
        if self.output.suffix.lower() == JSON_LINES:
            return self.output
        return self.output.with_name(self.output.name + JOURNAL_SUFFIX)


@dataclass
class Summary:
    """What a run did."""

    captioned: int = 0
    failed: int = 0
    before: int = 0  # captioned by earlier runs
    kept: Counts = field(default_factory=Counts)

    def describe(self, output: Path) -> str:
        """One line for people."""
        parts = [f"{self.captioned:,} captioned"]
        parts += [f"{self.before:,} captioned before"] if self.before else []
        parts += [f"{self.failed:,} failed"] if self.failed else []
        if kept := self.kept.describe():
            parts.append(kept)
        return f"{output}: {', '.join(parts)}"


class Stamp(NamedTuple):
    """By what a file that has changed is recognised."""

    bytes: int
    modified: str  # UTC, ISO 8601, to the microsecond

    @classmethod
    def of(cls, path: str) -> "Stamp | None":
        """The stamp of a file; None where there is none."""
        with suppress(OSError, ValueError):  # ValueError: a NUL in the name
            status = os.stat(path)
            seconds, rest = divmod(status.st_mtime_ns, 1_000_000_000)
            time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
            return cls(status.st_size, time.isoformat())
        return None

    @classmethod
    def read(cls, record: Record) -> "Stamp":
        """The stamp in a record; one that no file has where there is none."""
        return cls(record.get("bytes", -1), record.get("modified", ""))


class Done(NamedTuple):
    """What an earlier run has done with a picture, as far as this one needs it."""

    stamp: Stamp | None = None
    caption: str = ""
    embedded: bool = False
    error: str = ""


class FolderRun:
    """One run of the command: pictures to a file."""

    def __init__(self, config: FolderConfig, say: Callable[[str], object]) -> None:
        self.config, self.say = config, say
        self.copies = CaptionCopies(config.sidecar, config.embed, say)
        self.summary = Summary(kept=self.copies.counts)
        self.superseded = False

    def run(self, load: Callable[[], Captioner], pictures: Sequence[Picture]) -> Summary:
        """Caption what is not captioned yet; ``load`` is called where there is something.

        Raises CaptioningError for an output that is not this command's or is of another model, and
        OSError where it cannot be written. What was captioned until then is kept.
        """
        self.require_own_output()
        with self.copies, Journal(self.config.journal) as journal:
            done = self.read(journal)
            todo = [picture for picture in pictures if self.is_due(picture, done)]
            self.summary.before = len(pictures) - len(todo)
            self.copies.remove_leftovers(pictures)
            if self.config.sidecar or self.config.embed:
                due = {picture.name for picture in todo}
                finished = {p.name: p for p in pictures if p.name not in due}
                self.write_missing_copies(finished, done, journal)
            if todo:
                self.caption(load(), todo, done, journal)
            if self.superseded:
                journal.compact()
            if self.config.journal != self.config.output:
                remove_leftovers(self.config.output)
                write_table(self.config.output, journal.records())
        return self.summary

    def require_own_output(self) -> None:
        """Raise SettingError where the output is there and no journal says that it is ours."""
        output, journal = self.config.output, self.config.journal
        if os.path.lexists(output) and not os.path.exists(journal):
            raise SettingError(
                f"{output}: this file is there already, and without {journal.name} beside it this "
                "command did not write it; name another output"
            )

    def read(self, journal: Journal) -> dict[str, Done]:
        """What earlier runs have done, by the name of each picture."""
        done: dict[str, Done] = {}
        for record in journal.records():
            name = record["file"]
            self.superseded |= name in done
            if record.get("error"):
                done[name] = Done(error=record["error"])
                continue
            if record.get("model") != self.config.model:
                raise SettingError(
                    f"{journal.path}: these captions are of another model; name another output, or "
                    "use the model that made them"
                )
            # A million pictures may be done, so no more is kept of each than is needed.
            stamp = Stamp.read(record) if self.config.changed else None
            copied = self.config.sidecar or self.config.embed
            caption = record["caption"] if copied else ""
            done[name] = Done(stamp, caption, EMBEDDED in record)
        return done

    def is_due(self, picture: Picture, done: dict[str, Done]) -> bool:
        """Whether a picture is to be captioned: not yet, not with success, or not as it is now."""
        before = done.get(picture.name)
        if before is None or before.error:
            return True
        return self.config.changed and Stamp.of(picture.path) != before.stamp

    def caption(
        self,
        captioner: Captioner,
        todo: Sequence[Picture],
        done: dict[str, Done],
        journal: Journal,
    ) -> None:
        """Caption pictures and append their records."""
        stamps = deque[Stamp | None]()

        def paths() -> Iterator[str]:
            for picture in todo:
                # Before it is read: a file that changes after that is captioned anew.
                stamps.append(Stamp.of(picture.path))
                yield picture.path

        config = self.config
        results = captioner.stream(
            paths(), beam=config.beam, evidence=config.evidence, readers=READERS
        )
        bar = tqdm(todo, unit="image", disable=None, dynamic_ncols=True)
        for picture, result in zip(bar, results, strict=True):
            record = self.record(picture, result, stamps.popleft())
            self.keep(picture, record, done.get(picture.name), journal)

    def record(self, picture: Picture, result: Caption | Failure, stamp: Stamp | None) -> Record:
        """What is written of one picture."""
        file: dict[str, Any] = {"version": RECORD_VERSION, "file": picture.name}
        if isinstance(result, Failure):
            self.summary.failed += 1
            self.say(result.reason)
            return file | {"error": result.reason}
        self.summary.captioned += 1
        content = as_record(result, self.config.maps) | file | {"model": self.config.model}
        return content if stamp is None else content | stamp._asdict()

    def keep(self, picture: Picture, record: Record, before: Done | None, journal: Journal) -> None:
        """Write a record, after what is beside the picture: the record says that it is done."""
        if record.get("error"):
            if before is not None and before.error in ("", record["error"]):
                return  # a caption is worth more than the news that its file is gone
        else:
            record = self.with_copies(picture, record, before.caption if before else "")
        self.superseded |= before is not None
        journal.append(record)

    def with_copies(self, picture: Picture, record: Record, before: str) -> Record:
        """Write a caption beside or into its picture; returns the record with what came of it."""
        written = self.copies.write(picture.path, record["caption"], before)
        if not written.get(EMBEDDED):
            return record | written
        stamp = Stamp.of(picture.path)  # the picture's file is another one now
        return record | written | (stamp._asdict() if stamp else {})

    def write_missing_copies(
        self, finished: Mapping[str, Picture], done: Mapping[str, Done], journal: Journal
    ) -> None:
        """Write what earlier runs have not written beside and into their pictures, by name."""
        if not self.config.embed:
            for name, picture in finished.items():
                self.copies.write(picture.path, done[name].caption, done[name].caption)
            return
        missing = {name for name in finished if not done[name].embedded}
        for record in journal.records():
            name = record["file"]
            if name in missing and record.get("caption") == done[name].caption:
                missing.remove(name)  # the new record is among those that are still to come
                self.superseded = True
                journal.append(self.with_copies(finished[name], record, done[name].caption))
