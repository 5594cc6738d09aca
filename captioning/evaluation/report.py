"""The evaluation report: one HTML file that loads nothing else, to look at, search and print.

``report.html`` beside this file is its form; what it says is put together here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from captioning.pictures import STRENGTH, as_jpeg, data_url, light, thumbnail
from captioning.plots import Figure, as_svg

PHOTO_SIDE = 320  # pixels, the longer one
GROUPS = ("best", "median", "worst", "random")
_LIGHT_STEPS = 99  # two digits a place are finer than the eye
_CLEAR = 0.05  # a p-value below it counts as a difference


@dataclass(frozen=True, eq=False)
class Entry:
    """One photograph of the gallery.

    ``groups`` are some of ``GROUPS``; ``photo`` is upright, None where a caption file was scored
    without photographs; ``caption`` is a sentence. ``scores`` are the photograph's own, by name,
    x100: "CIDEr-D", "BLEU-4", "ROUGE-L", "caption F1"; "log-probability" is in nats and may be
    missing. ``attention`` (T, h, w) has a map for each of the T ``words``, which sums to 1;
    ``invented`` are objects that the caption names and no reference does.
    """

    groups: tuple[str, ...]
    name: str
    photo: Image.Image | None
    caption: str
    references: tuple[str, ...]
    scores: Mapping[str, float]
    words: tuple[str, ...] = ()
    attention: NDArray[np.float32] | None = None
    invented: tuple[str, ...] = ()


class Measure(NamedTuple):
    """A figure that a result may have: its name there, what it is, and how to write it."""

    name: str
    about: str
    better: str = ""  # "higher", "lower", or nothing where neither is
    digits: int = 1


class Published(NamedTuple):
    """What another system's authors report, in the order of ``COLUMNS``; None where they do not."""

    system: str
    figures: tuple[float | None, ...]


COLUMNS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D")

PUBLISHED = (
    Published("Google NIC (2014)", (63, 41, 27, None, None, None, None)),
    Published("Show, Attend and Tell, soft (2015)", (67, 44.8, 29.9, 19.5, 18.9, None, None)),
    Published("Show, Attend and Tell, hard (2015)", (67, 45.7, 31.4, 21.3, 20.3, None, None)),
    Published("danieljl/keras-image-captioning", (61.8, 40.8, 27.8, 19.0, 21.5, None, 41.5)),
    Published(
        "sulabhkatiyar/show_tell (VGG16, beam 3)", (60.8, 42.4, 29.0, 19.8, 19.1, 44.7, 47.8)
    ),
    Published(
        "sulabhkatiyar/Spatial_Att (ResNet152 fine-tuned, beam 5)",
        (66.9, 48.7, 34.0, 23.2, 20.9, 48.3, 56.5),
    ),
    Published(
        "sulabhkatiyar/Adaptive_Att (ResNet152 fine-tuned, beam 5)",
        (65.9, 48.0, 33.9, 23.5, 20.7, 47.6, 58.9),
    ),
    Published(
        "Cornell CS4782 reproduction (frozen ResNet)", (65.7, 41.4, 27.1, 16.5, 17.9, None, None)
    ),
)

_RUNS = "Runs of one to {} words that a reference has too; captions that are too short lose."
_MEASURES = {
    "Captions against the references (x100)": (
        Measure(
            "CIDEr-D",
            "Agreement with the references in runs of one to four words; what is said of few "
            "photographs counts more. It may exceed 100.",
            "higher",
        ),
        Measure(
            "BLEU-1",
            "The share of the captions' words that a reference has too; captions that are too "
            "short lose.",
            "higher",
        ),
        Measure("BLEU-2", _RUNS.format("two"), "higher"),
        Measure("BLEU-3", _RUNS.format("three"), "higher"),
        Measure("BLEU-4", _RUNS.format("four"), "higher"),
        Measure(
            "METEOR",
            "Words that match the nearest reference, stems and synonyms too; a broken order costs.",
            "higher",
        ),
        Measure(
            "ROUGE-L",
            "The longest series of words that a reference has in the same order, gaps allowed.",
            "higher",
        ),
        Measure(
            "caption F1",
            "The caption's different words against those of all references together; even a "
            "perfect caption stays below 100.",
            "higher",
        ),
    ),
    "The next word, when the words before it are given": (
        Measure("loss", "Nats a word: how much each true next word surprises.", "lower", 3),
        Measure(
            "perplexity",
            "Among how many equally likely words the model as good as guesses.",
            "lower",
            2,
        ),
        Measure("accuracy", "How often the likeliest word is the true one (%).", "higher"),
        Measure("accuracy top-5", "How often it is among the five likeliest (%).", "higher"),
        Measure("F1 weighted", "F1 of each word, by how often it occurs (x100).", "higher"),
        Measure("F1 macro", "F1 of each word, rare and frequent alike (x100).", "higher"),
    ),
    "Length": (
        Measure("length", "Words in a caption, on average."),
        Measure("reference length", "Words in a reference, on average.", digits=1),
        Measure("length ratio", "The first by the second; below 1 captions are short.", digits=3),
    ),
    "Diversity": (
        Measure("vocabulary used", "How many different words the captions have.", "higher", 0),
        Measure("distinct-1", "Different words among all words said (%).", "higher"),
        Measure("distinct-2", "Different pairs of words among all said (%).", "higher"),
        Measure("new captions", "Captions that no training caption equals (%).", "higher"),
        Measure(
            "most frequent caption", "Photographs that get the most frequent one (%).", "lower"
        ),
    ),
    "Invented objects": (
        Measure("CHAIR-s", "Captions that name an object that no reference names (%).", "lower"),
        Measure("CHAIR-i", "Objects that no reference names, among all named (%).", "lower"),
    ),
}
_BY_NAME = {measure.name: measure for group in _MEASURES.values() for measure in group}

_ATTENTION = (
    Measure(
        "faithfulness",
        "The first drop below less the second. 0 would mean that the maps say nothing of what "
        "the model uses.",
        "higher",
        3,
    ),
    Measure(
        "drop",
        "How much log-probability a word loses without the tenth of the places that it looked at "
        "most.",
        digits=3,
    ),
    Measure("drop at random places", "The same for as many places drawn at random.", digits=3),
)
_SCORES = ("CIDEr-D", "BLEU-4", "ROUGE-L", "caption F1", "log-probability")
_SPLITS = {
    "dev": "development split",
    "test": "test split",
    "train": "training split",
    "all": "whole data set",
}
_ALTERNATIVE_TEXTS = {
    "scores": "Histogram: how many photographs have which CIDEr-D; mean and median are marked.",
    "lengths": "Lengths in words: the share of captions and of references that have each length.",
    "reliability": "Mean CIDEr-D, with its 95 % interval, against the mean probability of a word. "
    "The table beside it has the numbers.",
    "beams": "CIDEr-D and BLEU-4, with 95 % intervals, against beam width. "
    "The table beside it has the numbers.",
}


class Row(NamedTuple):
    """A figure as it is shown."""

    name: str
    about: str
    value: str
    interval: str = ""


class Piece(NamedTuple):
    """A part of a caption: a word, or what is between words.

    ``light`` holds a number for each place of the word's map, row by row, 0 to 99; it is empty
    where there is no map.
    """

    text: str
    light: str = ""
    invented: bool = False


def report_html(
    result: Mapping[str, Any], entries: Sequence[Entry], figures: Mapping[str, Figure]
) -> str:
    """Write the report as one HTML file: nothing in it is loaded from elsewhere.

    ``result`` is what ``bleu_scorer.py`` writes as JSON; only "name", "metrics", "images", "split"
    and "command" must be there, and what is not leaves its section out. ``entries`` are the
    gallery, in the order to be shown in. ``figures`` are "scores", "lengths", "reliability" and
    "beams", as far as there are; any other is shown under its own name.
    """
    template = _environment().from_string(
        resources.files("captioning.evaluation").joinpath("report.html").read_text("utf-8")
    )
    return template.render(
        result=result,
        split=_SPLITS.get(result["split"], result["split"]),
        facts=facts(result),
        tiles=_rows([_BY_NAME["CIDEr-D"], _BY_NAME["BLEU-4"]], result),
        columns=COLUMNS,
        own=[_row(_BY_NAME[name], result) for name in COLUMNS],
        published=PUBLISHED,
        comparable=result["split"] == "test" and "official" in result.get("split source", ""),
        groups=figure_groups(result),
        four=_four(result),
        attention=_attention(result),
        against=_against(result),
        pictures={key: _picture(key, figure) for key, figure in figures.items()},
        cards=[_card(entry) for entry in entries],
        kinds=[kind for kind in GROUPS if any(kind in entry.groups for entry in entries)],
        sorts=[name for name in _SCORES if any(name in entry.scores for entry in entries)],
        strength=STRENGTH,
    )


def _environment() -> Environment:
    # A missing key is a mistake of ours, never an empty place in a report.
    found = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(number=_number, interval=_interval, breakable=_breakable)
    return found


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after an underscore or a slash."""
    return Markup(re.sub("[_/]", r"\g<0><wbr>", str(escape(name))))


# Numbers ---------------------------------------------------------------------------------------


def _number(value: float | None, digits: int = 1) -> str:
    """A number as people read it, with a true minus sign."""
    return "\N{EN DASH}" if value is None else f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float, digits: int = 1) -> str:
    """A difference, with its sign."""
    return ("+" if value > 0 else "") + _number(value, digits)


def _interval(ends: Sequence[float] | None, digits: int = 1) -> str:
    """A 95 % interval; nothing where it is not known."""
    return "" if not ends else " to ".join(_number(end, digits) for end in ends)


def _row(measure: Measure, result: Mapping[str, Any]) -> Row:
    value = result["metrics"].get(measure.name)
    ends = result.get("intervals", {}).get(measure.name)
    better = f" {measure.better.capitalize()} is better." if measure.better else ""
    return Row(
        measure.name,
        measure.about + better,
        _number(value, measure.digits),
        _interval(ends, measure.digits),
    )


def _rows(measures: Sequence[Measure], result: Mapping[str, Any]) -> list[Row]:
    """The figures that a result has, of those asked for."""
    return [_row(measure, result) for measure in measures if measure.name in result["metrics"]]


# Sections --------------------------------------------------------------------------------------


def facts(result: Mapping[str, Any]) -> list[str]:
    """What was scored on what, in a few words each."""
    found = [f"{result['images']:,} photographs"]
    if "references per image" in result:
        found.append(f"{result['references per image']} references each")
    if "beam" in result:
        found.append(f"beam {result['beam']}")
    if "length penalty" in result:
        found.append(f"length penalty {result['length penalty']}")
    return [*found, result["date"]] if "date" in result else found


def figure_groups(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """All figures under their headings; one that nothing is known of comes last."""
    found = {heading: _rows(measures, result) for heading, measures in _MEASURES.items()}
    unknown = [Measure(name, "") for name in result["metrics"] if name not in _BY_NAME]
    found["Other figures"] = _rows(unknown, result)
    return {heading: rows for heading, rows in found.items() if rows}


def _four(result: Mapping[str, Any]) -> list[tuple[Row, Row]]:
    """Each figure with one reference left out, and with all of them."""
    part = result.get("four references", {"metrics": {}})
    measures = [measure for measure in _BY_NAME.values() if measure.name in part["metrics"]]
    return [(_row(measure, part), _row(measure, result)) for measure in measures]


def _attention(result: Mapping[str, Any]) -> list[Row]:
    """What the maps are worth, in nats."""
    found = result.get("attention", {})
    spread = "How widely a word's attention is spread: 0 on a single place"
    if "greatest entropy" in found:
        spread += f", {_number(found['greatest entropy'], 3)} evenly on all"
    measures = [*_ATTENTION, Measure("entropy", f"{spread}.", digits=3)]
    intervals = {"faithfulness": found.get("interval")}
    return _rows(measures, {"metrics": found, "intervals": intervals})


class Comparison(NamedTuple):
    """A figure of this system and of another."""

    name: str
    this: str
    other: str
    difference: str
    interval: str
    p: str
    verdict: str


def _against(result: Mapping[str, Any]) -> list[Comparison]:
    """The paired comparison, figure by figure."""
    rows = result.get("against", {}).get("metrics", {})
    return [_comparison(_BY_NAME.get(name, Measure(name, "")), row) for name, row in rows.items()]


def _comparison(measure: Measure, row: Mapping[str, Any]) -> Comparison:
    # A difference is small beside the figures, so it gets a digit more.
    digits = max(measure.digits, 2)
    return Comparison(
        measure.name,
        _number(row["this"], digits),
        _number(row["other"], digits),
        _signed(row["difference"], digits),
        " to ".join(_signed(end, digits) for end in row["interval"]),
        "< 0.0001" if row["p"] < 0.0001 else f"{row['p']:.4f}",
        _verdict(measure, row),
    )


def _verdict(measure: Measure, row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    if row["p"] >= _CLEAR or low <= 0 <= high:
        return "no clear difference"
    direction = "higher" if row["difference"] > 0 else "lower"
    if not measure.better:
        return direction
    return "better" if direction == measure.better else "worse"


# Pictures --------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """An image with what to say where it cannot be seen, and its size where that is known."""

    source: str
    text: str
    width: int = 0
    height: int = 0


def _picture(key: str, figure: Figure) -> Picture:
    text = _ALTERNATIVE_TEXTS.get(key, f"Figure: {key}")
    return Picture(data_url("svg+xml", as_svg(figure)), text)


def _photo(entry: Entry) -> Picture | None:
    if entry.photo is None:
        return None
    small = thumbnail(entry.photo.convert("RGB"), PHOTO_SIDE)
    # Who cannot see the photograph judges the caption by what a person wrote of it.
    text = (
        "Photograph. In a person's words: " + entry.references[0]
        if entry.references
        else (f"Photograph {entry.name}")
    )
    return Picture(data_url("jpeg", as_jpeg(small)), text, *small.size)


# The gallery -----------------------------------------------------------------------------------


def _card(entry: Entry) -> dict[str, Any]:
    """What the form needs of an entry; ``values`` are what the page sorts by."""
    values = {name: float(entry.scores[name]) for name in _SCORES if name in entry.scores}
    length = len(entry.words or entry.caption.split())
    return {
        "entry": entry,
        "photo": _photo(entry),
        "pieces": list(_pieces(entry)),
        "columns": 0 if entry.attention is None else entry.attention.shape[-1],
        "scores": {
            name: _number(value, 2 if name == "log-probability" else 1)
            for name, value in values.items()
        },
        # JSON has no infinity: without its value a photograph is sorted last.
        "values": {name: round(value, 4) for name, value in values.items() if isfinite(value)}
        | {"length": length},
    }


def _pieces(entry: Entry) -> Iterator[Piece]:
    """The caption cut at its words, each word with its map."""
    invented = {word.lower() for word in entry.invented}
    text, spans = _cut(entry.caption, entry.words or re.findall(r"\w+", entry.caption))
    place = 0
    for (start, end), shown in zip(spans, _lights(entry, len(spans)), strict=True):
        if start > place:
            yield Piece(text[place:start])
        yield Piece(text[start:end], shown, text[start:end].lower() in invented)
        place = end
    if place < len(text):
        yield Piece(text[place:])


def _cut(text: str, words: Sequence[str]) -> tuple[str, Sequence[tuple[int, int]]]:
    """A text and where in it each word stands: the words themselves where it lacks one."""
    spans = _spans(text, words)
    if spans is not None:
        return text, spans
    text = " ".join(words)
    return text, _spans(text, words) or ()


def _spans(text: str, words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where each word stands in a text; None where something else stands between them."""
    place, found = 0, []
    for word in words:
        match = re.compile(rf"\W*?({re.escape(word)})", re.IGNORECASE).match(text, place)
        if match is None:
            return None
        found.append(match.span(1))
        place = match.end()
    return found


def _lights(entry: Entry, words: int) -> list[str]:
    """How brightly to show each place for each of the words, in few letters; "" without a map.

    As ``plots.overlay`` does: a map that is nearly even gets little contrast.
    """
    if entry.attention is None or entry.photo is None:
        return [""] * words
    steps = [np.rint(_LIGHT_STEPS * light(weights)).astype(int) for weights in entry.attention]
    found = [" ".join(map(str, of_word.ravel().tolist())) for of_word in steps]
    return (found + [""] * words)[:words]
