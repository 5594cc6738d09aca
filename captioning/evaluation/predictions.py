"""Captions that any system wrote, read from a file: all systems are scored in the same way."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from captioning.data.image_names import base_name, last_number, only_number, stem


def read_predictions(path: Path) -> dict[str, str]:
    """Read a file of captions, one per image: image name or id, as written there, to caption.

    The formats are those of ``caption_formats``. An empty caption is a caption. Raises DataError
    for a file or a row that cannot be read, and for a second caption of an image.
    """
    parsed = read_rows(path)
    if parsed.problems:
        raise DataError(describe_problems(parsed.problems, path, parsed.unit))
    if not parsed.rows:
        raise DataError(f"{path}: there is no caption in it; name another file")
    return _by_image(parsed, path)


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


def match_predictions(candidates: Mapping[str, str], names: Sequence[str], path: Path) -> list[str]:
    """The captions of the photographs ``names``, in their order; ``path`` is for messages.

    A name in the file is compared with the photographs' names as it is, then without its folder,
    then without its extension; last, a number is compared with the one that ends a photograph's
    name, where COCO has its ids. Raises DataError when a name fits several photographs or several
    names fit one, and when a photograph has no caption or a caption no photograph.
    """
    images = _images_by_photograph(candidates, names, path)
    missing = [name for name in names if name not in images]
    if missing:
        raise DataError(
            f"{path}: {count_noun(len(missing), 'photograph')} of the {len(names):,} to be scored, "
            f"the first {shorten(missing[0])}, {'has' if len(missing) == 1 else 'have'} no caption "
            "in it; add what is missing, or choose the split that it is for with --split"
        )
    return [candidates[images[name]] for name in names]


def _images_by_photograph(
    candidates: Iterable[str], names: Sequence[str], path: Path
) -> dict[str, str]:
    """The name in the file of each photograph that it has a caption for."""
    tables = _tables(names)
    images: dict[str, str] = {}
    unknown = []
    for image in candidates:
        name = _find_photograph(image, tables, path)
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
        raise DataError(
            f"{path}: {count_noun(len(unknown), 'image')} in it, the first {shorten(unknown[0])}, "
            f"{'is' if len(unknown) == 1 else 'are'} not among the {len(names):,} photographs to "
            "be scored; choose their split with --split, or take them out"
        )
    return images


def _whole(name: str) -> str:
    return name


# What of an image's name in the file must equal what of a photograph's name, the surest first.
_RULES: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (_whole, _whole),
    (base_name, base_name),
    (base_name, stem),
    (stem, base_name),
    (stem, stem),
    (only_number, last_number),
)


def _tables(names: Iterable[str]) -> list[dict[str, list[str]]]:
    """For each rule, the photographs by what it compares."""
    tables: list[dict[str, list[str]]] = [{} for _ in _RULES]
    for name in dict.fromkeys(names):
        for table, (_, of_photograph) in zip(tables, _RULES, strict=True):
            table.setdefault(of_photograph(name), []).append(name)
    return tables


def _find_photograph(
    image: str, tables: Iterable[Mapping[str, list[str]]], path: Path
) -> str | None:
    """The photograph of an image's name, by the first rule that fits any.

    Raises DataError where it fits several.
    """
    for table, (of_image, _) in zip(tables, _RULES, strict=True):
        key = of_image(image)
        matches = table.get(key, []) if key else []
        if len(matches) > 1:
            raise DataError(
                f"{path}: {shorten(image)} in it may be {shorten(matches[0])} or "
                f"{shorten(matches[1])}; write the name of the photograph in full"
            )
        if matches:
            return matches[0]
    return None
