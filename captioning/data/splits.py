"""The photographs to train on, to choose the model by and to test on."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from captioning.data.caption_files import Photograph
from captioning.data.image_names import composed

SPLITS = ("train", "dev", "test")
_HELD_OUT_PERCENT = {"dev": 10, "test": 10}
_OFFICIAL_SHARE = 0.05  # of the photographs, for a set to count as Flickr8k


@dataclass(frozen=True)
class Splits:
    """The photographs to train on, to choose the model by and to test on.

    ``source`` says where the split comes from.
    """

    train: tuple[Photograph, ...]
    dev: tuple[Photograph, ...]
    test: tuple[Photograph, ...]
    source: str

    @property
    def held_out(self) -> tuple[Photograph, ...]:
        """The photographs not to train on."""
        return self.dev + self.test

    def limited(self, count: int | None) -> "Splits":
        """Keep the first ``count`` photographs of each part; all for None."""
        return replace(self, **{name: getattr(self, name)[:count] for name in SPLITS})

    def describe(self) -> str:
        """Describe them in a line: where the split comes from, and the size of each part."""
        sizes = ", ".join(f"{len(getattr(self, name)):,} {name}" for name in SPLITS)
        return f"{self.source}: {sizes} photographs"


def split_photographs(photographs: Iterable[Photograph]) -> Splits:
    """Split as the caption file says, else by the official Flickr8k lists, else by a hash.

    The lists apply where they hold out a twentieth of the photographs (of Flickr8k as published,
    a quarter); elsewhere a few photographs of Flickr8k do not change the split of the others.
    Otherwise the name alone decides, so a photograph stays in its part when others are added.
    Official lists: Hodosh et al. (2013), stored as hashes of the names.
    """
    photographs = tuple(photographs)
    if photographs and all(photograph.split in SPLITS for photograph in photographs):
        given = {name: tuple(p for p in photographs if p.split == name) for name in SPLITS}
        return Splits(given["train"], given["dev"], given["test"], "the caption file's own split")
    listed = sum(official_split(photograph.name) != "train" for photograph in photographs)
    official = listed >= _OFFICIAL_SHARE * len(photographs) > 0
    choose = official_split if official else _listed_or_hashed
    parts: dict[str, list[Photograph]] = {name: [] for name in SPLITS}
    for photograph in photographs:
        parts[choose(photograph.name)].append(photograph)
    source = "the official Flickr8k split" if official else "a split by the hash of each name"
    return Splits(tuple(parts["train"]), tuple(parts["dev"]), tuple(parts["test"]), source)


def name_hash(name: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an image's file name.

    A name has one hash whatever its normal form: macOS writes it in another than other systems.
    """
    content = composed(name).encode("utf-8", "surrogateescape")
    return hashlib.sha256(content).hexdigest()[:12]


@cache
def _official() -> dict[str, str]:
    text = resources.files("captioning.data").joinpath("official_split.json").read_text("utf-8")
    lists = json.loads(text)
    return {digest: split for split in ("dev", "test") for digest in lists[split]}


def official_split(name: str) -> str:
    """The official Flickr8k split of an image's name; ``train`` for names that are not listed."""
    return _official().get(name_hash(name), "train")


def _listed_or_hashed(name: str) -> str:
    """The split in another data set than Flickr8k: by the official lists, else by the hash."""
    listed = official_split(name)
    return hashed_split(name) if listed == "train" else listed


def hashed_split(name: str) -> str:
    """A split that depends on the name alone: 10 % dev, 10 % test, 80 % train."""
    percent = int(name_hash(name), 16) % 100
    for split, share in _HELD_OUT_PERCENT.items():
        if percent < share:
            return split
        percent -= share
    return "train"
