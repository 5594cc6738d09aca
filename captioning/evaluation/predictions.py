"""Captions that any system wrote, read from a file: all systems are scored in the same way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captioning.data.caption_formats import read_rows
from captioning.data.caption_rows import (
    DataError,
    Problem,
    Row,
    Rows,
    count_noun,
    describe_problems,
    shorten,
)
from captioning.evaluation.matching import Ids, Photographs, is_id


@dataclass(frozen=True, eq=False)
class Predictions(Mapping[str, str]):
    """One caption for each image, by its name or id as written in the file, in its order.

    ``ids`` are those that the file gives images as such; ``remarks`` are for the user.
    """

    captions: Mapping[str, str]
    ids: Mapping[str, Ids] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def __getitem__(self, image: str) -> str:
        return self.captions[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self.captions)

    def __len__(self) -> int:
        return len(self.captions)


def read_predictions(path: Path) -> Predictions:
    """Read a file of captions, one per image: image name or id, as written there, to caption.

    The formats are those of ``caption_formats``. An empty caption is a caption. Raises DataError
    for a file or a row that cannot be read, and for a second caption of an image.
    """
    parsed = read_rows(path)
    if parsed.problems:
        raise DataError(describe_problems(parsed.problems, path, parsed.unit))
    if not parsed.rows:
        raise DataError(f"{path}: there is no caption in it; name another file")
    return Predictions(
        _by_image(parsed, path),
        {row.image: row.ids for row in parsed.rows if row.ids},
        tuple(f"{path}: {remark}" for remark in parsed.remarks),
    )


def _by_image(parsed: Rows, path: Path) -> dict[str, str]:
    first: dict[str, Row] = {}
    repeated = []
    for row in parsed.rows:
        known = first.setdefault(row.image, row)
        if known is not row:
            position = f"{parsed.unit} {known.number}"
            text = f"has a caption for {shorten(row.image)}, and so has {position}"
            repeated.append(Problem(row.number, text, "keep one caption for each image"))
    if repeated:
        raise DataError(describe_problems(repeated, path, parsed.unit))
    return {image: row.caption for image, row in first.items()}


def match_predictions(
    candidates: Mapping[str, str],
    names: Sequence[str],
    path: Path,
    ids: Mapping[str, Ids] | None = None,
) -> list[str]:
    """The captions of the photographs ``names``, in their order; ``path`` is for messages.

    ``ids`` are those that the references give photographs: an image that has nothing but an id is
    compared with them. A name in the file is compared with the photographs' names as it is, then by
    the ends of both paths, then without its folder, then without its extension; last, where the
    references give no ids, a number is compared with the one that ends a photograph's name, where
    COCO has its ids. Raises DataError when an image fits several photographs or several images fit
    one, and when a photograph has no caption or a caption no photograph.
    """
    images = _images_by_photograph(candidates, _photographs(candidates, names, ids), path)
    missing = [name for name in names if name not in images]
    if missing:
        raise DataError(
            f"{path}: {count_noun(len(missing), 'photograph')} of the {len(names):,} to be scored, "
            f"the first {shorten(missing[0])}, {'has' if len(missing) == 1 else 'have'} no caption "
            "in it; add what is missing, or choose the split that it is for with --split"
        )
    return [candidates[images[name]] for name in names]


def count_known(
    candidates: Mapping[str, str], names: Sequence[str], ids: Mapping[str, Ids] | None = None
) -> int:
    """How many of the images may be photographs of these names."""
    photographs = _photographs(candidates, names, ids)
    return sum(photographs.knows(image, own) for image, own in _own_ids(candidates).items())


def _photographs(
    candidates: Mapping[str, str], names: Sequence[str], ids: Mapping[str, Ids] | None
) -> Photographs:
    return Photographs(names, ids or {}, _own_ids(candidates))


def _own_ids(candidates: Mapping[str, str]) -> dict[str, Ids]:
    """The ids that the file itself gives each image."""
    known = candidates.ids if isinstance(candidates, Predictions) else {}
    return {image: known.get(image, ()) for image in candidates}


def _images_by_photograph(
    candidates: Mapping[str, str], photographs: Photographs, path: Path
) -> dict[str, str]:
    """The name in the file of each photograph that it has a caption for."""
    images: dict[str, str] = {}
    unknown = []
    for image, own in _own_ids(candidates).items():
        try:
            name = photographs.find(image, own)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        if name is None:
            unknown.append(image)
        elif name in images:
            raise DataError(
                f"{path}: {shorten(images[name])} and {shorten(image)} in it are both the "
                f"photograph {shorten(name)}; keep one caption for each image"
            )
        else:
            images[name] = image
    if unknown:
        count = f"{len(photographs.names):,} photographs to be scored"
        are_ids = photographs.have_ids and all(map(is_id, unknown))
        raise DataError(
            f"{path}: {count_noun(len(unknown), 'image')} in it, the first {shorten(unknown[0])}, "
            f"{'is' if len(unknown) == 1 else 'are'} not among the "
            f"{'ids that the references give the ' * are_ids}{count}; choose their split with "
            "--split, or take them out"
        )
    return images
