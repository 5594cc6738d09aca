"""The evaluation report: one HTML file that loads nothing else, to read, search and print.

``report.html`` in this folder is its template; what fills it is put together here.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from captioning.evaluation.catalogue import HEADLINES, OF_A_PHOTOGRAPH, REPORTED, metric
from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.other_sets import Example
from captioning.evaluation.published import PUBLISHED
from captioning.evaluation.report_gallery import GROUPS, Card, Entry, card_of
from captioning.evaluation.report_mosaics import mosaic_of, photograph_of
from captioning.evaluation.summary import (
    OTHER_SETS,
    PLOT_TEXTS,
    PlotText,
    attention_rows,
    comparisons,
    facts,
    leave_one_out,
    metric_groups,
    metric_row,
    metric_rows,
    novelty_remark,
    novelty_rows,
    occlusion_rows,
    other_sets,
    people,
    pointing_columns,
    pointing_rows,
    split_name,
    typeset,
)
from captioning.pictures import COLOURS, STRENGTH, data_url
from captioning.plots import Figure, as_svg


class Plot(NamedTuple):
    """A plot as the page holds it: its address, what it shows, its alternative text."""

    source: str
    about: str
    alt: str


def report_html(
    result: Mapping[str, Any],
    entries: Sequence[Entry],
    plots: Mapping[str, Figure],
    mosaics: Sequence[MosaicExample] = (),
    examples: Sequence[Example] = (),
) -> str:
    """Write the report as one HTML file that loads nothing from elsewhere.

    ``result`` is what ``bleu_scorer.py`` writes as JSON; only "name", "metrics", "images", "split"
    and "command" must be there, and a section whose key is missing is left out. ``entries`` are
    the gallery, in the order to be shown in. ``plots`` are those of ``summary.PLOT_TEXTS``, as far
    as there are; any other is shown under its name. ``examples`` are of the first of the other data
    sets.
    """
    template = _environment().from_string(
        resources.files("captioning.evaluation").joinpath("report.html").read_text("utf-8")
    )
    cards = [card_of(entry) for entry in entries]
    return template.render(
        result=result,
        **_sections(result),
        plots={key: _plot(key, figure) for key, figure in plots.items()},
        cards=cards,
        groups=[group for group in GROUPS if any(group in entry.groups for entry in entries)],
        sorts=[name for name in OF_A_PHOTOGRAPH if any(name in each.scores for each in entries)],
        mosaics=[mosaic_of(example) for example in mosaics],
        examples=[photograph_of(example) for example in examples],
        strength=STRENGTH,
        colours=COLOURS,
        kinds=_kinds(cards),
    )


def _kinds(cards: Sequence[Card]) -> list[str]:
    """Which maps the gallery has, those shown first at the front."""
    kinds = {kind for card in cards for piece in card.pieces for kind in piece.maps}
    return [kind for kind in ("evidence", "attention") if kind in kinds]


def _sections(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of the result itself."""
    others = other_sets(result)
    return {
        "other_sets": others,
        "other_sets_text": OTHER_SETS,
        "beside": [
            metric_row(metric(name), result) for name in (others[0].cells if others else ())
        ],
        "split": split_name(result),
        "facts": facts(result),
        "tiles": metric_rows(HEADLINES, result),
        "columns": REPORTED,
        "reported": [metric_row(metric(name), result) for name in REPORTED],
        "published": PUBLISHED,
        "comparable": result["split"] == "test" and "official" in result.get("split source", ""),
        "metric_groups": metric_groups(result),
        "leave_one_out": leave_one_out(result),
        "attention": attention_rows(result),
        "pointing": pointing_rows(result),
        "pointing_columns": pointing_columns(),
        "occlusion": occlusion_rows(result),
        "novelty": novelty_rows(result),
        "novelty_remark": novelty_remark(result),
        "against": comparisons(result),
        "people": bool(people(result)),
    }


def _environment() -> Environment:
    # A missing key is a defect of ours, and must not leave a gap in a report.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=_number, value_of=_value_of, interval_of=_interval_of, breakable=_breakable
    )
    return environment


def _number(value: float, digits: int) -> str:
    return typeset(f"{value:,.{digits}f}")


def _value_of(value: float | None, name: str) -> str:
    """The value of a metric; a dash where it is not known."""
    return "\N{EN DASH}" if value is None else typeset(metric(name).format(value))


def _interval_of(ends: Sequence[float] | None, name: str) -> str:
    """The interval of a metric; empty where it is not known."""
    return typeset(metric(name).format_interval(ends)) if ends else ""


def _breakable(name: str) -> Markup:
    """A name that may be broken across lines after an underscore or a slash."""
    return Markup(re.sub("[_/]", r"\g<0><wbr>", str(escape(name))))


def _plot(key: str, figure: Figure) -> Plot:
    text = PLOT_TEXTS.get(key, PlotText("", f"Plot: {key}"))
    return Plot(data_url("svg+xml", as_svg(figure)), *text)
