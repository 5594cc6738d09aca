"""TIFF: which of a file's pictures is the photograph, and who decodes it."""

from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL import Image, TiffImagePlugin

from captioning.data import tiff_samples
from captioning.data.photo_memory import require_room_for
from captioning.data.photo_sources import ImageError

_SUBFILE, _OLD_SUBFILE, _ORIENTATION, _SUB_DIRECTORIES, _DNG = 254, 255, 274, 330, 50706
_COLOUR_FILTER, _LINEAR_RAW = 32803, 34892  # values of the tag of photometric interpretation
_RAW_COMPRESSION = {32767, 34713, 65000, 65535}  # Sony, Nikon, Kodak, Pentax
_MOST_DIRECTORIES = 100


class _Directory(NamedTuple):
    """One picture of a TIFF: where its tags are, and the tags."""

    start: int
    tags: TiffImagePlugin.ImageFileDirectory_v2

    @property
    def is_raw(self) -> bool:
        """Whether it holds what a sensor saw."""
        return (
            self.tags.get(tiff_samples.PHOTOMETRIC) in (_COLOUR_FILTER, _LINEAR_RAW)
            or self.tags.get(tiff_samples.COMPRESSION) in _RAW_COMPRESSION
            or _DNG in self.tags
        )

    @property
    def is_small_copy(self) -> bool:
        """Whether it is a smaller copy of another picture, or a mask."""
        kind = self.tags.get(_SUBFILE, 0)
        return bool(isinstance(kind, int) and kind & 0b101) or self.tags.get(_OLD_SUBFILE) == 2


def decode(stream: BinaryIO, name: str) -> Image.Image:
    """Decode the first picture of a TIFF that is no smaller copy of another.

    Raises ImageError for a camera's raw file, of which other readers show the preview, and for a
    picture that takes too much memory or is stored in a way that cannot be read.
    """
    directories = _directories(stream)
    if any(each.is_raw for each in directories):
        raise raw_file(name)
    if not directories:
        raise ValueError("no directory")
    main = next((each for each in directories if not each.is_small_copy), directories[0])
    # Pillow knows no BigTIFF that is big-endian.
    if not tiff_samples.is_for_pillow(main.tags) or _is_big_endian_big_tiff(stream):
        is_little = main.tags.prefix == b"II"
        image = tiff_samples.decode(stream, main.tags, "<" if is_little else ">", name)
        image.getexif()[_ORIENTATION] = main.tags.get(_ORIENTATION, 1)
        return image
    image = TiffImagePlugin.TiffImageFile(_beginning_at(stream, main.start, directories[0].start))
    require_room_for(image, name, _overhead(image))
    image.load()
    return image


def raw_file(name: str) -> ImageError:
    """What to say of what a sensor saw."""
    return ImageError(
        f"{name} is a camera's raw file, of which only a small preview could be read: export it "
        "as JPEG."
    )


def _overhead(image: TiffImagePlugin.TiffImageFile) -> int:
    """Bytes a pixel of the buffer in which libtiff decompresses, at worst the whole picture."""
    is_plain = image.tag_v2.get(tiff_samples.COMPRESSION, 1) == 1
    return 0 if is_plain else len(image.getbands())


def _directories(stream: BinaryIO) -> list[_Directory]:
    """The pictures of a TIFF and, behind each, those within it; damaged ones are left out."""
    stream.seek(0)
    head = stream.read(16)
    first = _empty(head)
    found: list[_Directory] = []
    waiting = [first.next]
    seen = {0}
    while waiting and len(found) < _MOST_DIRECTORIES:
        start = waiting.pop(0)
        if start in seen:
            continue
        seen.add(start)
        stream.seek(start)
        tags = _empty(head)
        tags.load(stream)
        if tiff_samples.WIDTH in tags and tiff_samples.LENGTH in tags:
            found.append(_Directory(start, tags))
        inner = tags.get(_SUB_DIRECTORIES, ())
        waiting += [*(inner if isinstance(inner, tuple) else (inner,)), tags.next]
    return found


def _is_big_endian_big_tiff(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(4) == b"MM\0+"


def _empty(head: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """A directory of the file with this header; its ``next`` is the first."""
    if 43 in head[2:4]:
        # Pillow takes only a little-endian one for a BigTIFF; the prefix says what it is.
        return TiffImagePlugin.ImageFileDirectory_v2(b"II+\0" + head[4:], prefix=head[:2])
    return TiffImagePlugin.ImageFileDirectory_v2(head[:8])


def _beginning_at(stream: BinaryIO, start: int, first: int) -> BinaryIO:
    """The file as one that begins with the directory at ``start``."""
    stream.seek(0)
    if start == first:
        return stream
    content = bytearray(stream.read())
    order = "little" if content[:1] == b"I" else "big"
    at, size = (8, 8) if 43 in content[2:4] else (4, 4)
    content[at : at + size] = start.to_bytes(size, order)  # type: ignore[arg-type]
    return BytesIO(bytes(content))
