"""The README's section of scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captioning.errors import CaptioningError
from captioning.evaluation.catalogue import REPORTED, metric
from captioning.evaluation.markdown import in_brackets, name_and_facts, paragraph
from captioning.evaluation.summary import (
    MAP_NAMES,
    OtherSet,
    other_sets,
    pointing_rows,
    split_name,
)

README_BEGIN = "<!-- figures: written by make results -->"
README_END = "<!-- end of figures -->"
_OF_OTHER_SETS = ("BLEU-4", "ROUGE-L", "CIDEr-D", "CHAIR-s", "supported objects")
_OTHERS_INTRODUCTION = """
Photographs that other data sets hold out, captioned in the same way. CHAIR-s is the share of
captions that name an object that no reference names, supported objects that of captions that name
one that a reference names, both in %:"""


def with_results(readme: str, result: Mapping[str, Any]) -> str:
    """Return the README with the scores of ``result`` between its marks.

    Raises CaptioningError when the marks are missing.
    """
    before, begin, rest = readme.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise CaptioningError(
            f"README.md lacks the marks {README_BEGIN} and {README_END}; put them back"
        )
    return f"{before}{begin}\n\n{_readme_section(result)}\n\n{end}{after}"


def _readme_section(result: Mapping[str, Any]) -> str:
    shown = [metric(name) for name in REPORTED if name in result["metrics"]]
    cells = [
        f"{each.format(result['metrics'][each.name])} "
        f"({each.format_interval(result['intervals'][each.name])})"
        for each in shown
    ]
    photographs = f"{result['images']:,} photographs of the {split_name(result)}"
    table = [" | ".join(each.name for each in shown), " | ".join(cells)]
    sets = other_sets(result)
    return "\n\n".join(
        [
            paragraph(
                f"{photographs}, beam {result['beam']}; in brackets the 95 % interval over "
                "photographs:"
            ),
            f"| {table[0]} |\n|{'---|' * len(shown)}\n| {table[1]} |",
            paragraph(" ".join(_remarks(result))),
            *([paragraph(_OTHERS_INTRODUCTION), "\n".join(_readme_others(sets))] if sets else []),
            f"Made by `{result['command']}`; all metrics are in "
            "[results.json](model/results.json).",
        ]
    )


def _readme_others(sets: Sequence[OtherSet]) -> Iterator[str]:
    """A row for each data set, a column for each of a few metrics."""
    names = [name for name in _OF_OTHER_SETS if name in sets[0].cells]
    yield f"| data set | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for each in sets:
        cells = [in_brackets(each.cells[name]) for name in names]
        yield f"| {name_and_facts(each)} | {' | '.join(cells)} |"


def _remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """What else is worth a sentence, as far as it was measured."""
    metrics = result["metrics"]
    if "attention" in result:
        faithfulness, section = metric("faithfulness"), result["attention"]
        yield (
            "Without the image features at the locations that a word looked at most, it loses "
            f"{faithfulness.format(section['faithfulness'])} nats "
            f"({faithfulness.format_interval(section['interval'])}) more than without as many "
            "random ones."
        )
    if "pointing" in result:
        yield from _pointing_remark(result)
    sentences = {
        "new captions": "{} % of the captions are not among the training captions.",
        "most frequent caption": "{} % of the photographs get the most frequent caption.",
        "CHAIR-s": "{} % of the captions name an object that no reference names.",
        "supported objects": "{} % name one that a reference names.",
    }
    for name, sentence in sentences.items():
        if name in metrics:
            yield sentence.format(metric(name).format(metrics[name]))


def _pointing_remark(result: Mapping[str, Any]) -> Iterator[str]:
    """Where evidence and attention point on mosaics, in a sentence."""
    masses = {row.name: row.cells["mass"] for row in pointing_rows(result)}
    shown = [masses.get(MAP_NAMES[kind]) for kind in ("evidence", "attention", "centre")]
    evidence, attention, null = (in_brackets(cell) if cell else "" for cell in shown)
    if evidence and attention:
        chance = f"{result['pointing'].get('chance', 0.5):.2f} is chance"
        rest = f", and a map that always looks at the centre has {null}" if null else ""
        yield (
            "When a photograph with a dog and one with people are put together as one picture, "
            f"{evidence} of the evidence for a dog word or a person word is on the correct half, "
            f"and {attention} of its attention; {chance}{rest}."
        )
