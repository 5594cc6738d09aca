"""The native libraries inside wheels, with the versions that the files themselves report.

Three sources, none of them a memory of ours: the library is loaded and asked; its file contains a
sentence with its version; or the wheel brings a bill of materials (PEP 770).
"""

import base64
import ctypes
import json
import mmap
import re
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

# Modules of Python have its name in theirs, or "abi3"; what remains are libraries.
_SHARED = re.compile(r"\.(so[\d.]*|dylib|dll|pyd)$")
_MODULE = re.compile(r"\.(cpython-|abi3\.|cp\d+-)|\.pyd$")
_LARGEST = 100_000_000  # bytes of a file that is searched; beyond are CUDA's and PyTorch's
# Sentences with a version that libraries carry, also where they are linked into another file.
_SENTENCES = {
    "libjpeg-turbo": re.compile(rb"libjpeg-turbo version (\d+(?:\.\d+)+)"),
    "zlib": re.compile(rb"deflate (\d+(?:\.\d+)+) Copyright"),
    "OpenSSL": re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) \d"),
    "libcurl": re.compile(rb"libcurl/(\d+(?:\.\d+)+)"),
}
_TITLES = {"openjp2": "OpenJPEG", "png16": "libpng", "z": "zlib", "freetype": "FreeType"}
_TITLES |= {"harfbuzz": "HarfBuzz", "zstd": "Zstandard", "brotlidec": "Brotli", "x265": "x265"}


class Library(NamedTuple):
    """A library in a package: its file and hash where it has one, and who says its version."""

    name: str
    version: str | None
    file: str | None
    sha256: str | None
    said_by: str
    note: str = ""
    licences: tuple[str, ...] = ()


def libraries(distribution: Distribution) -> list[Library]:
    """All that is found in a package, sorted by name."""
    found = [*_files(distribution), *_listed(distribution)]
    return sorted(set(found), key=lambda library: (library.name.lower(), str(library.file)))


def _files(distribution: Distribution) -> Iterator[Library]:
    """The shared files, and what is linked into them."""
    for entry in distribution.files or ():
        path = Path(str(distribution.locate_file(entry)))
        if not _SHARED.search(entry.name) or not path.is_file():
            continue
        digest, name = _sha256(entry), _short_name(entry.name)
        spoken = dict(_sentences(path))
        if not _MODULE.search(entry.name):
            version, own = asked(name, path), _TITLES.get(name, f"lib{name}")
            if name in ("jpeg", "turbojpeg"):
                own, version = "libjpeg-turbo", spoken.pop("libjpeg-turbo", None)
            said_by = "the library" if version else "nobody"
            yield Library(own, version, str(entry), digest, said_by)
        for inner, version in spoken.items():
            yield Library(inner, version, str(entry), digest, "a sentence in the file")
        if name == "avif":
            for inner, version in codecs(path):
                yield Library(inner, version, str(entry), digest, "libavif")


def _short_name(name: str) -> str:
    """ "avif" for "libavif-c6062d5f.so.16.4.2"."""
    return re.sub(r"[-.].*$", "", name.removeprefix("lib"))


def _sha256(entry: PackagePath) -> str | None:
    """The hash that the wheel's own record gives, in hexadecimal."""
    if entry.hash is None or entry.hash.mode != "sha256":
        return None
    text = entry.hash.value
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()


def _sentences(path: Path) -> Iterator[tuple[str, str]]:
    """The sentences with versions that a file contains."""
    if not 0 < path.stat().st_size <= _LARGEST:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for name, sentence in _SENTENCES.items():
            if found := sentence.search(content):
                yield name, found[1].decode("ascii")


def _text(function: str) -> Callable[[ctypes.CDLL], str]:
    """Ask a function that returns a text; the first number in it is the version."""

    def ask(library: ctypes.CDLL) -> str:
        call = getattr(library, function)
        call.restype = ctypes.c_char_p
        text = call(None).decode("ascii")  # only libpng's takes an argument, and allows none
        found = re.search(r"\d+(\.\d+)+", text)
        return found[0] if found else text

    return ask


def _number(function: str, bits: int) -> Callable[[ctypes.CDLL], str]:
    """Ask a function that returns three numbers in one, the last two of ``bits`` bits."""

    def ask(library: ctypes.CDLL) -> str:
        call = getattr(library, function)
        call.restype = ctypes.c_uint32
        number, mask = call(), (1 << bits) - 1
        return f"{number >> 2 * bits}.{number >> bits & mask}.{number & mask}"

    return ask


def _freetype(library: ctypes.CDLL) -> str:
    handle, numbers = ctypes.c_void_p(), [ctypes.c_int() for _ in range(3)]
    library.FT_Init_FreeType(ctypes.byref(handle))
    library.FT_Library_Version(handle, *map(ctypes.byref, numbers))
    library.FT_Done_FreeType(handle)
    return ".".join(str(number.value) for number in numbers)


def _x265(library: ctypes.CDLL) -> str:
    text = ctypes.c_char_p.in_dll(library, "x265_version_str").value or b""
    return text.decode("ascii").partition("+")[0]


_ASKED: dict[str, Callable[[ctypes.CDLL], str]] = {
    "avif": _text("avifVersion"),
    "brotlidec": _number("BrotliDecoderVersion", 12),
    "de265": _text("de265_get_version"),
    "freetype": _freetype,
    "harfbuzz": _text("hb_version_string"),
    "heif": _text("heif_get_version"),
    "lzma": _text("lzma_version_string"),
    "openjp2": _text("opj_version"),
    "png16": _text("png_get_libpng_ver"),
    "tiff": _text("TIFFGetVersion"),
    "webp": _number("WebPGetDecoderVersion", 8),
    "webpdemux": _number("WebPGetDemuxVersion", 8),
    "webpmux": _number("WebPGetMuxVersion", 8),
    "x265": _x265,
    "z": _text("zlibVersion"),
    "zstd": _text("ZSTD_versionString"),
}


def asked(name: str, path: Path) -> str | None:
    """What a library answers when it is asked for its version; None where it cannot be asked."""
    if name not in _ASKED:
        return None
    try:
        return _ASKED[name](ctypes.CDLL(str(path)))
    except (OSError, AttributeError, ValueError):  # of another system, or built otherwise
        return None


def codecs(path: Path) -> list[tuple[str, str]]:
    """The decoders and encoders of AV1 that are linked into libavif, with their versions."""
    try:
        library, text = ctypes.CDLL(str(path)), ctypes.create_string_buffer(256)
        library.avifCodecVersions(text)
    except (OSError, AttributeError):
        return []
    return re.findall(r"(\w+) \[\w+(?:/\w+)?\]:v?(\d+(?:\.\d+)+)", text.value.decode("ascii"))


def _listed(distribution: Distribution) -> Iterator[Library]:
    """What the bills of materials list that the wheel brings."""
    own = canonicalize_name(distribution.metadata["Name"])
    for entry in distribution.files or ():
        if entry.parent.name == "sboms" and entry.suffix == ".json":
            content = json.loads(Path(str(distribution.locate_file(entry))).read_text("utf-8"))
            for part in content.get("components", ()):
                ours = canonicalize_name(part["name"]) == own or part["name"].startswith("PIL.")
                if not ours and part.get("scope") != "excluded":
                    yield _component(part, entry.name)


def _component(part: dict[str, Any], said_by: str) -> Library:
    licences = (
        each.get("expression") or each["license"].get("id") or each["license"].get("name")
        for each in part.get("licenses", ())
    )
    note = part.get("pedigree", {}).get("notes", "")
    version = part.get("version")
    return Library(part["name"], version, None, None, said_by, note, tuple(filter(None, licences)))
