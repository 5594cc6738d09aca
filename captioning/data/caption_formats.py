"""Caption files of every format as rows of image and caption, to train on or to be scored.

The content says which format a file has:

- CSV whose header has ``image`` and ``caption``, such as Kaggle's ``captions.txt``, or another name
  for each (``caption_rows.IMAGE_KEYS``), with commas, semicolons, tabs or bars between the columns;
- ``Flickr8k.token.txt`` and ``results_20130124.token``: ``name.jpg#0<tab>caption``;
- Flickr30k's ``results.csv``: ``image_name| comment_number| comment``;
- Karpathy's ``dataset_*.json``, with its own split (Karpathy and Fei-Fei, CVPR 2015);
- COCO's ``captions_*.json`` (Chen et al. 2015, "Microsoft COCO Captions");
- COCO's results: ``[{"image_id": 42, "caption": "..."}, ...]``;
- JSON lines, as ``python -m captioning --json`` writes them: ``{"file": ..., "caption": ...}``.

Each may also be compressed with gzip. Lines of JSON or CSV that say why an image has no caption
(``error``) are counted and left out.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from captioning.data.caption_json import parse_json
from captioning.data.caption_rows import (
    CAPTION_KEYS,
    ERROR_KEY,
    ID_KEY,
    IMAGE_KEYS,
    WRITE_CAPTION,
    DataError,
    ImageId,
    Row,
    Rows,
    count_noun,
    plain_key,
    shorten,
)
from captioning.data.text_files import read_text

FORMATS = (
    "a CSV with one column image and one column caption ('image,caption'), lines "
    "'name.jpg#0<tab>caption', Flickr30k's results.csv, Karpathy's or COCO's JSON, COCO's list of "
    "results, or the lines of 'python -m captioning --json'"
)
_FLICKR30K_HEADER = ["image_name", "comment_number", "comment"]
_QUOTE = "write each image with its caption, in quotes where the caption has commas"
_LONGEST_LINE = 2**20  # characters: of nothing but commas each would take 50 bytes
_SEPARATORS = (",", ";", "\t", "|")
_IMAGE_FILE = r"\.(?:jpe?g|jpe|jfif|png|webp|gif|tiff?|bmp|hei[cf]|avif|jxl|jp2|j2k|jpx|mpo|dng)"


def read_rows(path: Path) -> Rows:
    """Read the rows of a caption file, with captions as they are written, empty ones too.

    Raises DataError for a file that cannot be read or has none of the formats above. Rows that
    cannot be read are among the result's problems.
    """
    text = read_text(path)
    if text.lstrip()[0] in "[{":
        return parse_json(text, path)
    # Not splitlines(), which would end a row at a U+2028 inside a caption too.
    lines = list(io.StringIO(text, newline="\n"))
    first = next(i for i, line in enumerate(lines) if line.strip())
    if "#" in lines[first].partition("\t")[0] and "\t" in lines[first]:
        return _parse_token_file(lines)
    if list(map(plain_key, lines[first].split("|"))) == _FLICKR30K_HEADER:
        return _parse_flickr30k(lines, first + 1)
    return _parse_csv(lines, path)


# Flickr8k and Flickr30k -------------------------------------------------------------------------


def _parse_token_file(lines: Sequence[str]) -> Rows:
    parsed = Rows("line", names="padded")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            key, tab, caption = line.partition("\t")
            image, mark, _ = key.rpartition("#")
            _add_line(parsed, number, image if mark else "", caption if tab else None)
    return parsed


def _parse_flickr30k(lines: Sequence[str], start: int) -> Rows:
    parsed = Rows("line", names="padded")
    for number, line in enumerate(lines[start:], start=start + 1):
        if line.strip():
            image, _, rest = line.partition("|")
            count, bar, caption = rest.partition("|")
            if not bar:  # as published, one row has "4   A dog runs ..." with its bar missing
                caption = count.strip().lstrip("0123456789")
            _add_line(parsed, number, image, caption if bar or caption else None)
    return parsed


def _add_line(parsed: Rows, number: int, image: str, caption: str | None) -> None:
    """Add a line, its caption without the blanks around it; None for a line that has none."""
    if image.strip() and caption is None:
        parsed.reject(number, f"has no caption for {shorten(image.strip())}", WRITE_CAPTION)
    else:
        parsed.add(Row(number, image, (caption or "").strip()))


# CSV --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    """The columns of a table: how many there are, and where what is read of them is."""

    separator: str
    count: int
    image: int
    caption: int
    id: int | None
    error: int | None

    @classmethod
    def of(cls, cells: Sequence[str], separator: str) -> "_Header | None":
        """The header with these cells; None where it is not that of a caption file."""
        names = list(map(plain_key, cells))
        image = _column(names, ("image",), IMAGE_KEYS, (ID_KEY,))
        caption = _column(names, CAPTION_KEYS[:1], CAPTION_KEYS)
        if image is None or caption is None:
            return None
        key = _column(names, (ID_KEY,)) if names[image] != ID_KEY else None
        return cls(separator, len(names), image, caption, key, _column(names, (ERROR_KEY,)))

    @property
    def is_plain(self) -> bool:
        """Whether a row is an image, and all that follows its caption."""
        return (self.count, self.image, self.caption) == (2, 0, 1)

    @cached_property
    def row(self) -> re.Pattern[str]:
        """What a line inside a quoted cell has if it is in fact a row: its image's file name."""
        before = r"\A\s*" if self.image == 0 else re.escape(self.separator)
        after = r"\s*\Z" if self.image == self.count - 1 else rf"\s*{re.escape(self.separator)}"
        other = rf'"{re.escape(self.separator)}'
        name = rf'(?:"\s*)?[^\s{other}][^{other}]*{_IMAGE_FILE}"?'  # blanks may only be around it
        return re.compile(before + name + after, re.IGNORECASE)


def _column(names: Sequence[str], *choices: Sequence[str]) -> int | None:
    """The column that has one of the first choices of names, or of the next; None for several."""
    for choice in choices:
        columns = [index for index, name in enumerate(names) if name in choice]
        if columns:
            return columns[0] if len(columns) == 1 else None
    return None


def _parse_csv(lines: Sequence[str], path: Path) -> Rows:
    """Parse a table; but in ``image,caption`` separators in a caption must be quoted."""
    parsed = Rows("line", names="padded")
    header, start = _csv_header(lines, path)
    for number, cells, _ in _csv_rows(lines, start, header):
        if isinstance(cells, csv.Error):
            text = f"cannot be read ({_reason(cells)})"
            parsed.reject(number, text, "fix its quotes and line breaks")
            continue
        if header.is_plain and len(cells) > 2:
            # Some copies leave commas of the caption unquoted: what follows the name is caption.
            cells = [cells[0], header.separator.join(cells[1:])]
        if len(cells) == header.count:
            _add_cells(parsed, number, cells, header)
        else:
            parsed.reject(number, _wrong_length(cells, header), _QUOTE)
    return parsed


def _add_cells(parsed: Rows, number: int, cells: Sequence[str], header: _Header) -> None:
    image, caption = cells[header.image], cells[header.caption]
    if header.error is not None and cells[header.error].strip() and not caption.strip():
        parsed.failures += 1
        return
    key = "" if header.id is None else cells[header.id].strip()
    parsed.add(Row(number, image, caption, ids=(ImageId.of(ID_KEY, key),) if key else ()))


def _csv_header(lines: Sequence[str], path: Path) -> tuple[_Header, int]:
    """The columns, and how many lines end with them; raises DataError for no caption file's."""
    number, cells = 1, list[str]()  # of a file of nothing but separators
    for separator in reversed(_SEPARATORS):  # so that the last message is that for commas
        number, read, after = next(_csv_rows(lines, 0, separator), (1, list[str](), 0))
        if isinstance(read, csv.Error):
            raise DataError(
                f"{path}, line {number}: cannot be read ({_reason(read)}); write {FORMATS}"
            )
        cells = read
        if header := _Header.of(cells, separator):
            return header, after
    start = shorten(",".join(cells) or "".join(lines).strip())  # nothing but commas
    raise DataError(
        f"{path}, line {number}: '{start}' is not how a known format begins; write {FORMATS}"
    )


def _wrong_length(cells: Sequence[str], header: _Header) -> str:
    text = f"has {count_noun(len(cells), 'cell')} where the header has {header.count}"
    if header.is_plain:
        text += f", so it has no caption for {shorten(cells[0].strip())}"
    return text


def _reason(error: csv.Error) -> str:
    return str(error).partition(" - ")[0]


def _csv_rows(
    lines: Sequence[str], start: int, table: _Header | str
) -> Iterator[tuple[int, list[str] | csv.Error, int]]:
    """The rows that are not blank, or why they cannot be read, between their first and last lines.

    ``table`` is the header of the rows; for the header itself, what separates its cells.
    """
    while start < len(lines):
        if lines[start].isspace():  # as the reader would find, in fifty times the time
            start += 1
            continue
        number = start + 1
        try:
            cells, count = _csv_row(lines, start, table)
        except csv.Error as error:
            start += 1
            yield number, error, start
            continue
        start += count
        if any(cell.strip() for cell in cells):
            yield number, cells, start


def _csv_row(lines: Sequence[str], start: int, table: _Header | str) -> tuple[list[str], int]:
    """The cells of the row that begins on a line, and how many lines it has.

    It has several where a quote is properly closed on a later one. Otherwise the line is read by
    itself, whatever its quotes: one left open must not make a caption of all the rows after it.
    """
    if len(lines[start]) > _LONGEST_LINE:
        raise csv.Error("line is too long")
    separator = table if isinstance(table, str) else table.separator
    rest = (lines[i] for i in range(start, len(lines)))
    reader = csv.reader(rest, strict=True, delimiter=separator)
    try:
        cells = next(reader)
        if isinstance(table, str) or not any(_holds_rows(cell, table) for cell in cells):
            return cells, reader.line_num
    except csv.Error:
        pass
    return next(csv.reader([lines[start].rstrip("\r\n")], delimiter=separator)), 1


def _holds_rows(cell: str, header: _Header) -> bool:
    """Whether a cell of several lines is in fact several rows between two stray quotes."""
    lines = cell.split("\n")
    return len(lines) > 1 and any(map(header.row.search, lines))
