"""Captions more pictures than one machine can, on Ray Data, into a folder of Parquet files.

Names go out to the processes that caption, rows come back, and only this process writes. So the
machines of a cluster need no disk in common for the captions, and none of them can lose any.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from captioning.batch.caption_parts import CaptionParts, rows_of
from captioning.batch.cluster import Cluster, ClusterError, joined
from captioning.batch.cluster_actor import STOP, ActorConfig, CaptionActor
from captioning.batch.cluster_sources import ClusterSources, Item
from captioning.batch.folder import Summary
from captioning.batch.parquet_sources import (
    ParquetFile,
    RowReader,
    file_table,
    hashes,
    picture_table,
    read_rows,
)
from captioning.batch.stores import StoreError
from captioning.batch.tables import selected
from captioning.data.photo_sources import printable

_LEAST_ROWS, _MOST_ROWS = 16, 64  # of a block: a few of them for each process, where there are
_MOST_BLOCKS = 16_384  # each takes Ray some memory here
_SINGLES = 4096  # pictures tried one by one at once


@dataclass(frozen=True)
class ClusterConfig:
    """How a run on a cluster is made.

    ``actors`` processes caption, as many as the cluster has room for if None, each with
    ``actor_cpus`` processors and ``gpus`` GPUs. ``changed`` captions pictures anew whose files have
    changed since.
    """

    address: str
    output: Path
    actor: ActorConfig
    actors: int | None = None
    actor_cpus: int = 1
    gpus: int = 0
    changed: bool = False


class ClusterRun:
    """One run of the command: pictures to a folder of captions."""

    actor = CaptionActor  # what Ray makes a process of

    def __init__(self, config: ClusterConfig, say: Callable[[str], object]) -> None:
        self.config, self.say = config, say
        self.summary = Summary()
        self.waiting: set[str] = set()  # the names of pictures without a row
        self.actors = 0

    def run(self, sources: ClusterSources) -> Summary:
        """Caption what is not captioned yet.

        Raises CaptioningError for an output that is not this command's or is of another model, and
        for a cluster that cannot be used, OSError where the output cannot be written. What was
        captioned until then is kept.
        """
        config = self.config
        with CaptionParts(config.output, config.actor.digest) as parts:
            items = [item for item in sources.items.values() if self.is_due(item, parts)]
            self.waiting = {item.name for item in items}
            self.waiting.update(n for n in sources.parquet.new if _is_missing(n, parts))
            self.summary.before = sources.count - len(self.waiting)
            if self.waiting:
                cpus = config.actors and config.actors * config.actor_cpus
                with joined(config.address, cpus) as cluster:
                    self.caption(cluster, items, sources.parquet.files, parts)
        return self.summary

    def is_due(self, item: Item, parts: CaptionParts) -> bool:
        """Whether a picture is to be captioned: not yet, not with success, or not as it is now."""
        if _is_missing(item.name, parts):
            return True
        return self.config.changed and item.current_stamp() != parts.rows[item.name].stamp

    def caption(
        self,
        cluster: Cluster,
        items: Sequence[Item],
        files: Sequence[ParquetFile],
        parts: CaptionParts,
    ) -> None:
        """Caption pictures block by block, and one by one what is missing after that."""
        self.actors = self.processes(cluster)
        with tqdm(total=len(self.waiting), unit="image", disable=None, dynamic_ncols=True) as bar:

            def keep(results: Iterable[Any]) -> None:
                for table in results:
                    bar.update(self.keep(table, parts))

            while self.waiting:
                before = len(self.waiting)
                try:
                    keep(self.in_blocks(cluster, items, files))
                    break
                except cluster.ray.exceptions.RayError as error:  # a block that was lost
                    if len(self.waiting) == before:
                        raise cluster.failed(error) from None
            # A picture that ends its process takes those of its block with it. One by one, and
            # with no other waiting for the same process, each has only itself to blame.
            for rows in self.one_by_one(items, files):
                keep(self.results(cluster, cluster.data.from_arrow(rows), len(rows), 1))
                bar.update(self.keep(self.given_up(row["name"][0].as_py() for row in rows), parts))
            bar.update(self.keep(_errors(_UNREAD, self.waiting), parts))

    def processes(self, cluster: Cluster) -> int:
        """How many processes are to caption; raises ClusterError where there is room for none."""
        room = cluster.processes(self.config.actor_cpus, self.config.gpus)
        if not room:
            what = f"{self.config.actor_cpus} processors" + (" and a GPU" * self.config.gpus)
            raise ClusterError(
                f"--ray {cluster.address}: no machine of this cluster has {what} for a process "
                "that captions; give a smaller --actor-cpus, or add machines"
            )
        return self.config.actors or room

    # What goes out ----------------------------------------------------------------------------

    def in_blocks(
        self, cluster: Cluster, items: Sequence[Item], files: Sequence[ParquetFile]
    ) -> Iterator[Any]:
        """Have all pictures captioned that have no row yet; the rows as they come."""
        missing = [item for item in items if item.name in self.waiting]
        if missing:
            blocks = self.blocks(missing)
            yield from self.results(cluster, cluster.data.from_arrow(blocks), len(blocks), 2)
        if not self.waiting:
            return
        # Not ray.data.read_parquet: its tasks would wait for the processors that captioning has.
        rows = cluster.data.from_arrow([file_table(file) for file in files]).map_batches(
            RowReader(np.sort(hashes(self.waiting))),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0,
            compute=cluster.data.TaskPoolStrategy(self.actors),
        )
        yield from self.results(cluster, rows, self.actors, 2)

    def blocks(self, items: Sequence[Item]) -> list[Any]:
        """Tables of pictures by where they are: what a process gets at once."""
        fair = -(-len(items) // (4 * self.actors))
        size = min(max(fair, _LEAST_ROWS), _MOST_ROWS)
        size = max(size, -(-len(items) // _MOST_BLOCKS))
        return [_block(items[start : start + size]) for start in range(0, len(items), size)]

    def one_by_one(
        self, items: Sequence[Item], files: Sequence[ParquetFile]
    ) -> Iterator[list[Any]]:
        """Lists of tables of one picture each, of those that have no row yet."""
        missing = (item for item in items if item.name in self.waiting)
        while some := list(islice(missing, _SINGLES)):
            yield [_block([item]) for item in some]
        if not self.waiting:
            return
        for file in files:
            try:
                for rows in read_rows(file, self.are_waiting):
                    yield [rows.slice(index, 1) for index in range(len(rows))]
            except StoreError as error:
                self.say(str(error))

    def are_waiting(self, names: Sequence[str]) -> list[bool]:
        """Whether each of these names has no row yet."""
        return [name in self.waiting for name in names]

    def results(self, cluster: Cluster, rows: Any, blocks: int, at_once: int) -> Iterator[Any]:
        """Have a data set of pictures captioned; the rows of captions as they come.

        ``at_once`` blocks wait for a process or are in it.
        """
        config = self.config
        captions = rows.map_batches(
            self.actor,
            fn_constructor_args=(config.actor,),
            batch_size=None,
            batch_format="pyarrow",
            compute=cluster.data.ActorPoolStrategy(
                size=min(self.actors, blocks), max_tasks_in_flight_per_actor=at_once
            ),
            num_cpus=config.actor_cpus,
            num_gpus=config.gpus or None,
            max_restarts=-1,
            max_task_retries=1,
        )
        return cluster.results(
            captions, lambda: cluster.processes(config.actor_cpus, config.gpus) > 0
        )

    # What comes back --------------------------------------------------------------------------

    def keep(self, table: Any, parts: CaptionParts) -> int:
        """Keep the rows of pictures that had none; returns their number.

        Raises ClusterError where a process could do nothing.
        """
        for reason in table[STOP].to_pylist():
            if reason:
                raise ClusterError(reason)
        table = table.drop_columns([STOP])
        is_new = [self.is_new(name) for name in table["file"].to_pylist()]
        table = selected(table, is_new)
        for error in filter(None, table["error"].to_pylist()):
            self.summary.failed += 1
            self.say(error)
        self.summary.captioned += table["error"].null_count
        parts.add(table)
        return len(table)

    def is_new(self, name: str) -> bool:
        """Whether a picture had no row until now; it has one from now on."""
        is_new = name in self.waiting
        self.waiting.discard(name)
        return is_new

    def given_up(self, names: Iterable[str]) -> Any:
        """Rows with an error for those of some pictures that have ended their processes again."""
        return _errors(_ENDED, [name for name in names if name in self.waiting])


_ENDED = (
    "{} cannot be captioned: the process that read this picture ended, each time; check that it "
    "has enough memory, or leave the picture out."
)
_UNREAD = "{} cannot be read: its Parquet file is damaged there; save that again."


def _errors(text: str, names: Iterable[str]) -> Any:
    """Rows with an error, as a process would have given them."""
    import pyarrow

    rows = rows_of([{"file": name, "error": text.format(printable(name))} for name in names])
    return rows.append_column(STOP, pyarrow.nulls(len(rows), pyarrow.string()))


def _is_missing(name: str, parts: CaptionParts) -> bool:
    """Whether a picture has no caption."""
    row = parts.rows.get(name)
    return row is None or bool(row.error)


def _block(items: Sequence[Item]) -> Any:
    """A table of pictures by where they are."""
    return picture_table(
        [item.name for item in items],
        store=[item.store for item in items],
        path=[item.path for item in items],
    )
