"""AV1: how large the pictures of a stream are, by its headers.

The names of what is read are those of the AV1 Bitstream & Decoding Process Specification, sections
5.3 to 5.9.
"""

from typing import NamedTuple

from captioning.data.stream_parts import MOST_STEPS

_SEQUENCE, _PICTURES = 1, (3, 6, 7)  # kinds of OBU: OBU_SEQUENCE_HEADER, those with frame headers
_SELECTED = 2  # of a tool: each picture says whether it has it
_SWITCH, _KEY = 3, 0  # kinds of frame
_RGB = 0x010D00  # primaries, transfer and matrix of pictures that are not YCbCr
_ALIGNED = 128  # pixels, to which decoders round up the sides of what they make room for


class Picture(NamedTuple):
    """A picture that a decoder makes room for, in planes of ``pixel`` bytes for each pixel.

    Where its size is not known, it is the most that its headers can say.
    """

    width: int
    height: int
    pixel: float
    is_known: bool

    @property
    def memory(self) -> int:
        """The bytes of its planes."""
        across, down = (-(-side // _ALIGNED) * _ALIGNED for side in (self.width, self.height))
        return int(across * down * self.pixel)


class Steps:
    """How many parts of a file may still be looked at."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def take(self) -> None:
        """Count one; ValueError when there were too many."""
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many parts")


class _Sequence(NamedTuple):
    """What a sequence header says."""

    largest: Picture
    is_still: bool  # reduced_still_picture_header
    most: Picture  # that the bits for a size can say
    time_bits: int  # frame_presentation_time, where pictures have it
    number_bits: int  # current_frame_id, where pictures have it
    screen_content: int  # 0, 1 or _SELECTED
    integer_vectors: int


class _Bits:
    """Reads numbers of bits; ValueError behind the end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int = 1) -> int:
        """The next bits as a number."""
        start, self._at = self._at, self._at + count
        end = -(-self._at // 8)
        if end > len(self._data):
            raise ValueError("ends early")
        number = int.from_bytes(self._data[start // 8 : end], "big")
        return number >> end * 8 - self._at & (1 << count) - 1

    def skip_variable(self) -> None:
        """Pass a number of variable length, uvlc()."""
        zeros = 0
        while not self.read():
            zeros += 1
        if zeros < 32:
            self.read(zeros)


def pictures(stream: memoryview, steps: Steps) -> list[Picture]:
    """The pictures of a stream, each as large as its headers allow; ValueError for damage."""
    found, sequence, at = [], None, 0
    while at < len(stream):
        steps.take()
        head, at = stream[at], at + 1 + (stream[at] >> 2 & 1)
        size = len(stream) - at
        if head & 2:  # obu_has_size_field
            size, at = _leb128(stream, at)
        kind, body = head >> 3 & 15, stream[at : at + size]
        if kind == _SEQUENCE:
            sequence = _sequence(_Bits(body))
        elif kind in _PICTURES:
            if sequence is None:  # a decoder that several streams share has that of another
                raise ValueError("a picture without a sequence")
            found.append(_picture(_Bits(body), sequence))
        at += size
    return found


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    """A number of up to eight bytes, and where it ends."""
    number = 0
    for index, byte in enumerate(data[at : at + 8]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, at + index + 1
    raise ValueError("a number without an end")


def _sequence(bits: _Bits) -> _Sequence:
    profile, _, is_still = bits.read(3), bits.read(), bool(bits.read())
    time_bits = 0
    if is_still:
        bits.read(5)
    else:
        time_bits = _operating_points(bits)
    sides = bits.read(4) + 1, bits.read(4) + 1
    width, height = (bits.read(count) + 1 for count in sides)
    number_bits = 0
    if not is_still and bits.read():  # frame_id_numbers_present_flag
        number_bits = bits.read(4) + bits.read(3) + 3
    bits.read(3)
    tools = (_SELECTED, _SELECTED) if is_still else _tools(bits)
    bits.read(3)
    pixel = _pixel(bits, profile)
    largest = Picture(width, height, pixel, True)
    most = Picture(1 << sides[0], 1 << sides[1], pixel, False)
    return _Sequence(largest, is_still, most, time_bits, number_bits, *tools)


def _operating_points(bits: _Bits) -> int:
    """Pass what is about time; the bits of frame_presentation_time where shown pictures have it."""
    delay_bits = time_bits = 0
    has_model = is_equal = 0
    if bits.read():  # timing_info_present_flag
        bits.read(64)
        is_equal = bits.read()
        if is_equal:
            bits.skip_variable()
        has_model = bits.read()
        if has_model:
            delay_bits = bits.read(5) + 1
            bits.read(37)
            time_bits = bits.read(5) + 1
    has_delay = bits.read()
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:  # seq_level_idx
            bits.read()
        if has_model and bits.read():
            bits.read(2 * delay_bits + 1)
        if has_delay and bits.read():
            bits.read(4)
    return 0 if is_equal else time_bits


def _tools(bits: _Bits) -> tuple[int, int]:
    """seq_force_screen_content_tools and seq_force_integer_mv."""
    bits.read(4)
    has_order = bits.read()
    if has_order:
        bits.read(2)
    screen_content = _SELECTED if bits.read() else bits.read()
    vectors = _SELECTED
    if screen_content:
        vectors = _SELECTED if bits.read() else bits.read()
    if has_order:
        bits.read(3)
    return screen_content, vectors


def _pixel(bits: _Bits, profile: int) -> float:
    """The bytes of a pixel in planes of 8 or 16 bits: color_config()."""
    size = 1 + bits.read()  # high_bitdepth
    is_twelve = profile == 2 and size == 2 and bits.read()
    if profile != 1 and bits.read():  # mono_chrome
        return size
    if profile < 2:
        return size * (3.0 if profile else 1.5)
    is_described = bits.read()
    if is_described and bits.read(24) == _RGB:
        return size * 3.0
    bits.read()
    # Of 12 bits, subsampling is said; of less, it is 4:2:2.
    is_half = not is_twelve or bits.read()
    is_quarter = is_twelve and is_half and bits.read()
    return size * (1.5 if is_quarter else 2.0 if is_half else 3.0)


def _picture(bits: _Bits, sequence: _Sequence) -> Picture:
    """How large a picture is at most, by its header up to frame_size_override_flag."""
    if sequence.is_still or bits.read():  # show_existing_frame
        return sequence.largest
    kind, is_shown = bits.read(2), bits.read()
    if is_shown:
        bits.read(sequence.time_bits)
    else:
        bits.read()
    if kind != _SWITCH and not (kind == _KEY and is_shown):
        bits.read()
    bits.read()
    has_tools = sequence.screen_content
    if has_tools == _SELECTED:
        has_tools = bits.read()
    if has_tools and sequence.integer_vectors == _SELECTED:
        bits.read()
    bits.read(sequence.number_bits)
    return sequence.most if kind == _SWITCH or bits.read() else sequence.largest
