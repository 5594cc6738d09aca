"""Missing ``alt`` attributes of the local images of a web page, filled in.

Only the attributes are inserted: all other bytes of the page stay as they are, whatever its
encoding and however it is written. An image whose ``alt`` is there, even empty or without a value,
stays as its author left it, and what is shown to nobody, or lies elsewhere, is left out with a
reason. ``review_page`` lists both for a person to look at.
"""

import bisect
import codecs
import html
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import turbohtml

from captioning.data.images import describe
from captioning.errors import CaptioningError

# Python's codecs for the encodings that browsers know by other names, or read as a larger set.
_CODECS = {
    "Big5": "big5hkscs",
    "EUC-KR": "cp949",
    "GBK": "gb18030",
    "ISO-8859-8-I": "iso8859-8",
    "Shift_JIS": "cp932",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac_cyrillic",
}
_ANY_BYTES = "ascii"  # with surrogateescape, which keeps every other byte

_LINE_END = re.compile(r"\r\n?|\n")
_IMAGE_TAG = re.compile(r"<im(?:g|age)(?=[\t\n\f\r />])", re.IGNORECASE)  # browsers rename "image"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ELSEWHERE = "its address is not that of a file beside the page"
_OUTSIDE = "its file is outside the folder of the site"
_NO_FILE = "there is no such file"


class PageError(CaptioningError):
    """A web page that cannot be read; the message says why, and what to do."""


@dataclass(frozen=True)
class PageImage:
    """An ``img`` element without ``alt``.

    ``line`` counts from 1; ``src`` is the address as the page has it, references decoded;
    ``position`` is the byte of the page before which the attribute goes. ``file`` is the
    photograph, under the page's folder as that was given, or None if the image is to be left as it
    is, and then ``left_out`` says why.
    """

    line: int
    src: str
    position: int
    file: Path | None
    left_out: str = ""


# Finding images -------------------------------------------------------------------------------


def find_images(content: bytes, page: Path, root: Path | None = None) -> tuple[PageImage, ...]:
    """The images of a page that have no ``alt`` attribute, in the order of the file.

    ``content`` is what the file ``page`` holds. ``root`` is the folder of the site, by default the
    page's own: an address that begins with a slash starts there, and no file outside of it is
    named, neither by ``..`` nor by a symbolic link, because a page may be of a stranger's making.

    Where ``src`` is missing or a ``data:`` placeholder, as pages have it whose scripts load images
    late, ``data-src`` counts and then the first image of ``srcset``.

    Raises PageError for a page whose encoding cannot be decoded.
    """
    text, codec = _decode(content, page)
    found, base = _img_elements(text)
    site = _Site(page.parent, page.parent if root is None else root, base)
    ends = [match.end() for match in _LINE_END.finditer(text)]
    positions = _byte_positions(content, text, codec, [one.insertion for one in found])
    return tuple(
        PageImage(
            line=bisect.bisect_right(ends, one.insertion) + 1,
            src=one.src,
            position=position,
            file=file,
            left_out=left_out,
        )
        for one, position in zip(found, positions, strict=True)
        for file, left_out in [(None, one.left_out) if one.left_out else site.file(one.src)]
    )


@dataclass(frozen=True)
class _Img:
    """An ``img`` element without ``alt``: the character before which one goes, and its address."""

    insertion: int
    src: str
    left_out: str


def _img_elements(text: str) -> tuple[list[_Img], str]:
    """The elements without ``alt``, in the order of the text, and the address in ``base``.

    Parsed as a browser with scripts does, and without them: only what both show is filled in, so
    that nothing is written into what one of them takes for text or a comment.
    """
    with_scripts, without = (_parse(text, scripting) for scripting in (True, False))
    shown, fallback = (dict(_without_alt(tree, text)) for tree in (with_scripts, without))
    images = [
        _Img(at, _address(element), _reason(element, at in shown and at in fallback))
        for at, element in sorted((fallback | shown).items())
    ]
    bases = [
        str(base.attrs["href"] or "")
        for base in with_scripts.find_all("base")
        if "href" in base.attrs and not _inside_template(base)
    ]
    return images, bases[0] if bases else ""


def _parse(text: str, scripting: bool) -> turbohtml.Document:
    return turbohtml.parse(
        # The parser counts CR LF as one character; as two line feeds, offsets are those of text.
        text.replace("\r", "\n"),
        source_locations=True,
        scripting=scripting,
        allow_declarative_shadow_roots=False,
    )


def _without_alt(tree: turbohtml.Document, text: str) -> Iterator[tuple[int, turbohtml.Element]]:
    for element in tree.find_all("img"):
        location = element.source_location
        if element.namespace != turbohtml.Namespace.HTML or "alt" in element.attrs or not location:
            continue
        # After the tag's name an attribute may stand in every tag, however it goes on.
        if name := _IMAGE_TAG.match(text, location.start_tag.start_offset):
            yield name.end(), element


def _reason(element: turbohtml.Element, certain: bool) -> str:
    """Why an image is left as it is, going by the page alone; empty if it is not."""
    if _inside_template(element):
        return "it is in a <template>, which scripts fill in"
    if not certain:
        return "it is in a <noscript>, or shown only where scripts run"
    if {"presentation", "none"} & set(_attribute(element, "role").lower().split()):
        return "it is marked as decoration (role)"
    if _attribute(element, "aria-hidden").lower() == "true":
        return "it is hidden from screen readers (aria-hidden)"
    if {_attribute(element, side) for side in ("width", "height")} & {"0", "1"}:
        return "it is at most one pixel wide or high"
    return ""


def _inside_template(element: turbohtml.Element) -> bool:
    return any(getattr(ancestor, "tag", "") == "template" for ancestor in element.ancestors)


def _attribute(element: turbohtml.Element, name: str) -> str:
    value = element.attrs.get(name) or ""
    return (value if isinstance(value, str) else " ".join(value)).strip()


def _address(element: turbohtml.Element) -> str:
    """Where the image is, by the attribute that says so."""
    src = _attribute(element, "src")
    if src and not src.lower().startswith("data:"):
        return src
    first, *_ = _attribute(element, "srcset").split() or [""]
    return _attribute(element, "data-src") or first.rstrip(",") or src


# From an address to a file --------------------------------------------------------------------


class _Site:
    """The files that a page's addresses name."""

    def __init__(self, folder: Path, root: Path, base: str) -> None:
        self._given = folder
        self._folder, self._root = folder.resolve(), root.resolve()
        base = _url_path(base)
        # None where all addresses are relative to another site.
        self._base = base[: base.rfind("/") + 1] if _is_local(base) else None

    def file(self, src: str) -> tuple[Path | None, str]:
        """The file of an address, or why there is none."""
        path = _url_path(src)
        if not path:
            return None, "it has no address"
        if not _is_local(path) or self._base is None:
            return None, _ELSEWHERE
        path = path if path.startswith("/") else self._base + path
        name = os.fsdecode(unquote_to_bytes(path.encode("utf-8", "surrogateescape")))
        if "\0" in name or name.endswith("/"):
            return None, _NO_FILE
        start = self._root if name.startswith("/") else self._folder
        return self._existing(os.path.normpath(start / name.lstrip("/")))

    def _existing(self, path: str) -> tuple[Path | None, str]:
        """The file of a path if it is in the site."""
        # Systems write accents in the names of files in one way or the other.
        forms = path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)
        for form in forms:
            # Asked before the disk is, so that a page cannot find out what is outside.
            if not Path(form).is_relative_to(self._root):
                return None, _OUTSIDE
            if os.path.lexists(form):
                if not Path(os.path.realpath(form)).is_relative_to(self._root):
                    return None, _OUTSIDE
                if os.path.isfile(form):
                    return self._given / os.path.relpath(form, self._folder), ""
        return None, _NO_FILE


def _url_path(address: str) -> str:
    """An address as browsers read it, without its query and its fragment."""
    address = re.sub(r"[\t\n\r]", "", address.strip(" \t\n\f\r"))
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    return path if _SCHEME.match(path) else path.replace("\\", "/")


def _is_local(path: str) -> bool:
    return not _SCHEME.match(path) and not path.startswith("//")


# Encodings ------------------------------------------------------------------------------------


def _decode(content: bytes, page: Path) -> tuple[str, str]:
    """A page as text, and Python's codec for it: by its BOM, its ``meta``, UTF-8, Windows-1252.

    Bytes that are wrong in this encoding become surrogates, as in file names.
    """
    label = str(turbohtml.parse(content, positions=False).encoding)
    codec = _CODECS.get(label, label)
    try:
        return content.decode(codec, "surrogateescape"), codec
    except (LookupError, UnicodeError) as error:
        if label.startswith("UTF-16"):
            raise PageError(
                f"{describe(page)} is damaged: its UTF-16 cannot be decoded; save it as UTF-8."
            ) from error
        return content.decode(_ANY_BYTES, "surrogateescape"), _ANY_BYTES


def _byte_positions(content: bytes, text: str, codec: str, offsets: list[int]) -> list[int]:
    """Where characters of ``text`` begin in ``content``; ``offsets`` must be in order.

    Counted while decoding, because what some encodings decode they encode to other bytes.
    """
    if len(text) == len(content):
        return offsets
    decoder = codecs.getincrementaldecoder(codec)("surrogateescape")
    positions: list[int] = []
    characters = position = 0
    for offset in offsets:
        while characters < offset:
            characters += len(decoder.decode(content[position : position + 1]))
            position += 1
        positions.append(position)
    return positions


# The new page and its review ------------------------------------------------------------------


def with_alt_texts(content: bytes, images: Sequence[PageImage], texts: Mapping[Path, str]) -> bytes:
    """The page with ``texts`` as the alt texts of its images, by their files.

    ``images`` is what ``find_images`` finds in the same ``content``. Images whose file has no text
    stay as they are. Other letters than ASCII's are written as character references, unless the
    page is in UTF-8 or UTF-16: those hold them all, and servers do not declare other encodings.
    """
    _, codec = _decode(content, Path("the page"))
    letters = codec if codec.startswith("UTF-") else _ANY_BYTES
    parts, end = [], 0
    for image in images:
        if image.file is not None and (text := _one_line(texts.get(image.file, ""))):
            attribute = f' alt="{html.escape(text)}"'.encode(letters, "xmlcharrefreplace")
            parts += [content[end : image.position], attribute]
            end = image.position
    return b"".join([*parts, content[end:]])


def _one_line(text: str) -> str:
    """A text without what no attribute can hold, by any means: control characters, surrogates."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text).split())


_REVIEW = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Alt texts of {title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border-top: 1px solid #bbb; padding: .5rem; text-align: left; vertical-align: top }}
img {{ max-width: 16rem; max-height: 12rem }}
code {{ overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>Alt texts of {title}</h1>
<p>{filled} filled in by a program, for a person to check; {left} left as they were.</p>
<table>
<thead><tr><th>Line</th><th>Image</th><th>Alt text</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def review_page(
    images: Sequence[PageImage],
    texts: Mapping[Path, str],
    page: Path,
    review: Path,
    problems: Mapping[Path, str] | None = None,
) -> str:
    """A web page, to be written to ``review``, with each image beside what became of it.

    ``texts`` are the alt texts by file, and ``problems`` says of files that have none why. Lines
    are those of ``page`` as it was. The images are linked, relative to the folder of ``review``.
    """
    rows, filled = [], 0
    for image in images:
        text = _one_line(texts.get(image.file, "")) if image.file else ""
        filled += bool(text)
        problem = (problems or {}).get(image.file, "no text was made") if image.file else ""
        said = _escape(text) or f"<em>Left out:</em> {_escape(problem or image.left_out)}"
        rows.append(
            f"<tr><td>{image.line}</td><td>{_shown(image, review)}</td><td>{said}</td></tr>"
        )
    return _REVIEW.format(
        title=_escape(page.name),
        filled=filled,
        left=len(images) - filled,
        rows="\n".join(rows),
    )


def _shown(image: PageImage, review: Path) -> str:
    """The image, where it is a file of the site, and its address."""
    # Not the pictures of strangers: looking at the list must not tell them of it.
    address = f"<code>{_escape(image.src[:200])}</code>"
    if image.file is None:
        return address
    link = os.path.relpath(image.file, review.parent).replace(os.sep, "/")
    # The dot keeps a colon in the first name from being read as a scheme.
    return f'<img src="./{quote(os.fsencode(link))}" alt="" loading="lazy"><br>{address}'


def _escape(text: str) -> str:
    """Text for HTML in UTF-8, which has no place for bytes that are no text."""
    return html.escape(text.encode("utf-8", "replace").decode())
