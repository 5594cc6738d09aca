"""Text files: how they are read, captions without photographs, and lists of names."""

import gzip
import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from captioning.data.caption_rows import DataError
from captioning.data.vocab import tokenize

_SAMPLE = 64  # characters
# Of a device or a packed file there might be no end. To read as much as this takes six times of it.
_MOST_BYTES, _PART = 2**29, 2**20
_GZIP = b"\x1f\x8b"  # how a gzip file begins, whatever its name


class _TooLargeError(Exception):
    """A file with more bytes than are read."""


def read_text(path: Path, kind: str = "caption file", content: str = "captions") -> str:
    """Read a UTF-8 text, plain or gzip, with its line breaks as they are.

    ``kind`` and ``content`` are for messages. Raises DataError for a file that cannot be read, is
    not UTF-8 or is empty.
    """
    try:
        text = _read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path}: there is no such {kind}; name the file that has the {content}, or put it "
            "there"
        ) from None
    except IsADirectoryError:
        raise DataError(
            f"{path}: this is a folder, which cannot be read; name the {kind} in it"
        ) from None
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}, line {line}: this is not UTF-8 text{_other_encoding(error.object, error)}; "
            f"name a file of {content}, or save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
        ) from None
    except _TooLargeError:
        raise DataError(
            f"{path}: this {kind} has more than {_MOST_BYTES // 2**20} MB; split it into several"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: this gzip file is damaged or incomplete ({error}); download or pack it again"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); name a file of {content}"
        ) from None
    if _looks_like_utf16(text):
        raise DataError(
            f"{path}, line 1: this is not UTF-8 text but UTF-16; name a file of {content}, or save "
            "it as UTF-8 (in a spreadsheet: CSV UTF-8)"
        )
    if not text.strip():
        raise DataError(f"{path}: the {kind} is empty; write or download it again")
    # Some old programs end a line with a carriage return alone.
    return text if "\n" in text else text.replace("\r", "\n")


def read_text_captions(path: Path) -> list[list[str]]:
    """The tokens of captions without photographs, one a line; lines without a word are skipped.

    Raises DataError as ``read_text`` does, and for a file in which no line has a word.
    """
    # Not splitlines(), which would end a caption at a U+2028 too.
    captions = [tokenize(line) for line in read_text(path, "text file").split("\n")]
    captions = [tokens for tokens in captions if tokens]
    if not captions:
        raise DataError(f"{path}: no line of this text file has a word; name a file of captions")
    return captions


def read_names(path: Path) -> frozenset[str]:
    """The names of photographs, one a line; raises DataError as ``read_text`` does."""
    lines = read_text(path, "list of names", "names").split("\n")
    # Not strip() alone, which would take blanks of other scripts from the names.
    names = (line.strip(" \t\r") for line in lines)
    return frozenset(name for name in names if name)


def read_paragraphs(path: Path) -> list[str]:
    """The paragraphs of a text, each in one line; raises DataError as ``read_text`` does."""
    paragraphs = re.split(r"\n\s*\n", read_text(path, "text file", "terms"))
    return [" ".join(each.split()) for each in paragraphs if each.strip()]


def _other_encoding(content: bytes, error: UnicodeDecodeError) -> str:
    """What a text may be that is no UTF-8, where that can be told, else why it is none."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return " but UTF-16"
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    is_text = not re.search("[\0-\x08\x0e-\x1f]", text)
    return " but perhaps Windows-1252" if is_text else f" ({error.reason})"


def _looks_like_utf16(text: str) -> bool:
    """Whether every other character at the start is a zero: English in UTF-16, read as UTF-8."""
    start = text[:_SAMPLE]
    halves = start[::2], start[1::2]
    return (
        len(start) > 1 and any(not half.strip("\0") for half in halves) and bool(start.strip("\0"))
    )


def _read_bytes(path: Path) -> bytes:
    """What is in a file, unpacked; raises _TooLargeError where that is too much."""
    with path.open("rb") as file:
        content = _read_most(file)
    if content.startswith(_GZIP):
        with gzip.open(io.BytesIO(content)) as packed:
            content = _read_most(packed)
    return content


def _read_most(file: BinaryIO | gzip.GzipFile) -> bytes:
    parts: list[bytes] = []
    while part := file.read(_PART):
        parts.append(part)
        if len(parts) * _PART > _MOST_BYTES:
            raise _TooLargeError
    return b"".join(parts)
