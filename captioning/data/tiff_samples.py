"""TIFF of any depth: the samples themselves, where Pillow reads them wrongly or not at all.

Pillow scrambles planes of 16 bits that are not compressed, takes bytes with a sign for bytes
without, and knows no colours of floats, of 32 bits or of 12. Whatever the samples are, a TIFF
compresses them as bytes: so each band of the picture is given to Pillow as a grey TIFF of 8 bits
a pixel, for the decompression alone, and what the bytes mean is decided here. Written after the
TIFF 6.0 specification and its Technical Note 3 (floats).
"""

import struct
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from captioning.data.photo_memory import require_memory
from captioning.data.photo_modes import bands, range_of, to_bytes, white_of_integers
from captioning.data.photo_sources import ImageError
from captioning.data.tiff_directories import (
    BITS,
    COMPRESSION,
    EXTRA_SAMPLES,
    FILL_ORDER,
    LENGTH,
    MOST_VALUE,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_SIZES,
    STRIPS,
    TILE_LENGTH,
    TILE_SIZES,
    TILE_WIDTH,
    TILES,
    WIDTH,
    Tags,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_KINDS = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f", 4: "u"}  # 4: not stated

# LZW, two numbers for Deflate, PackBits, LZMA, Zstandard: what compresses bytes of any meaning.
_UNCOMPRESSED, _PACK_BITS = 1, 32773
_OF_BYTES = {_UNCOMPRESSED, 5, 8, 32946, _PACK_BITS, 34925, 50000}
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_BAND = 1 << 22  # bytes that are decompressed at a time, or one strip or row of tiles
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_for_pillow(tags: Tags) -> bool:
    """Whether Pillow reads these samples right: unsigned, of 8 bits or of a bit map's 1, 2, 4.

    Of planes it reads some and scrambles others, and differences in PackBits it takes for values:
    only those are left to it that ``decode`` does not know.
    """
    compression = tags.get(COMPRESSION, _UNCOMPRESSED)
    is_planar = tags.get(PLANAR) == 2 and tags.get(SAMPLES, 1) > 1
    has_odd_predictor = compression == _PACK_BITS and tags.get(PREDICTOR, 1) != 1
    if is_planar or has_odd_predictor:
        return tags.get(PHOTOMETRIC) not in _COLOURS or compression not in _OF_BYTES
    bits = set(tags.get(BITS, (1,)))
    formats = set(tags.get(SAMPLE_FORMAT, (_UNSIGNED,)))
    deepest = {8} if tags.get(PHOTOMETRIC) == _RGB else {1, 2, 4, 8}
    return bits <= deepest and formats == {_UNSIGNED}


def decode(stream: BinaryIO, tags: Tags, order: Literal["<", ">"], name: str) -> Image.Image:
    """Read the picture that ``tags`` describe as 8 bits a channel: mode L, RGB or CMYK.

    Transparency is composed over white. ``order`` is the file's, "<" or ">". Raises ImageError
    for a layout that cannot be read or takes too much memory, other errors for damaged files.
    """
    layout = _layout(tags, order, name)
    pixels = layout.width * layout.height
    samples = pixels * layout.samples * layout.dtype.itemsize
    one_band = 2 * max(layout.sizes, default=0) * layout.across + layout.band_bytes
    needed = samples + max(one_band, pixels * layout.colours)
    needed = max(needed + (1 << 25), pixels * (layout.colours + 8))
    require_memory(name, (layout.width, layout.height), needed)
    return _picture(_samples(stream, layout), layout)


@dataclass(frozen=True)
class _Layout:
    """How the samples of a TIFF are stored.

    A piece is a strip or a tile. ``planes`` is 1 where the samples of a pixel lie together, and
    otherwise their number. ``row`` is the bytes in a row of a piece.
    """

    width: int
    height: int
    samples: int
    bits: int
    dtype: np.dtype[Any]
    order: Literal["<", ">"]
    photometric: int
    alpha: int | None  # 1 where colours are premultiplied by it, 2 where not
    most: int | None
    compression: int
    predictor: int
    is_reversed: bool
    planes: int
    is_tiled: bool
    piece: tuple[int, int]  # width and height in pixels
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def colours(self) -> int:
        return _COLOURS[self.photometric]

    @property
    def together(self) -> int:
        """The samples that lie side by side."""
        return self.samples // self.planes

    @property
    def row(self) -> int:
        return (self.piece[0] * self.together * self.bits + 7) // 8

    @property
    def across(self) -> int:
        return -(-self.width // self.piece[0])

    @property
    def down(self) -> int:
        return -(-self.height // self.piece[1])

    @property
    def band_bytes(self) -> int:
        return self.row * self.across * self.piece[1]


def _layout(tags: Tags, order: Literal["<", ">"], name: str) -> _Layout:
    bits = set(tags.get(BITS, (1,)))
    kinds = {_KINDS.get(each) for each in tags.get(SAMPLE_FORMAT, (_UNSIGNED,))}
    photometric = tags.get(PHOTOMETRIC)
    compression = tags.get(COMPRESSION, _UNCOMPRESSED)
    depth, kind = max(bits), next(iter(kinds))
    is_known = len(bits) == len(kinds) == 1 and photometric in _COLOURS and depth <= 64
    if not is_known or compression not in _OF_BYTES or (dtype := _dtype(kind, depth)) is None:
        raise ImageError(
            f"{name} is a TIFF that stores its pixels in an unusual way ({depth} bits a channel): "
            "save it again with 8 bits a channel, or as PNG."
        )
    samples = tags.get(SAMPLES, 1)
    width, height = tags[WIDTH], tags[LENGTH]
    is_tiled = TILES in tags
    piece = (tags[TILE_WIDTH], tags[TILE_LENGTH]) if is_tiled else (width, 0)
    if not is_tiled:
        piece = (width, min(height, tags.get(ROWS, height)))
    if min(width, height, samples, *piece) < 1 or samples < _COLOURS[cast(int, photometric)]:
        raise ValueError("damaged tags")
    require_memory(name, (width, height), width * height * samples * dtype.itemsize)
    layout = _Layout(
        width=width,
        height=height,
        samples=samples,
        bits=depth,
        dtype=dtype,
        order=order,
        photometric=cast(int, photometric),
        alpha=_alpha(tags, samples - _COLOURS[cast(int, photometric)]),
        most=_most(tags),
        compression=compression,
        predictor=tags.get(PREDICTOR, 1) if compression != _UNCOMPRESSED else 1,
        is_reversed=tags.get(FILL_ORDER, 1) == 2,
        planes=samples if tags.get(PLANAR, 1) == 2 else 1,
        is_tiled=is_tiled,
        piece=piece,
        offsets=tuple(tags[TILES if is_tiled else STRIPS]),
        sizes=tuple(tags.get(TILE_SIZES if is_tiled else STRIP_SIZES, ())),
    )
    return _with_short_strips(layout) if not is_tiled else layout


def _dtype(kind: str | None, bits: int) -> np.dtype[Any] | None:
    """The native type that holds samples of a kind; None for samples that are not read."""
    if kind == "f":
        return np.dtype(f"f{bits // 8}") if bits in (16, 32, 64) else None
    if bits in (8, 16, 32):
        return np.dtype(f"{kind}{bits // 8}")
    # Bits that fill no bytes are packed, the highest first.
    return np.dtype("u1" if bits < 8 else "u2") if kind == "u" and bits < 16 else None


def _alpha(tags: Tags, extra: int) -> int | None:
    """What the first extra sample is: 1 premultiplied alpha, 2 alpha, None nothing to see."""
    if not extra:
        return None
    kinds = tags.get(EXTRA_SAMPLES, ())
    if not kinds:  # four samples of a colour without a word are alpha, as Pillow has it
        return 2 if tags.get(PHOTOMETRIC) == _RGB and extra == 1 else None
    return int(kinds[0]) if kinds[0] in (1, 2) else None


def _most(tags: Tags) -> int | None:
    """The greatest value by MaxSampleValue, where it is that of a whole number of bits.

    The tag is a statistic, but no picture's brightest value is all ones of 9 to 15 bits by chance.
    """
    values = tags.get(MOST_VALUE, ())
    most = max(values) if isinstance(values, tuple) and values else values or 0
    return int(most) if most in {(1 << bits) - 1 for bits in range(9, 16)} else None


def _with_short_strips(layout: _Layout) -> _Layout:
    """Cut long strips into short ones where nothing is compressed, so that each can be decoded
    without the others; and derive the sizes that old writers leave out."""
    if layout.compression != _UNCOMPRESSED:
        return layout
    whole = layout.piece[1]
    rows = max(1, min(whole, _BAND // layout.row))
    while layout.down > 1 and whole % rows:  # all but the last strip are of one height
        rows -= 1
    offsets, sizes = [], []
    for index, offset in enumerate(layout.offsets):
        top = index % layout.down * whole
        for start in range(0, min(whole, layout.height - top), rows):
            offsets.append(offset + start * layout.row)
            sizes.append(min(rows, whole - start, layout.height - top - start) * layout.row)
    return replace(layout, piece=(layout.width, rows), offsets=tuple(offsets), sizes=tuple(sizes))


# The samples ------------------------------------------------------------------------------------


def _samples(stream: BinaryIO, layout: _Layout) -> npt.NDArray[Any]:
    """The samples of the whole picture (H, W, samples), of a native type."""
    end = stream.seek(0, 2)
    if sum(layout.sizes) > end or len(layout.sizes) != len(layout.offsets):
        raise ValueError("strips beyond the end of the file")
    samples = np.empty((layout.height, layout.width, layout.samples), layout.dtype)
    at_once = max(1, _BAND // layout.band_bytes)  # rows of pieces
    for plane in range(layout.planes):
        for row in range(0, layout.down, at_once):
            rows = range(row, min(row + at_once, layout.down))
            top = row * layout.piece[1]
            image = _band(stream, layout, plane, rows)
            for part in bands(image.height, image.width):
                read = np.asarray(image.crop((0, part.start, image.width, part.stop)))
                values = _values(read, layout)
                block = samples[top + part.start : top + part.stop]
                block[..., plane : plane + layout.together] = values[: len(block), : layout.width]
    return samples


def _band(stream: BinaryIO, layout: _Layout, plane: int, rows: range) -> Image.Image:
    """The bytes of some rows of pieces, decompressed, as an image of mode L."""
    height = len(rows) * layout.piece[1]
    if not layout.is_tiled:  # the last strip may be short
        height = min(height, layout.height - rows.start * layout.piece[1])
    first = (plane * layout.down + rows.start) * layout.across
    pieces = range(first, first + len(rows) * layout.across)
    with TiffImagePlugin.TiffImageFile(_grey_tiff(stream, layout, pieces, height)) as image:
        image.load()
    return image


def _grey_tiff(stream: BinaryIO, layout: _Layout, pieces: range, height: int) -> BytesIO:
    """A TIFF whose pixels of 8 bits are the bytes of some pieces."""
    sizes = [layout.sizes[piece] for piece in pieces]
    starts = np.cumsum([8, *sizes]).tolist()
    tags = {WIDTH: [layout.row * layout.across], LENGTH: [height], BITS: [8]}
    tags |= {COMPRESSION: [layout.compression], PHOTOMETRIC: [1], SAMPLES: [1]}
    if layout.is_tiled:
        tags |= {TILE_WIDTH: [layout.row], TILE_LENGTH: [layout.piece[1]]}
        tags |= {TILES: starts[:-1], TILE_SIZES: sizes}
    else:
        tags |= {STRIPS: starts[:-1], ROWS: [layout.piece[1]], STRIP_SIZES: sizes}
    made = BytesIO()
    made.write(struct.pack("<2sHI", b"II", 42, starts[-1]))
    for piece, size in zip(pieces, sizes, strict=True):
        stream.seek(layout.offsets[piece])
        data = stream.read(size)
        if len(data) < size:
            raise ValueError("a strip beyond the end of the file")
        made.write(data.translate(_REVERSED) if layout.is_reversed else data)
    made.write(_directory(tags, starts[-1]))
    made.seek(0)
    return made


def _directory(tags: dict[int, list[int]], start: int) -> bytes:
    """The tags of a little-endian TIFF, all LONG, as the last part of a file, from ``start``."""
    entries, lists = b"", b""
    first_list = start + 6 + 12 * len(tags)
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, lists = struct.pack("<I", first_list + len(lists)), lists + packed
        entries += struct.pack("<HHI", tag, 4, len(values)) + packed
    return struct.pack("<H", len(tags)) + entries + bytes(4) + lists


def _values(rows: npt.NDArray[np.uint8], layout: _Layout) -> npt.NDArray[Any]:
    """What the bytes of a band mean: (rows, W, samples that lie together)."""
    shape = (len(rows), layout.across, layout.piece[0], layout.together)
    pieces = rows.reshape(len(rows), layout.across, layout.row)
    if layout.bits not in (8, 16, 32, 64):
        values = _unpacked(pieces, layout)
    elif layout.predictor == _FLOAT_DIFFERENCES:
        values = _from_float_differences(pieces, layout)
    else:
        stored = layout.dtype.newbyteorder(layout.order)
        values = np.ascontiguousarray(pieces).view(stored).reshape(shape).astype(layout.dtype)
        if layout.predictor == _DIFFERENCES:
            whole = values.view(f"u{layout.dtype.itemsize}")
            values = whole.cumsum(axis=2, dtype=whole.dtype).view(layout.dtype)
    return values.reshape(len(rows), -1, layout.together)


def _unpacked(pieces: npt.NDArray[np.uint8], layout: _Layout) -> npt.NDArray[Any]:
    """Samples of bits that fill no bytes."""
    count = layout.piece[0] * layout.together
    weights = 1 << np.arange(layout.bits)[::-1]
    values = np.empty((*pieces.shape[:2], count), layout.dtype)
    for part in bands(len(pieces), count * layout.across * layout.bits):
        bits = np.unpackbits(pieces[part], axis=-1)[..., : count * layout.bits]
        values[part] = bits.reshape(*bits.shape[:2], count, layout.bits) @ weights
    return values


def _from_float_differences(pieces: npt.NDArray[np.uint8], layout: _Layout) -> npt.NDArray[Any]:
    """Undo predictor 3: of each row first all highest bytes, and so on, then differences."""
    rows, across, _ = pieces.shape
    steps = pieces.reshape(rows, across, -1, layout.together)
    whole = steps.cumsum(axis=2, dtype=np.uint8)
    size = layout.dtype.itemsize
    planes = whole.reshape(rows, across, size, -1).swapaxes(2, 3)
    return np.ascontiguousarray(planes).view(layout.dtype.newbyteorder(">")).astype(layout.dtype)


# The picture ------------------------------------------------------------------------------------


def _picture(samples: npt.NDArray[Any], layout: _Layout) -> Image.Image:
    """Samples (H, W, samples) as 8 bits a channel, over white."""
    colours = layout.colours
    black, white = _black_and_white(samples[..., :colours], layout)
    picture = np.empty((layout.height, layout.width, colours), np.uint8)
    opaque = _opaque(samples[..., colours], layout) if layout.alpha else None
    for rows in bands(layout.height, layout.width * layout.samples):
        band = to_bytes(samples[rows, :, :colours], black, white)
        if layout.photometric == _WHITE_IS_ZERO:
            band = 255 - band
        if opaque is not None:
            opacity = to_bytes(samples[rows, :, colours, None], 0.0, opaque).astype(np.uint16)
            light = band.astype(np.uint32)
            light = light * 255 if layout.alpha == 1 else light * opacity
            band = ((light + 255 * (255 - opacity) + 127) // 255).clip(0, 255).astype(np.uint8)
        picture[rows] = band
    del samples
    if layout.photometric == _CMYK:
        return Image.frombytes("CMYK", (layout.width, layout.height), picture.tobytes())
    return Image.fromarray(picture[..., 0] if colours == 1 else picture)


def _opaque(values: npt.NDArray[Any], layout: _Layout) -> float:
    """The value of alpha that is opaque."""
    if values.dtype.kind == "f":
        return 1.0
    if layout.bits == 16 and values.dtype.kind == "u":
        return float(white_of_integers(int(values.max())))
    return float(2 ** (layout.bits - (values.dtype.kind == "i")) - 1)


def _black_and_white(values: npt.NDArray[Any], layout: _Layout) -> tuple[float, float]:
    """Which of these values are black and white."""
    low, high = np.inf, -np.inf
    for rows in bands(len(values), values[0].size):
        band = values[rows]
        finite = band[np.isfinite(band)] if band.dtype.kind == "f" else band
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:  # no finite value
        return 0.0, 1.0
    if values.dtype.kind == "f" or low < 0:
        return range_of(values, low, high)
    if layout.most is not None and high <= layout.most:
        return 0.0, float(layout.most)
    if layout.bits == 16 and values.dtype.kind == "u":
        return 0.0, float(white_of_integers(int(high)))
    full = float(2 ** (layout.bits - (values.dtype.kind == "i")) - 1)
    # In 32 bits there are also counts, which may be anything: then the picture says what is white.
    return (0.0, full) if layout.bits < 32 or high > full / 4 else range_of(values, low, high)
