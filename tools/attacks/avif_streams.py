"""AVIF files whose pictures have any size, in some hundred bytes: AV1 headers and a few bytes each.

A decoder never runs out of data: behind the end of a tile it goes on with zeros.
"""

import struct
from dataclasses import dataclass
from itertools import accumulate

_SIDE_BITS = 16
# What is decoded to large blocks of one colour, and how much of it a block of 64 x 64 needs.
_DATA, _DATA_OF_BLOCK, _DATA_OF_EDGE = b"\xff", 5, 80


@dataclass(frozen=True)
class Coded:
    """A picture of AV1, 4:4:4, of 8 or 10 bits.

    ``override`` is a size that its frames say instead of the sequence, and ``hidden`` how many
    frames there are before the one that is shown.
    """

    width: int
    height: int
    is_deep: bool = False
    override: tuple[int, int] | None = None
    hidden: int = 0

    def stream(self) -> bytes:
        """The stream: OBUs of a sequence header and frames."""
        frames = [self._frame(1 << number % 8) for number in range(self.hidden)] + [
            self._frame(None)
        ]
        return _unit(1, _bytes(self._sequence() + "1")) + b"".join(_unit(6, f) for f in frames)

    @property
    def _is_still(self) -> bool:
        return not (self.override or self.hidden)

    def _sequence(self) -> str:
        sides = f"{_SIDE_BITS - 1:04b}" * 2
        sides += "".join(f"{side - 1:0{_SIDE_BITS}b}" for side in (self.width, self.height))
        # No description, full range, no deltas; behind it that there is no grain.
        colour = f"{self.is_deep:b}" + "0" + "1" + "0" + "0"
        if self._is_still:
            return "001" + "11" + "00000" + sides + "000" + "000" + colour
        times = "0" + "0" + "00000" + "0" * 12 + "11111" + "0"
        return "001" + "00" + times + sides + "0" + "000" + "0000" + "0" + "00" + "000" + colour

    def _frame(self, hidden_in: int | None) -> bytes:
        """A key frame; ``hidden_in`` are the places where it is kept, None for one to be shown."""
        width, height = self.override or (self.width, self.height)
        if self._is_still:
            head = "1" + "0"  # disable_cdf_update, no tools for screens
        else:
            kind = "0" + "00" + ("1" if hidden_in is None else "000")
            head = kind + "1" + f"{bool(self.override):b}"
            head += f"{hidden_in:08b}" if hidden_in is not None else ""
            if self.override:
                head += f"{width - 1:0{_SIDE_BITS}b}{height - 1:0{_SIDE_BITS}b}"
        head += "0"  # render_and_frame_size_different
        tiles, count = _tiles(width, height)
        quantizer = f"{255:08b}" + "0" + "00" + "0"
        head += tiles + quantizer + "0" + "0" + "0" * 12 + "000" + "0" + "0" + "0"
        data = _DATA * (_needed(width, height) // count + 99)
        sized = struct.pack("<I", len(data) - 1) + data
        return _bytes(head) + (b"\0" if count > 1 else b"") + sized * (count - 1) + data


def _tiles(width: int, height: int) -> tuple[str, int]:
    """tile_info for as few tiles as may be, and how many these are."""
    across, down = -(-width // 64), -(-height // 64)
    columns = _log2(64, across)
    rows = max(0, max(columns, _log2(2304, across * down)) - columns)
    bits = "1"
    bits += "0" if columns < _log2(1, min(across, 64)) else ""
    bits += "0" if rows < _log2(1, min(down, 64)) else ""
    if columns + rows:
        bits += "0" * (columns + rows) + "11"
    wide, high = -(-across // (1 << columns)), -(-down // (1 << rows))
    return bits, -(-across // wide) * -(-down // high)


def _needed(width: int, height: int) -> int:
    """The bytes of data that a picture needs: most where it ends within a block of 64 x 64."""
    across, down = -(-width // 64), -(-height // 64)
    edges = (across if height % 64 else 0) + (down if width % 64 else 0)
    return _DATA_OF_BLOCK * across * down + _DATA_OF_EDGE * edges


def _log2(unit: int, target: int) -> int:
    found = 0
    while unit << found < target:
        found += 1
    return found


def _bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)


def _unit(kind: int, body: bytes) -> bytes:
    """An OBU."""
    size = len(body)
    return bytes([kind << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + body


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def avif(
    streams: list[bytes],
    size: tuple[int, int],
    depth: int = 8,
    grid: tuple[int, int] | None = None,
    are_apart: bool = False,
) -> bytes:
    """An AVIF of one stream, or of a grid (columns, rows) of them, each said to have this size.

    ``are_apart`` says of every second stream that it needs a decoder of its own.
    """
    items, whole = [(b"av01", stream) for stream in streams], size
    if grid:
        whole = (size[0] * grid[0], size[1] * grid[1])
        items.append((b"grid", struct.pack(">BBBBII", 0, 1, grid[1] - 1, grid[0] - 1, *whole)))
    plain: tuple[int, ...] = (1, 3, _MUST | 4)
    apart = (*plain, _MUST | 5)
    own = [apart if are_apart and at % 2 else plain for at in range(len(streams))]
    own += [(2, 3)] if grid else []
    ftyp = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    said = _properties(size, whole, depth) + [box(b"a1op", b"\1")] * are_apart
    parts = [
        box(b"hdlr", struct.pack(">II4s13x", 0, 0, b"pict")),
        box(b"pitm", struct.pack(">IH", 0, len(items))),
        box(b"iinf", struct.pack(">IH", 0, len(items)), *_infos(items)),
        box(b"iprp", box(b"ipco", *said), _associations(own)),
    ]
    if grid:
        count = len(streams)
        cells = struct.pack(f">HH{count}H", len(items), count, *range(1, count + 1))
        parts.append(box(b"iref", bytes(4), box(b"dimg", cells)))
    begin = len(ftyp) + len(box(b"meta", bytes(4), *parts, _locations(items, 0))) + 8
    meta = box(b"meta", bytes(4), *parts, _locations(items, begin))
    return ftyp + meta + box(b"mdat", *(data for _, data in items))


Items = list[tuple[bytes, bytes]]  # kinds and contents; their numbers are 1, 2 and so on

_MUST = 0x80  # marks a property that readers must know
# av1C for 4:4:4 of 8 and of 10 bits.
_CONFIGURATION = {8: box(b"av1C", b"\x81\x3f\x00\0"), 10: box(b"av1C", b"\x81\x3f\x40\0")}


def _infos(items: Items) -> list[bytes]:
    return [
        box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, kind))
        for number, (kind, _) in enumerate(items, 1)
    ]


def _properties(size: tuple[int, int], whole: tuple[int, int], depth: int) -> list[bytes]:
    sizes = [box(b"ispe", struct.pack(">III", 0, *each)) for each in (size, whole)]
    pixel = box(b"pixi", struct.pack(">I4B", 0, 3, *[depth] * 3))
    return [*sizes, pixel, _CONFIGURATION[depth]]


def _associations(own: list[tuple[int, ...]]) -> bytes:
    each = [struct.pack(">HB", at, len(one)) + bytes(one) for at, one in enumerate(own, 1)]
    return box(b"ipma", struct.pack(">II", 0, len(own)), *each)


def _locations(items: Items, begin: int) -> bytes:
    """The box iloc, for contents one behind the other from ``begin`` on."""
    lengths = [len(data) for _, data in items]
    starts = accumulate([begin, *lengths[:-1]])
    places = [
        struct.pack(">HHHII", number, 0, 1, start, length)
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True), 1)
    ]
    return box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, len(items)), *places)
