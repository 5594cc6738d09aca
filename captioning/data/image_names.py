"""What of an image's name tells it apart: its file, its stem, the number at its end.

A name that is no UTF-8 has, as everywhere in Python, a lone surrogate for each byte that is none
("\\udce9"). Where a text must be UTF-8, as in CSV, that stands in it as six characters.
"""

import re
from collections.abc import Iterator

from captioning.data.scripts import normalized

# A letter first: what follows the point of "img.001" tells photographs apart.
_EXTENSION = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,4}\Z", re.DOTALL)
# A part of its own: the digits that end a Flickr name's hash are no number.
_LAST_NUMBER = re.compile(r"(?:\A|[^0-9A-Za-z])0*([1-9][0-9]*|0)\Z")
_ONLY_NUMBER = re.compile(r"\A0*([1-9][0-9]*|0)\Z")
_SEPARATOR = re.compile(r"[/\\]")  # the name may come from another system than this one
# As Python writes what cannot be encoded or printed.
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|[nrt])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_MOST_PARTS = 100  # of a path whose ends are looked for
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def base_name(name: str) -> str:
    """The name without its folders, those of Windows too."""
    return _SEPARATOR.split(name)[-1].strip()


def stem(name: str) -> str:
    """The name without its folders and its extension."""
    return _EXTENSION.sub("", base_name(name))


def only_number(name: str) -> str:
    """The digits of a name that is a number, without leading zeros; empty for any other name."""
    match = _ONLY_NUMBER.search(stem(name))
    return match[1] if match else ""


def last_number(name: str) -> str:
    """The digits of the number that ends a name, where COCO has its ids; empty where none does."""
    match = _LAST_NUMBER.search(stem(name))
    return match[1] if match else ""


def trailing_parts(path: str) -> Iterator[str]:
    """The ends of a path that begin with a folder or the file, the longest first; not the whole.

    None has more than a hundred parts.

    A backslash separates folders too, as on Windows, but is first tried as part of a name.
    """
    ends = dict[str, None]()  # in order
    for parts in (path.split("/"), _SEPARATOR.split(path)):
        ends |= dict.fromkeys("/".join(parts[start:]) for start in _starts(len(parts)))
    return (end for end in sorted(ends, key=len, reverse=True) if end)


def _starts(parts: int) -> range:
    return range(max(1, parts - _MOST_PARTS), parts)


def composed(name: str) -> str:
    """The name in the normal form NFC: macOS writes "é" as two characters, others as one."""
    return normalized(name)


def unescaped(name: str) -> str:
    r"""The name with each escape turned into what it stands for: ``\udce9`` into a byte.

    For names that no file has as they are. Tables have such escapes for what is no UTF-8, and
    earlier versions of the command wrote them for all that cannot be printed.
    """
    return _ESCAPE.sub(lambda match: _character(match[0][1:]), name)


def _character(escape: str) -> str:
    return _ESCAPED[escape] if escape in _ESCAPED else chr(int(escape[1:], 16))


def as_utf8(name: str) -> str:
    r"""The name with each byte that is no UTF-8 escaped as ``\udce9``; any other as it is."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_file_name(name: str) -> bool:
    """Whether a file can have the name: it has no half of a character that is no byte either."""
    return not _NO_BYTE.search(name)
