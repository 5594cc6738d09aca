"""What of an image's name tells it apart: its file, its stem, the number at its end."""

import re

# A letter first: what follows the point of "img.001" tells photographs apart.
_EXTENSION = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,4}\Z", re.DOTALL)
# A part of its own: the digits that end a Flickr name's hash are no number.
_LAST_NUMBER = re.compile(r"(?:\A|[^0-9A-Za-z])0*([0-9]+)\Z")
_ONLY_NUMBER = re.compile(r"\A0*([0-9]+)\Z")


def base_name(name: str) -> str:
    """The name without its folders, those of Windows too."""
    # Both separators: the name may come from another system than this one.
    return re.split(r"[/\\]", name)[-1].strip()


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
