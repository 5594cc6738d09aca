"""A result as rows to show: the same names, digits and words in the report and in the app.

A result is what ``bleu_scorer.py`` writes as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from captioning.evaluation import catalogue
from captioning.evaluation.catalogue import METRICS, Metric, metric

_SIGNIFICANT = 0.05  # a p-value below it counts as a difference
_SPLITS = {
    "dev": "development split",
    "test": "test split",
    "train": "training split",
    "all": "whole data set",
}


class Row(NamedTuple):
    """A metric as it is shown."""

    name: str
    unit: str
    about: str
    value: str
    interval: str = ""


class Comparison(NamedTuple):
    """A metric of this system and of another, as it is shown."""

    name: str
    this: str
    other: str
    difference: str
    interval: str
    p: str
    verdict: str


def typeset(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")


def split_name(result: Mapping[str, Any]) -> str:
    """The split that was scored, in words."""
    return _SPLITS.get(result["split"], str(result["split"]))


def facts(result: Mapping[str, Any]) -> list[str]:
    """What was scored and with which settings, in a few words each."""
    known = [f"{result['images']:,} photographs"]
    if "references per image" in result:
        known.append(f"{result['references per image']} references each")
    known += [f"{name} {result[name]}" for name in ("beam", "length penalty") if name in result]
    return [*known, result["date"]] if "date" in result else known


def metric_row(each: Metric, result: Mapping[str, Any]) -> Row:
    """A metric of a result; a dash where the result lacks it."""
    value = result["metrics"].get(each.name)
    ends = result.get("intervals", {}).get(each.name)
    return Row(
        each.name,
        each.unit,
        each.description,
        "\N{EN DASH}" if value is None else typeset(each.format(value)),
        typeset(each.format_interval(ends)) if ends else "",
    )


def metric_rows(names: Iterable[str], result: Mapping[str, Any]) -> list[Row]:
    """Those of the named metrics that a result has."""
    return [metric_row(metric(name), result) for name in names if name in result["metrics"]]


def metric_groups(result: Mapping[str, Any]) -> dict[str, list[Row]]:
    """All metrics of a result under their headings; those that the catalogue lacks come last."""
    known = [each.name for each in METRICS]
    unknown = [name for name in result["metrics"] if name not in known]
    groups: dict[str, list[Row]] = {}
    for name in [*known, *unknown]:
        if name in result["metrics"]:
            row = metric_row(metric(name), result)
            groups.setdefault(metric(name).heading, []).append(row)
    return groups


def leave_one_out(result: Mapping[str, Any]) -> list[tuple[Row, Row]]:
    """Each metric with one reference left out, and with all of them."""
    part = result.get("four references", {"metrics": {}})
    rows = metric_rows((each.name for each in METRICS), part)
    return [(row, metric_row(metric(row.name), result)) for row in rows]


def attention_rows(result: Mapping[str, Any]) -> list[Row]:
    """What was measured of the attention maps."""
    section = result.get("attention", {})
    part = {"metrics": section, "intervals": {"faithfulness": section.get("interval")}}
    rows = metric_rows(catalogue.names_under(catalogue.ATTENTION), part)
    return [_with_greatest(row, section) if row.name == "entropy" else row for row in rows]


def _with_greatest(row: Row, section: Mapping[str, Any]) -> Row:
    """The row of the entropy, with the greatest that it could be where that is known."""
    if "greatest entropy" not in section:
        return row
    greatest = catalogue.format_value("entropy", section["greatest entropy"])
    return row._replace(about=f"{row.about.removesuffix('.')}, {greatest} is evenly over all.")


def comparisons(result: Mapping[str, Any]) -> list[Comparison]:
    """The paired comparison with another system, metric by metric."""
    rows = result.get("against", {}).get("metrics", {})
    return [_comparison(metric(name), row) for name, row in rows.items()]


def _comparison(each: Metric, row: Mapping[str, Any]) -> Comparison:
    # A difference is small compared with the values, so it gets one more digit.
    finer = replace(each, digits=max(each.digits, 2))
    return Comparison(
        name=each.name,
        this=typeset(finer.format(row["this"])),
        other=typeset(finer.format(row["other"])),
        difference=_signed(finer, row["difference"]),
        interval=" to ".join(_signed(finer, end) for end in row["interval"]),
        p="< 0.0001" if row["p"] < 0.0001 else f"{row['p']:.4f}",
        verdict=_verdict(each, row["difference"], row["interval"], row["p"]),
    )


def _signed(each: Metric, difference: float) -> str:
    return ("+" if difference > 0 else "") + typeset(each.format(difference))


def _verdict(each: Metric, difference: float, interval: Sequence[float], p: float) -> str:
    low, high = interval
    if p >= _SIGNIFICANT or low <= 0 <= high:
        return "no clear difference"
    direction = "higher" if difference > 0 else "lower"
    if not each.better:
        return direction
    return "better" if direction == each.better else "worse"
