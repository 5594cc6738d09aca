"""Caption files of every format as rows of image and caption, to train on or to be scored.

The content says which format a file has:

- CSV whose header has ``image`` and ``caption``, such as Kaggle's ``captions.txt``;
- ``Flickr8k.token.txt`` and ``results_20130124.token``: ``name.jpg#0<tab>caption``;
- Flickr30k's ``results.csv``: ``image_name| comment_number| comment``;
- Karpathy's ``dataset_*.json``, with its own split (Karpathy and Fei-Fei, CVPR 2015);
- COCO's ``captions_*.json`` (Chen et al. 2015, "Microsoft COCO Captions");
- COCO's results: ``[{"image_id": 42, "caption": "..."}, ...]``;
- JSON lines, as ``python -m captioning --json`` writes them: ``{"file": ..., "caption": ...}``.

Each may also be compressed with gzip.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from captioning.data.caption_json import parse_json
from captioning.data.caption_rows import WRITE_CAPTION, DataError, Rows, count_noun, shorten
from captioning.data.text_files import read_text

FORMATS = (
    "a CSV with one column image and one column caption ('image,caption'), lines "
    "'name.jpg#0<tab>caption', Flickr30k's results.csv, Karpathy's or COCO's JSON, COCO's list of "
    "results, or the lines of 'python -m captioning --json'"
)
_FLICKR30K_HEADER = ["image_name", "comment_number", "comment"]
_QUOTE = "write each image with its caption, in quotes where the caption has commas"
# In a line of a quoted cell: the name of an image file between commas.
_IMAGE_CELL = re.compile(
    r'(?:\A|,)\s*"?[^\s,"]+\.(?:jpe?g|png|webp|gif|tiff?|bmp)"?\s*(?:,|\Z)', re.IGNORECASE
)


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
    if [cell.strip() for cell in lines[first].split("|")] == _FLICKR30K_HEADER:
        return _parse_flickr30k(lines, first + 1)
    return _parse_csv(lines, path)


# Flickr8k and Flickr30k -------------------------------------------------------------------------


def _parse_token_file(lines: Sequence[str]) -> Rows:
    parsed = Rows("line")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            key, tab, caption = line.partition("\t")
            image, mark, _ = key.rpartition("#")
            _add_line(parsed, number, image if mark else "", caption if tab else None)
    return parsed


def _parse_flickr30k(lines: Sequence[str], start: int) -> Rows:
    parsed = Rows("line")
    for number, line in enumerate(lines[start:], start=start + 1):
        if line.strip():
            image, _, rest = line.partition("|")
            count, bar, caption = rest.partition("|")
            if not bar:  # as published, one row has "4   A dog runs ..." with its bar missing
                caption = count.strip().lstrip("0123456789")
            _add_line(parsed, number, image, caption if bar or caption else None)
    return parsed


def _add_line(parsed: Rows, number: int, image: str, caption: str | None) -> None:
    """Add a line without the blanks around its parts; None for a line that has no caption."""
    image = image.strip()
    if image and caption is None:
        parsed.reject(number, f"has no caption for {shorten(image)}", WRITE_CAPTION)
    else:
        parsed.add(number, image, (caption or "").strip())


# CSV --------------------------------------------------------------------------------------------


def _parse_csv(lines: Sequence[str], path: Path) -> Rows:
    """Parse CSV; in other columns than ``image,caption`` commas must be quoted."""
    parsed = Rows("line")
    rows = _csv_rows(lines)
    header = _csv_header(next(rows, (1, ["".join(lines).strip()])), path)  # or nothing but commas
    for number, cells in rows:
        if isinstance(cells, csv.Error):
            text = f"cannot be read ({_reason(cells)})"
            parsed.reject(number, text, "fix its quotes and line breaks")
            continue
        if header == ["image", "caption"] and len(cells) > 2:
            # Some copies leave commas of the caption unquoted: what follows the name is caption.
            cells = [cells[0], ",".join(cells[1:])]
        if len(cells) == len(header):
            parsed.add(number, cells[header.index("image")], cells[header.index("caption")])
        else:
            parsed.reject(number, _wrong_length(cells, header), _QUOTE)
    return parsed


def _csv_header(row: tuple[int, list[str] | csv.Error], path: Path) -> list[str]:
    """The names of the columns; raises DataError where they are not a caption file's."""
    number, cells = row
    if isinstance(cells, csv.Error):
        raise DataError(
            f"{path}, line {number}: cannot be read ({_reason(cells)}); write {FORMATS}"
        )
    header = [cell.strip() for cell in cells]
    if header.count("image") != 1 or header.count("caption") != 1:
        start = shorten(",".join(cells))
        raise DataError(
            f"{path}, line {number}: '{start}' is not how a known format begins; write {FORMATS}"
        )
    return header


def _wrong_length(cells: Sequence[str], header: Sequence[str]) -> str:
    text = f"has {count_noun(len(cells), 'cell')} where the header has {len(header)}"
    if header == ["image", "caption"]:
        text += f", so it has no caption for {shorten(cells[0].strip())}"
    return text


def _reason(error: csv.Error) -> str:
    return str(error).partition(" - ")[0]


def _csv_rows(lines: Sequence[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The rows that are not blank, or why they cannot be read, each with its first line."""
    start = 0
    while start < len(lines):
        number = start + 1
        try:
            cells, count = _csv_row(lines, start)
        except csv.Error as error:
            yield number, error
            start += 1
            continue
        if any(cell.strip() for cell in cells):
            yield number, cells
        start += count


def _csv_row(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """The cells of the row that begins on a line, and how many lines it has.

    It has several where a quote is properly closed on a later one. Otherwise the line is read by
    itself, whatever its quotes: one left open must not make a caption of all the rows after it.
    """
    reader = csv.reader((lines[i] for i in range(start, len(lines))), strict=True)
    try:
        cells = next(reader)
        if not any(map(_holds_rows, cells)):
            return cells, reader.line_num
    except csv.Error:
        pass
    return next(csv.reader([lines[start].rstrip("\r\n")])), 1


def _holds_rows(cell: str) -> bool:
    """Whether a cell of several lines is in fact several rows between two stray quotes."""
    lines = cell.split("\n")
    return len(lines) > 1 and any(map(_IMAGE_CELL.search, lines))
