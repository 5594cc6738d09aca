"""The second page: how the models scored, in plots, then in tables; and the gallery, if any."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from captioning.app.results import Result, read_result, read_results
from captioning.evaluation.summary import (
    PLOT_TEXTS,
    Row,
    attention_rows,
    comparisons,
    facts,
    metric_groups,
    occlusion_rows,
    other_sets,
    people,
    pointing_columns,
    pointing_rows,
)
from captioning.network.shipped import SHIPPED_MODEL

RESULTS = Path("results")
REPORT_HEIGHT = 900  # pixels
PLOT_WIDTH = 560  # pixels, at most
HEADINGS = {
    "metrics": "Beside published systems and people",
    "pointing": "Do the maps point at what a word names?",
    "mosaics": "Mosaics and their maps",
    "beams": "Beam width",
    "lengths": "Lengths",
    "reliability": "Confidence",
}
# The plots are drawn on white; inverted and rotated they keep their hues.
_DARK = '<svg style="filter: invert(0.9) hue-rotate(180deg)" '


def available_results() -> list[Result]:
    """The evaluation of the model that ships, then those made here."""
    shipped = read_result(
        SHIPPED_MODEL.with_name("results.json"),
        "The model that ships",
        RESULTS / "plots" / f"{SHIPPED_MODEL.stem}_dev.html",
    )
    return [*([shipped] if shipped else []), *read_results(RESULTS)]


@st.cache_data(show_spinner="Drawing the plots…", max_entries=10)
def draw_plots(content: str) -> dict[str, str]:
    """The plots of a result, given as JSON, each as SVG by its name."""
    # matplotlib takes a second to import, and the other pages do without it.
    from captioning.evaluation.score_plots import result_figures
    from captioning.plots import as_svg

    return {k: as_svg(each).decode() for k, each in result_figures(json.loads(content)).items()}


def show_plots(result: Result) -> None:
    """Show the plots that the result has the values for, each with what it shows."""
    plots = draw_plots(json.dumps(result.content))
    for name, heading in HEADINGS.items():
        if name == "mosaics":
            show_mosaics(result)
        elif name in plots:
            st.subheader(heading, anchor=False)
            st.image(themed(plots[name]), width=PLOT_WIDTH, alt=PLOT_TEXTS[name].alt)
            st.caption(PLOT_TEXTS[name].about)


def themed(plot: str) -> str:
    """A plot as SVG in the colours of the visitor's theme."""
    return plot.replace("<svg ", _DARK, 1) if st.context.theme.type == "dark" else plot


def show_mosaics(result: Result) -> None:
    """Show mosaics with their maps, where maps were measured on mosaics."""
    if "pointing" not in result.content:
        return
    st.subheader(HEADINGS["mosaics"], anchor=False)
    if result.mosaics is None:
        st.write("The pictures of the mosaics are not here; `python bleu_scorer.py` draws them.")
        return
    st.image(result.mosaics.read_bytes(), alt=PLOT_TEXTS["mosaics"].alt)
    st.caption(PLOT_TEXTS["mosaics"].about)


def show_metrics(result: Result) -> None:
    """Show all metrics in tables, with their intervals."""
    groups = metric_groups(result.content) | {"Attention": attention_rows(result.content)}
    for heading, rows in groups.items():
        show_table(heading, [_cells(row) for row in rows])
    show_table("Where the maps point", _pointing(result.content))
    show_table("Rank correlation of a word's map with occlusion", _occlusion(result.content))
    show_table("Other data sets", _other_sets(result.content))
    other = "people, one reference left out" if people(result.content) else "another system"
    show_table(f"Compared with {other}", _comparison(result.content))
    st.caption(f"Made by `{result.content['command']}`")


def show_table(heading: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Show a table under its heading, if it has any rows."""
    if rows:
        st.subheader(heading, anchor=False)
        st.table(rows, hide_index=True)


def _cells(row: Row) -> dict[str, str]:
    return {
        "Metric": row.name,
        "Value": row.value,
        "95 % interval": row.interval,
        "Unit": row.unit,
    }


def _pointing(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was measured on mosaics; a narrow table, which fits a phone."""
    return [
        {
            "Map": kind,
            "Measure": heading,
            "Value": cells[name].value,
            "95 % interval": cells[name].interval,
        }
        for kind, cells in pointing_rows(content)
        for name, heading in pointing_columns().items()
    ]


def _occlusion(content: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"Map": row.name, "Value": row.value, "95 % interval": row.interval}
        for row in occlusion_rows(content)
    ]


def _other_sets(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was measured on other data sets; a narrow table, which fits a phone."""
    return [
        {
            "Data set": f"{each.name} ({', '.join(each.facts)})" if each.facts else each.name,
            "Metric": name,
            "Value": cell.value,
            "95 % interval": cell.interval,
        }
        for each in other_sets(content)
        for name, cell in each.cells.items()
    ]


def _comparison(content: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "Metric": row.name,
            "This": row.this,
            "Other": row.other,
            "Difference": row.difference,
            "This one is": row.verdict,
        }
        for row in comparisons(content)
    ]


def show_report(result: Result) -> None:
    """Show the report with its gallery, or how to make one."""
    if result.report is None:
        st.info("To get a report with a gallery of photographs, run `python bleu_scorer.py`.")
        return
    st.iframe(result.report, height=REPORT_HEIGHT, alt=f"Report of {result.title}")
    st.download_button(
        "Download the report",
        result.report.read_bytes(),
        result.report.name,
        "text/html",
        on_click="ignore",
        icon=":material/download:",
    )


def main() -> None:
    """Lay out the page."""
    st.title("How well does it do?", anchor=False)
    results = available_results()
    if not results:
        st.info("There are no results yet. To score a model, run `python bleu_scorer.py`.")
        return
    index: int = st.selectbox(
        "Evaluation", range(len(results)), format_func=lambda index: results[index].title
    )
    result = results[index]
    scores, report = st.tabs(["Scores", "Report and gallery"])
    with scores:
        st.caption(" · ".join(facts(result.content)))
        show_plots(result)
        show_metrics(result)
    with report:
        show_report(result)
