"""Which photograph an image in a file of captions is, by its name or by its id."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from captioning.data.caption_rows import ID_KEY, DataError, ImageId, shorten
from captioning.data.image_names import (
    base_name,
    composed,
    last_number,
    only_number,
    stem,
    trailing_parts,
    unescaped,
)

Ids = tuple[ImageId, ...]
_Keys = Callable[[str], Iterable[str]]
_Table = dict[str, list[str]]  # photographs by what is compared


def _whole(name: str) -> Iterable[str]:
    return (name,)


def _only(part: Callable[[str], str]) -> _Keys:
    return lambda name: (part(name),)


# What of an image's name in the file must equal what of a photograph's name, the surest first. Of
# several ends of a path the longest that fits counts.
_RULES: tuple[tuple[_Keys, _Keys], ...] = (
    (_whole, _whole),
    (_only(str.strip), _only(str.strip)),
    (trailing_parts, _whole),
    (_whole, trailing_parts),
    (_only(base_name), _only(base_name)),
    (_only(base_name), _only(stem)),
    (_only(stem), _only(base_name)),
    (_only(stem), _only(stem)),
)
# As it is, in one normal form, and without escapes.
_FORMS: tuple[Callable[[str], str], ...] = (str, composed, lambda name: composed(unescaped(name)))


class Photographs:
    """Finds photographs by the names and ids of images in another file.

    ``ids`` are those that the references give the photographs. Where they give any, an image that
    has nothing but an id is found by it alone; elsewhere by the number that ends a photograph's
    name, where COCO has its ids. ``images`` are all that will be asked for, with their own ids:
    they tell which of several kinds of ids the references and they have in common.
    """

    def __init__(
        self, names: Iterable[str], ids: Mapping[str, Ids], images: Mapping[str, Ids]
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        are_plain = all(name.isascii() and "\\" not in name for name in self.names)
        self._tables = [
            (of_image, form, _table(self.names, of_photograph, form))
            for of_image, of_photograph in _RULES
            for form in (_FORMS[:1] if are_plain else _FORMS)
        ]
        self._numbers = _table(self.names, _only(last_number), str)
        kinds = dict.fromkeys(each.kind for name in self.names for each in ids.get(name, ()))
        by_kind = [_table(self.names, _of_kind(ids, kind), str) for kind in kinds]
        self._ids = _fitting(by_kind, [_id_of(image, own) for image, own in images.items()])

    @property
    def have_ids(self) -> bool:
        """Whether the references give the photographs ids."""
        return bool(self._ids)

    def find(self, image: str, own: Ids = ()) -> str | None:
        """The photograph of an image with its ``own`` ids; None for none.

        Raises DataError where it fits several, or its name one and its id another.
        """
        found = self._find_all(image, own)
        if len(found) > 1:
            raise DataError(
                f"{shorten(image)} in it may be {shorten(found[0])} or {shorten(found[1])}; write "
                "the name of the photograph in full"
            )
        return found[0] if found else None

    def knows(self, image: str, own: Ids = ()) -> bool:
        """Whether the image may be one of the photographs."""
        return bool(self._find_all(image, own))

    def _find_all(self, image: str, own: Ids) -> Sequence[str]:
        """All photographs that the image may be."""
        named = self._by_name(image)
        if not self._ids:
            return named or self._numbered(image)
        if ImageId(ID_KEY, image) in own:  # nothing but an id
            return self._by_id(image)
        if value := _id_of(image, own):
            return _union(named or (self._numbered(image) if own else ()), self._by_id(value))
        if named:
            return named
        number = only_number(image)  # of "000042.jpg", which may be the id of another photograph
        if not number:
            return self._by_id(image)
        numbered = self._numbered(image)
        return _union(numbered, self._by_id(number)) if numbered else ()

    def _by_name(self, image: str) -> Sequence[str]:
        for of_image, form, table in self._tables:
            for key in of_image(form(image)):
                if key in table:
                    return table[key]
        return ()

    def _numbered(self, image: str) -> Sequence[str]:
        return self._numbers.get(only_number(image), ())

    def _by_id(self, value: str) -> Sequence[str]:
        return _union(*(table.get(value, ()) for table in self._ids))


def _union(*photographs: Sequence[str]) -> Sequence[str]:
    return tuple(dict.fromkeys(name for each in photographs for name in each))


def _table(names: Iterable[str], keys: _Keys, form: Callable[[str], str]) -> _Table:
    table: _Table = {}
    for name in names:
        for key in filter(None, keys(form(name))):
            table.setdefault(key, []).append(name)
    return table


def _of_kind(ids: Mapping[str, Ids], kind: str) -> _Keys:
    return lambda name: _values(ids.get(name, ()), kind)


def _values(ids: Ids, kind: str) -> list[str]:
    return [each.value for each in ids if each.kind == kind]


def is_id(image: str) -> bool:
    """Whether what a file calls an image is a number and nothing else."""
    return image.strip().isascii() and image.strip().isdigit()


def _id_of(image: str, own: Ids) -> str:
    """The id of an image: its own, or its name where that is nothing but digits; else empty.

    Of the ids of a data set, by which it joins its own parts, none is compared.
    """
    values = _values(own, ID_KEY)
    if values:
        return values[0]
    return ImageId.of(ID_KEY, image.strip()).value if is_id(image) else ""


def _fitting(tables: Sequence[_Table], values: Iterable[str]) -> list[_Table]:
    """The tables in which all of these ids are; where there is none, that in which most are."""
    wanted = [value for value in values if value]
    counts = [sum(value in table for value in wanted) for table in tables]
    return [table for table, count in zip(tables, counts, strict=True) if count == max(counts)]
