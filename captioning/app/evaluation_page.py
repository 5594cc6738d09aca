"""The second page: how the models scored, with the gallery where there is one."""

from pathlib import Path

import streamlit as st

from captioning.app.results import Result, read_result, read_results
from captioning.evaluation.summary import facts, metric_groups
from captioning.network.checkpoint import SHIPPED_MODEL

RESULTS = Path("results")
REPORT_HEIGHT = 900  # pixels


def available_results() -> list[Result]:
    """The evaluation of the model that ships, then those made here."""
    shipped = read_result(
        SHIPPED_MODEL.with_name("results.json"),
        "The model that ships",
        RESULTS / "plots" / f"{SHIPPED_MODEL.stem}_dev.html",
    )
    return [*([shipped] if shipped else []), *read_results(RESULTS)]


def show_metrics(result: Result) -> None:
    """Show all metrics in tables, with their intervals."""
    st.caption(" · ".join(facts(result.content)))
    for heading, rows in metric_groups(result.content).items():
        st.subheader(heading, anchor=False)
        st.table(
            [
                {
                    "Metric": row.name,
                    "Value": row.value,
                    "95 % interval": row.interval,
                    "Unit": row.unit,
                }
                for row in rows
            ],
            hide_index=True,
        )
    st.caption(f"Made by `{result.content['command']}`")


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
    metrics, report = st.tabs(["Metrics", "Report and gallery"])
    with metrics:
        show_metrics(results[index])
    with report:
        show_report(results[index])
