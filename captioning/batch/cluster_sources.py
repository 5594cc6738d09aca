"""Which pictures a cluster is to caption: local ones, those at addresses, bytes in Parquet."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import NamedTuple

from captioning.batch.folder import Stamp
from captioning.batch.parquet_sources import Names, ParquetFile, columns_of
from captioning.batch.sources import (
    STANDARD_INPUT,
    LeftOut,
    Listing,
    Sources,
    find,
    is_picture,
)
from captioning.batch.stores import LOCAL, Store, StoreError, is_address, local_path, shown
from captioning.data.image_names import as_utf8

PARQUET = ".parquet"


class Item(NamedTuple):
    """A picture to caption, by where it is.

    ``name`` is what it is called in what is written, in UTF-8; ``store`` is the address of its
    store, empty for this machine's files, and ``path`` its path there. ``stamp`` is what a listing
    said of it, None where the file itself has to be asked.
    """

    name: str
    path: str
    store: str = ""
    stamp: Stamp | None = None

    def current_stamp(self) -> Stamp | None:
        """By what the file as it is now is recognised."""
        return self.stamp if self.store else Stamp.of(self.path)


@dataclass
class ClusterSources:
    """What a command's arguments stand for; names are each in one place only."""

    items: dict[str, Item] = field(default_factory=dict)
    parquet: Names = field(default_factory=Names)
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # sentences
    content: bytes | None = None

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.items) + len(self.parquet.new)


def find_for_cluster(
    arguments: Sequence[str], listing: Listing, stdin: Callable[[], bytes]
) -> ClusterSources:
    """Find the pictures that arguments name, as ``sources.find`` does, and those beyond it.

    An address is a file or a folder at another place; what ends in .parquet, or is a folder with
    such files and without pictures, holds pictures as bytes.
    """
    search = _Search(replace(listing, relative=listing.relative and len(arguments) == 1), stdin)
    for argument in arguments:
        search.add(local_path(argument) if argument.startswith(LOCAL) else argument)
    search.finish()
    return search.found


class _Search:
    """Turns arguments into pictures, one after the other."""

    def __init__(self, listing: Listing, stdin: Callable[[], bytes]) -> None:
        self.listing, self.stdin = listing, stdin
        self.found = ClusterSources()
        self.left_out = LeftOut()

    def add(self, argument: str) -> None:
        """Add what one argument stands for."""
        try:
            if is_address(argument):
                self.add_address(argument)
            elif files := self.local_parquet(argument):
                self.add_parquet("", files)
            else:
                self.add_local(find([argument], self.listing, self.stdin))
        except StoreError as error:
            self.found.problems.append(str(error))

    def finish(self) -> None:
        """Put what was left out into sentences."""
        repeated, missing = self.found.parquet.repeated, self.found.parquet.missing
        if repeated:
            self.found.left_out.append(
                f"left out: {repeated:,} rows of Parquet whose names others have too"
            )
        if missing:
            self.found.problems.append(
                f"left out: {missing:,} rows of Parquet without a name, by which captions are kept"
            )
        if text := self.left_out.describe():
            self.found.left_out.append(text)

    def add_local(self, sources: Sources) -> None:
        """Add what the folder command finds."""
        for picture in sources.pictures:
            self.add_item(Item(as_utf8(picture.name), os.path.abspath(picture.path)))
        self.found.problems += sources.problems
        self.found.content = sources.content or self.found.content
        self.left_out.suffixes += sources.left_out.suffixes
        self.left_out.folders += sources.left_out.folders

    def add_item(self, item: Item) -> None:
        """Add a picture, unless its name is taken."""
        if item.name not in self.found.parquet.new:
            self.found.items.setdefault(item.name, item)

    def local_parquet(self, argument: str) -> list[str]:
        """The Parquet files that a path stands for; none where it is to be taken for pictures."""
        if argument == STANDARD_INPUT or not os.path.isdir(argument):
            is_table = PurePath(argument).suffix.lower() == PARQUET and os.path.isfile(argument)
            return [os.path.abspath(argument)] if is_table else []
        tables = []
        for folder, folders, names in os.walk(argument, followlinks=True):
            folders[:] = sorted(f for f in folders if self.listing.recursive and f[0] != ".")
            if any(is_picture(name) and name[0] != "." for name in names):
                return []
            found = (
                os.path.abspath(os.path.join(folder, n)) for n in sorted(names) if _is_table(n)
            )
            tables += [path for path in found if path not in self.listing.outputs]
        return tables

    def add_address(self, address: str) -> None:
        """Add the file at an address, or those in the folder there."""
        store = Store.open(address)
        files = store.listed(self.listing.recursive)
        if files is None:
            if _is_table(store.path):
                self.add_parquet(address, [store.path])
            else:
                self.add_item(Item(shown(address), store.path, address))
            return
        pictures = [file for file in files if is_picture(file.path)]
        tables = [file.path for file in files if _is_table(file.path)]
        if not pictures and tables:
            self.add_parquet(address, tables)
            return
        for file in pictures:
            name = store.inner(file.path) if self.listing.relative else store.named(file.path)
            self.add_item(Item(as_utf8(name), file.path, address, file.stamp))
        others = (PurePath(f.path).suffix.lower() for f in files if not is_picture(f.path))
        self.left_out.suffixes.update(others)
        if not pictures:
            raise StoreError(f"{shown(address)}: there is no image in this folder")

    def add_parquet(self, store: str, paths: Sequence[str]) -> None:
        """Add the pictures in Parquet files; those that cannot be read are problems."""
        for path in paths:
            try:
                file = ParquetFile(store, path, columns_of(store, path))
                self.found.parquet.add(file, self.found.items.__contains__)
            except StoreError as error:
                self.found.problems.append(str(error))


def _is_table(name: str) -> bool:
    path = PurePath(name)
    return path.suffix.lower() == PARQUET and not path.name.startswith(".")
