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
_HELD_BACK = 2  # development photographs, where there are none, and as many to train on
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


def hold_back(splits: Splits) -> Splits:
    """A split to train by: with photographs to choose the best epoch by, and others to train on.

    A split that has two or more to choose by stays as it is, so that of large sets is always that
    of ``split_photographs``. Else some of those to train on are taken: two where there are none to
    choose by (of two or three, one), one where the hash leaves a single one and four others. Where
    it leaves none to train on, half of those that it holds out are, and where it leaves a single
    one, others are there to choose by. Those are moved whose hashes come nearest. What a caption
    file or the official lists hold out is never trained on, and a file's own choice of one stays.
    """
    moved = _spared(splits)
    if not moved and not (splits.train and splits.dev):
        moved = _freed(splits)
    if not moved:
        return splits
    parts = {photo.name: part for part in SPLITS for photo in getattr(splits, part)}
    moved = _spared(splits) or _freed(splits)
    parts |= moved
    photographs = (*splits.train, *splits.dev, *splits.test)
    kept = {part: tuple(p for p in photographs if parts[p.name] == part) for part in SPLITS}
    source = f"{splits.source} ({len(moved)} moved, for a few are always held back)"
    return Splits(kept["train"], kept["dev"], kept["test"], source)


def _spared(splits: Splits) -> dict[str, str]:
    """The training photographs to choose the best epoch by, if there are too few of these."""
    missing = min(_HELD_BACK, len(splits.train) // 2)
    if splits.dev:
        by_hash = all(map(_is_hashed, splits.dev))
        missing = min(_HELD_BACK - len(splits.dev), len(splits.train) // 4) if by_hash else 0
    return dict.fromkeys(_ranked(splits.train)[: max(0, missing)], "dev")


def _freed(splits: Splits) -> dict[str, str]:
    """Where those go that only the hash holds out: half of them to train, if there are none."""
    parts = {"test": splits.test, "dev": splits.dev}
    free = {photo.name: name for name, part in parts.items() for photo in part if _is_hashed(photo)}
    # Last in the order of the hashes, those nearest to training come first.
    names = _ranked(photo for part in parts.values() for photo in part if photo.name in free)[::-1]
    if len(names) + len(splits.train) < 2:
        return {}
    half = 0 if splits.train else len(names) // 2
    chosen = dict.fromkeys(names[:half], "train")
    chosen |= dict.fromkeys(names[half:][-_HELD_BACK:], "dev")
    return {name: part for name, part in chosen.items() if part != free[name]}


def _is_hashed(photograph: Photograph) -> bool:
    """Whether neither the caption file nor the official lists say where a photograph belongs."""
    return not photograph.split and official_split(photograph.name) == "train"


def _ranked(photographs: Iterable[Photograph]) -> list[str]:
    """Their names, those first whose hashes are nearest to the tenth that is held back."""
    names = (photograph.name for photograph in photographs)
    return sorted(names, key=lambda name: (_percent(name), name_hash(name)))


def name_hash(name: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an image's file name.

    A name has one hash whatever its normal form: macOS writes it in another than other systems.
    """
    whole = composed(name)
    try:
        content = whole.encode("utf-8", "surrogateescape")  # the bytes of the name
    except UnicodeEncodeError:  # half characters that no file's name gives
        content = whole.encode("utf-8", "surrogatepass")
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
    percent = _percent(name)
    for split, share in _HELD_OUT_PERCENT.items():
        if percent < share:
            return split
        percent -= share
    return "train"


def _percent(name: str) -> int:
    """A number from 0 to 99 that depends on the name alone."""
    return int(name_hash(name), 16) % 100
