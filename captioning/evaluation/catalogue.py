"""The metrics: what each one is, its unit, how many digits to show, and which direction is better.

Everything that shows a metric reads it here: the report, the model card, the README's table, the
scorer's printed table and the app.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CAPTIONS = "Captions against the references"
NEXT_WORD = "Next word, given the true words before it"
LENGTH = "Length"
DIVERSITY = "Diversity"
OBJECTS = "Objects in captions"
OTHER = "Other metrics"
ATTENTION = "Attention"  # in a section of its own in a result, not among its "metrics"
POINTING = "Pointing"  # in sections of their own too
ONE_CAPTION = "A single caption"


@dataclass(frozen=True)
class Metric:
    """One metric: its ``name`` in a result, one sentence ``about`` it, and how to show its values.

    ``better`` is the better direction, empty where neither is. Metrics of one ``heading`` are
    shown together.
    """

    name: str
    about: str = ""
    heading: str = OTHER
    unit: str = ""
    digits: int = 1
    better: Literal["higher", "lower", ""] = ""

    @property
    def description(self) -> str:
        """What it is and which direction is better."""
        return f"{self.about} {self.better.capitalize()} is better." if self.better else self.about

    def format(self, value: float) -> str:
        """A value with this metric's number of digits."""
        return f"{value:,.{self.digits}f}"

    def format_interval(self, ends: Sequence[float]) -> str:
        """An interval with this metric's number of digits."""
        return " to ".join(self.format(end) for end in ends)


def _captions(name: str, about: str) -> Metric:
    return Metric(name, about, heading=CAPTIONS, unit="x100", better="higher")


def _bleu(order: int) -> Metric:
    about = f"Runs of 1 to {order} words that a reference has too; short captions are penalised."
    return _captions(f"BLEU-{order}", about)


# In the order in which they are shown.
METRICS = (
    _captions(
        "BLEU-1",
        "Share of the captions' words that a reference has too; short captions are penalised.",
    ),
    _bleu(2),
    _bleu(3),
    _bleu(4),
    _captions(
        "METEOR",
        "Words that match the closest reference, also by stem or synonym; wrong order is "
        "penalised.",
    ),
    _captions(
        "ROUGE-L",
        "Longest sequence of words that a reference has in the same order, gaps allowed.",
    ),
    _captions(
        "CIDEr-D",
        "Agreement with the references in runs of one to four words, weighted towards those that "
        "few photographs have. It may exceed 100.",
    ),
    _captions(
        "caption F1",
        "The set of words of a caption against that of all its references together; even a "
        "perfect caption stays below 100.",
    ),
    Metric(
        "loss",
        "How surprising each true next word is.",
        heading=NEXT_WORD,
        unit="nats per token",
        digits=3,
        better="lower",
    ),
    Metric(
        "perplexity",
        "The number of equally likely words that would be as hard to guess between.",
        heading=NEXT_WORD,
        digits=2,
        better="lower",
    ),
    Metric(
        "accuracy",
        "How often the most likely word is the true one.",
        heading=NEXT_WORD,
        unit="%",
        better="higher",
    ),
    Metric(
        "accuracy top-5",
        "How often the true word is among the five most likely.",
        heading=NEXT_WORD,
        unit="%",
        better="higher",
    ),
    Metric(
        "F1 macro",
        "Mean of the words' F1, rare and frequent words weighted equally.",
        heading=NEXT_WORD,
        unit="x100",
        better="higher",
    ),
    Metric(
        "F1 weighted",
        "Mean of the words' F1, weighted by how often each occurs.",
        heading=NEXT_WORD,
        unit="x100",
        better="higher",
    ),
    Metric("length", "Mean length of a caption.", heading=LENGTH, unit="words"),
    Metric("reference length", "Mean length of a reference.", heading=LENGTH, unit="words"),
    Metric(
        "length ratio",
        "Caption length divided by reference length; below 1, captions are shorter.",
        heading=LENGTH,
        digits=3,
    ),
    Metric(
        "vocabulary used",
        "Number of different words in the captions.",
        heading=DIVERSITY,
        unit="words",
        digits=0,
        better="higher",
    ),
    Metric(
        "distinct-1",
        "Different words among all words.",
        heading=DIVERSITY,
        unit="%",
        better="higher",
    ),
    Metric(
        "distinct-2",
        "Different pairs of adjacent words among all such pairs.",
        heading=DIVERSITY,
        unit="%",
        better="higher",
    ),
    Metric(
        "new captions",
        "Captions that are not among the training captions.",
        heading=DIVERSITY,
        unit="%",
        better="higher",
    ),
    Metric(
        "most frequent caption",
        "Photographs that get the most frequent caption.",
        heading=DIVERSITY,
        unit="%",
        better="lower",
    ),
    Metric(
        "CHAIR-s",
        "Captions that name an object that no reference names.",
        heading=OBJECTS,
        unit="%",
        better="lower",
    ),
    Metric(
        "CHAIR-i",
        "Named objects that no reference names, among all named objects.",
        heading=OBJECTS,
        unit="%",
        better="lower",
    ),
    Metric(
        "supported objects",
        "Captions that name an object that a reference names.",
        heading=OBJECTS,
        unit="%",
        better="higher",
    ),
    Metric(
        "faithfulness",
        "The first drop below minus the second; 0 would mean that the maps say nothing about "
        "what the model uses.",
        heading=ATTENTION,
        unit="nats per word",
        digits=3,
        better="higher",
    ),
    Metric(
        "drop",
        "Log-probability that a word loses without the tenth of the locations that got the most "
        "attention.",
        heading=ATTENTION,
        unit="nats per word",
        digits=3,
    ),
    Metric(
        "drop at random places",
        "The same for as many locations drawn at random.",
        heading=ATTENTION,
        unit="nats per word",
        digits=3,
    ),
    Metric(
        "entropy",
        "How widely a word's attention is spread; 0 is all at one location.",
        heading=ATTENTION,
        unit="nats",
        digits=3,
    ),
    Metric(
        "mass",
        "Share of a word's map that lies on the correct half of a mosaic; chance is 0.5.",
        heading=POINTING,
        digits=2,
        better="higher",
    ),
    Metric(
        "peak",
        "How often the greatest value of a word's map lies there; chance is 0.5.",
        heading=POINTING,
        digits=2,
        better="higher",
    ),
    Metric(
        "rank correlation with occlusion",
        "Whether a word's map ranks the locations as hiding each of them in turn does: 1 is the "
        "same order, 0 no relation.",
        heading=POINTING,
        digits=2,
        better="higher",
    ),
    Metric(
        "log-probability",
        "Of the whole caption, its end included.",
        heading=ONE_CAPTION,
        unit="nats",
        digits=2,
        better="higher",
    ),
)
_BY_NAME = {each.name: each for each in METRICS}


def metric(name: str) -> Metric:
    """The metric of a name; one that the catalogue lacks gets a plain entry."""
    return _BY_NAME.get(name, Metric(name))


def format_value(name: str, value: float) -> str:
    """A metric's value with its number of digits."""
    return metric(name).format(value)


def names_under(heading: str) -> tuple[str, ...]:
    """The names of the metrics under a heading."""
    return tuple(each.name for each in METRICS if each.heading == heading)


OCCLUSION = "rank correlation with occlusion"
# What papers report: the columns of every table that compares systems.
REPORTED = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D")
HEADLINES = ("CIDEr-D", "BLEU-4")
# The scores of one photograph in the gallery.
OF_A_PHOTOGRAPH = ("CIDEr-D", "BLEU-4", "ROUGE-L", "caption F1", "log-probability")
