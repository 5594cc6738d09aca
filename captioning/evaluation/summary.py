"""A result as rows to show: the same names, digits and words in the report and in the app.

A result is what ``bleu_scorer.py`` writes as JSON.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from captioning.evaluation import catalogue
from captioning.evaluation.catalogue import METRICS, Metric, metric

# The maps that pointing is measured of, in the words of readers.
MAP_NAMES = {
    "evidence": "Evidence",
    "attention": "Attention",
    "centre": "Centre map",
}
KINDS = {"": "all", "dog": "dog words", "person": "person words"}
OTHER_SETS = (
    "Photographs that other data sets hold out, captioned in the same way. Where a data set has "
    "captions in a manner of their own, their photographs are apart, with the name of that manner "
    "behind the data set's. The values depend on how many references a photograph has: compare "
    "models on one data set, not data sets with each other."
)
_SIGNIFICANT = 0.05  # a p-value below it counts as a difference
_PEOPLE = "People"  # how the human baseline's sentence starts
_SPLITS = {
    "dev": "development split",
    "test": "test split",
    "train": "training split",
    "all": "whole data set",
}


class PlotText(NamedTuple):
    """What a plot says: ``about`` it in a sentence for all readers, ``alt`` instead of it."""

    about: str
    alt: str


PLOT_TEXTS = {
    "metrics": PlotText(
        "Each metric of this result with its 95 % interval, beside the values that the authors of "
        "other systems report and beside people's captions, as far as they were compared.",
        "Dot plot: BLEU, METEOR, ROUGE-L and CIDEr-D of this result, of published systems and of "
        "people. The tables have the numbers.",
    ),
    "pointing": PlotText(
        "How much of the map of a dog word or a person word lies on the correct half of a picture "
        "put together from a photograph of each, and how often its greatest value does, with 95 % "
        "intervals; the dashed line is chance.",
        "Dot plot: mass and peak on the correct half for evidence, attention and a map that always "
        "looks at the centre. The table has the numbers.",
    ),
    "mosaics": PlotText(
        "Two photographs side by side or one above the other as one picture, the caption the model "
        "wrote for it, and for one word of it the evidence and the attention as heat.",
        "Mosaics of a dog photograph and one of people, each with the evidence and the attention "
        "of one word of its caption.",
    ),
    "beams": PlotText(
        "How the scores depend on how many partial captions the search keeps; 1 is greedy search.",
        "CIDEr-D and BLEU-4, with 95 % intervals, against beam width. The table has the numbers.",
    ),
    "lengths": PlotText(
        "How long the captions are, and how long those that people wrote.",
        "Lengths in words: the share of captions and of references that have each length.",
    ),
    "reliability": PlotText(
        "How good captions are whose words the model found likely, in groups from the least to the "
        "most confident.",
        "Mean CIDEr-D, with its 95 % interval, against the mean probability of a word. The table "
        "has the numbers.",
    ),
    "scores": PlotText(
        "How the scores of single photographs are spread.",
        "Histogram: number of photographs by CIDEr-D; mean and median are marked.",
    ),
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
    other_interval: str = ""


class MapRow(NamedTuple):
    """A kind of map as it is shown, with what was measured of it by name; see ``MAP_NAMES``."""

    name: str
    cells: dict[str, Row]


class OtherSet(NamedTuple):
    """Another data set as it is shown: ``facts`` in a few words each, metrics by name."""

    name: str
    facts: list[str]
    cells: dict[str, Row]
    against: list[Comparison]


class NoveltyRow(NamedTuple):
    """A kind of strange picture as it is shown."""

    kind: str
    pictures: str
    auroc: str
    interval: str
    unusual: str


def percent(share: float) -> str:
    """A share of 1 as a percentage, with a digit after the point where it is small."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def typeset(number: str) -> str:
    """A number with a true minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")


SEARCH = ("beam", "length penalty", "repetition penalty")  # what results say of it


def split_name(result: Mapping[str, Any]) -> str:
    """The split that was scored, in words."""
    return _SPLITS.get(result["split"], str(result["split"]))


def facts(result: Mapping[str, Any]) -> list[str]:
    """What was scored and with which settings, in a few words each."""
    known = [f"{result['images']:,} photographs"]
    if "references per image" in result:
        known.append(f"{result['references per image']} references each")
    known += [f"{name} {result[name]}" for name in SEARCH if name in result]
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


def pointing_columns() -> dict[str, str]:
    """What is measured of a map's pointing, by name, each with the heading of its column."""
    return {
        f"{measure} {kind}".rstrip(): f"{measure}, {label}"
        for measure in ("mass", "peak")
        for kind, label in KINDS.items()
    }


def pointing_rows(result: Mapping[str, Any]) -> list[MapRow]:
    """What was measured of pointing, a row for each kind of map."""
    maps = result.get("pointing", {}).get("maps", {})
    return [
        MapRow(
            MAP_NAMES.get(kind, kind),
            {name: _pointing_cell(name, part) for name in pointing_columns()},
        )
        for kind, part in maps.items()
    ]


def _pointing_cell(name: str, part: Mapping[str, Any]) -> Row:
    """One measurement; "mass dog" is the mass of dog words alone."""
    return metric_row(replace(metric(name.partition(" ")[0]), name=name), part)


def novelty_rows(result: Mapping[str, Any]) -> list[NoveltyRow]:
    """How well each kind of strange picture is told from ordinary photographs."""
    section = result.get("novelty", {})
    return [
        NoveltyRow(
            kind,
            f"{part['pictures']:,}",
            f"{part['AUROC']:.3f}",
            " to ".join(f"{end:.3f}" for end in part["interval"]),
            percent(part["called unusual"]),
        )
        for kind, part in section.get("kinds", {}).items()
    ]


def novelty_remark(result: Mapping[str, Any]) -> str:
    """What the rows of novelty mean, in a few sentences; empty where it was not measured."""
    section = result.get("novelty")
    if section is None:
        return ""
    return (
        f"{section['ordinary']:,} photographs of the {split_name(result)} against pictures unlike "
        "those that the model was trained on. AUROC is how often such a picture is farther from "
        "the training photographs than an ordinary one; 0.5 is chance. Of the ordinary "
        f"photographs, {percent(section['ordinary called unusual'])} are called unusual."
    )


def occlusion_rows(result: Mapping[str, Any]) -> list[Row]:
    """How well each kind of map agrees with occlusion."""
    part, shown = result.get("occlusion", {"metrics": {}}), metric(catalogue.OCCLUSION)
    rows = [metric_row(replace(shown, name=kind), part) for kind in part["metrics"]]
    return [row._replace(name=MAP_NAMES.get(row.name, row.name), about="") for row in rows]


def other_sets(result: Mapping[str, Any]) -> list[OtherSet]:
    """What was measured on other data sets; all of them have the same metrics, or a dash."""
    parts = result.get("other sets", [])
    names = [each.name for each in METRICS if any(each.name in part["metrics"] for part in parts)]
    return [
        OtherSet(
            part["name"],
            _facts_of_set(part),
            {name: metric_row(metric(name), part) for name in names},
            comparisons(part),
        )
        for part in parts
    ]


def _facts_of_set(part: Mapping[str, Any]) -> list[str]:
    """How many photographs and references another data set has, as far as that is recorded."""
    references = part.get("references per image")
    known = [f"{part['photographs']:,} photographs"] if "photographs" in part else []
    if references is None:
        return known
    return [*known, f"{references} {'reference' if references == 1 else 'references'} each"]


def people(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The comparison with people by metric, empty where this result was not compared with them.

    People are scored against all references but their own, and there "this" is too.
    """
    against = result.get("against", {})
    return dict(against["metrics"]) if against.get("name", "").startswith(_PEOPLE) else {}


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
        other_interval=typeset(finer.format_interval(row.get("other interval") or ())),
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
