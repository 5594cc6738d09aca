"""The second page: what was measured, with the gallery where there is one."""

from pathlib import Path

import streamlit as st

from captioning.app.results import Result, read_result, read_results
from captioning.evaluation.report import facts, figure_groups
from captioning.network.checkpoint import SHIPPED_MODEL

RESULTS = Path("results")
REPORT_HEIGHT = 900  # pixels


def known() -> list[Result]:
    """The evaluation of the model that ships, and those made here."""
    shipped = read_result(
        SHIPPED_MODEL.with_name("results.json"),
        "The model that ships",
        RESULTS / "plots" / f"{SHIPPED_MODEL.stem}_dev.html",
    )
    return [*([shipped] if shipped else []), *read_results(RESULTS)]


def show_figures(result: Result) -> None:
    """All figures in tables, with their intervals."""
    st.caption(" · ".join(facts(result.figures)))
    for heading, rows in figure_groups(result.figures).items():
        st.subheader(heading, anchor=False)
        st.table(
            [
                {"Figure": row.name, "Value": row.value, "95 % interval": row.interval}
                for row in rows
            ],
            hide_index=True,
        )
    st.caption(f"Made by `{result.figures['command']}`")


def show_report(result: Result) -> None:
    """The report with its gallery, or how to make one."""
    if result.report is None:
        st.info("`python bleu_scorer.py` writes a page with a gallery of photographs here.")
        return
    st.iframe(result.report, height=REPORT_HEIGHT, alt=f"Report of {result.title}")
    st.download_button(
        "The report as one file",
        result.report.read_bytes(),
        result.report.name,
        "text/html",
        on_click="ignore",
        icon=":material/download:",
    )


def main() -> None:
    """Lay out the page."""
    st.title("How well does it do?", anchor=False)
    results = known()
    if not results:
        st.info("Nothing has been measured here yet: `python bleu_scorer.py` does.")
        return
    place: int = st.selectbox(
        "Evaluation", range(len(results)), format_func=lambda place: results[place].title
    )
    figures, gallery = st.tabs(["Figures", "Report and gallery"])
    with figures:
        show_figures(results[place])
    with gallery:
        show_report(results[place])
