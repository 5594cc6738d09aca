"""Which kinds of picture are read, recognised by the content of a file and never by its name."""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile

from captioning.data import (
    avif_files,
    gif_files,
    heif_files,
    jpeg_files,
    png_files,
    tiff_files,
    wavelet_files,
)
from captioning.data.photo_memory import require_memory, require_room_for, require_short
from captioning.data.photo_sources import ImageError

READABLE = "JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, JPEG 2000 or BMP"

SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
    "AVIF": (".avif", ".avifs"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "BMP": (".bmp",),
}
"""The suffixes of what is read, by kind."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(one for each in SUFFIXES.values() for one in each)

_RAW_SUFFIXES = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf "
    ".pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_OTHER_SUFFIXES = (
    ".ai .bpg .cur .dds .dib .emf .eps .exr .fits .hdr .ico .icns .jls .jxl .jxr .pam .pbm .pcx "
    ".pgm .pnm .ppm .psb .psd .qoi .svg .svgz .tga .wdp .wmf .xcf"
)

OTHER_PICTURE_SUFFIXES: frozenset[str] = frozenset(f"{_RAW_SUFFIXES} {_OTHER_SUFFIXES}".split())
"""The suffixes of pictures that are known and not read, for example raw files and drawings."""

_BRANDS_OF_AVIF = {b"avif", b"avis"}
_BRANDS_OF_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_BRANDS_OF_HEIF |= {b"mif1", b"msf1", b"mif2"}
_BRANDS_OF_RAW = {b"crx "}

# Run lengths in a BMP, for pixels of 8 and of 4 bits. Pillow decodes them in Python.
_RUN_LENGTHS, _MOST_RUN_LENGTHS = (1, 2), 25_000_000  # pixels

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
    # Raw files: Canon (in a TIFF, and older), Fujifilm, Olympus, Panasonic, Sigma, Minolta.
    b"II*\0\x10\0\0\0CR": "RAW",
    b"II\x1a\0\0\0HEAPCCDR": "RAW",
    b"FUJIFILMCCD-RAW": "RAW",
    b"IIRO": "RAW",
    b"IIRS": "RAW",
    b"MMOR": "RAW",
    b"IIU\0": "RAW",
    b"FOVb": "RAW",
    b"\0MRM": "RAW",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}


class Decoded(NamedTuple):
    """A picture in memory, and what people should know of its file, in a sentence."""

    image: Image.Image
    remark: str | None = None


def decode(stream: BinaryIO, name: str, near: int | None) -> Decoded:
    """Decode the photograph in a stream; a JPEG or JPEG 2000 near to twice ``near`` pixels a side.

    Raises ImageError for a kind that is not read, or a photograph that takes too much memory, and
    nearly anything for a damaged one.
    """
    kind = kind_of(stream.read(4096))
    stream.seek(0)
    if kind == "JPEG":
        image, is_early = jpeg_files.decode(stream, name, near)
        return Decoded(image, jpeg_files.ENDS_EARLY if is_early else None)
    if kind == "JPEG2000":
        return Decoded(wavelet_files.decode(stream, name, near))
    if kind not in _DECODERS:
        raise _not_read(kind, name)
    return Decoded(_DECODERS[kind](stream, name))


def kind_of(head: bytes) -> str | None:
    """The kind of a file by its first bytes (4096 suffice): a key of SUFFIXES, "RAW" or "JXL"."""
    if head[4:8] == b"ftyp":
        length = int.from_bytes(head[:4], "big")
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(length, 512), 4))}
        if head[8:12] in _BRANDS_OF_RAW:
            return "RAW"
        if head[8:12] in _BRANDS_OF_AVIF or (brands & _BRANDS_OF_AVIF and head[8:9] == b"m"):
            return "AVIF"
        return "HEIF" if brands & _BRANDS_OF_HEIF else None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for start, kind in _BEGINNINGS.items() if head.startswith(start)), None)


def unreadable(name: str) -> ImageError:
    """What to say of a file that is no picture, or whose beginning is damaged."""
    return ImageError(
        f"{name} is not an image of a kind that can be read ({READABLE}), or its beginning "
        "is damaged: save it again as JPEG or PNG."
    )


def _not_read(kind: str | None, name: str) -> ImageError:
    if kind == "RAW":
        return tiff_files.raw_file(name)
    if kind == "JXL":
        return ImageError(f"{name} is a JPEG XL picture, which is not read: export it as JPEG.")
    return unreadable(name)


# Kinds that Pillow alone decodes. Each plugin is imported where a file needs it: Pillow itself
# would import its forty others on the first of them, and check against a limit of pixels that is
# one for the whole process.


def _loaded(image: ImageFile.ImageFile, name: str, overhead: int = 0, held: int = 0) -> Image.Image:
    require_room_for(image, name, overhead, held)
    image.load()
    return image


def _bmp(stream: BinaryIO, name: str) -> Image.Image:
    from PIL import BmpImagePlugin

    image = BmpImagePlugin.BmpImageFile(stream)
    is_packed = image.info.get("compression") in _RUN_LENGTHS
    if is_packed and image.width * image.height > _MOST_RUN_LENGTHS:
        raise ImageError(
            f"{name} is a compressed BMP of more than {_MOST_RUN_LENGTHS / 1e6:g} megapixels, "
            "which takes long to read: save it as PNG."
        )
    return _loaded(image, name)


def _webp(stream: BinaryIO, name: str) -> Image.Image:
    from PIL import WebPImagePlugin

    held = require_short(stream, name)
    # The decoder takes memory for the canvas as soon as it is made.
    head = stream.read(30)
    if head[12:16] == b"VP8X":
        size = tuple(int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        require_memory(name, (size[0], size[1]), size[0] * size[1] * 17)
    stream.seek(0)
    return _loaded(WebPImagePlugin.WebPImageFile(stream), name, 9, held)


_DECODERS: dict[str, Callable[[BinaryIO, str], Image.Image]] = {
    "PNG": png_files.decode,
    "TIFF": tiff_files.decode,
    "HEIF": heif_files.decode,
    "WEBP": _webp,
    "AVIF": avif_files.decode,
    "GIF": gif_files.decode,
    "BMP": _bmp,
}
