"""Everything that is measured of a system's captions, put together.

A system is a model, a file of captions that another program wrote, or a baseline. What needs the
network itself is measured where the network is there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from captioning.evaluation import meteor as meteor_program
from captioning.evaluation.corpus import (
    CaptionScores,
    Corpus,
    caption_statistics,
    diversity,
    human,
    inventions,
    leave_one_out,
)
from captioning.evaluation.evaluate import Forced
from captioning.evaluation.faithfulness import AttentionProbe
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.uncertainty import (
    Array,
    Interval,
    Statistic,
    averaged,
    compare,
    figures_of,
    intervals,
    rank_correlation,
    ratio,
    reliability,
)

CALIBRATED_ON = "CIDEr-D"
# A resample lacks rare words, which moves a mean over words away from the figure of all images.
WITHOUT_INTERVAL = frozenset({"F1 macro"})
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class System:
    """What is scored: a caption for each photograph, and what is known of how it came about.

    ``log_probabilities`` are the captions' own, ``<end>`` included, ``scores`` what the search
    ranked by and ``confidences`` the geometric mean of their words' probabilities, (B,) each.
    ``people`` says that the captions are the references themselves, each to be scored against the
    others.
    """

    captions: Sequence[str]
    scores: Array | None = None
    log_probabilities: Array | None = None
    confidences: Array | None = None
    forced: Forced | None = None
    probe: AttentionProbe | None = None
    people: bool = False


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a system scored.

    ``statistics`` are the corpus figures with which systems can be compared, ``figures`` and
    ``intervals`` all there are; ``images`` (B,) values an image; ``invented`` and ``new`` tell of
    each caption what no reference names, and whether training lacks it; ``without_one`` are figures
    with each reference left out in turn, as ``people`` are scored, where they were asked for;
    ``sections`` hold what has a form of its own: "four references", "attention", "calibration",
    "notes".
    """

    statistics: dict[str, Statistic]
    figures: dict[str, float]
    intervals: dict[str, Interval]
    images: dict[str, Array]
    invented: list[tuple[str, ...]]
    new: list[bool] | None
    without_one: dict[str, Statistic]
    people: bool
    sections: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded: ``metrics``, ``intervals`` and the sections."""
        return {
            "metrics": _rounded(self.figures),
            "intervals": _rounded_intervals(self.intervals),
            **self.sections,
        }


def assess(
    system: System,
    references: Sequence[Sequence[str]],
    training: Collection[tuple[str, ...]] | None,
    four_references: bool = False,
) -> Assessment:
    """Measure a system's captions against each photograph's references.

    ``training`` holds the training captions' tokens, None where they are not known;
    ``four_references`` asks for the figures with each reference left out in turn. Raises
    ValueError where that, or a person's score, needs more references than there are.
    """
    corpus = Corpus.of(system.captions, references)
    turns = _turns(corpus) if system.people else [corpus]
    scores = human(corpus) if system.people else caption_statistics(corpus)
    statistics, notes = scores.statistics | _beyond_ngrams(turns), list[str]()
    if reason := meteor_program.why_not():
        notes.append(reason)
    said = diversity(turns[0], training)
    if training is None:
        notes.append("Unseen captions are not counted: the training captions are not known.")
    statistics |= said.statistics
    if system.forced is not None:
        statistics |= _next_word(system.forced, len(system.captions))
    found = Assessment(
        statistics,
        figures_of(statistics) | said.figures,
        intervals({k: v for k, v in statistics.items() if k not in WITHOUT_INTERVAL}),
        scores.images | _own_values(system),
        inventions(turns[0], ObjectWords.load()).words,
        said.new,
        _without_one(corpus) if four_references and not system.people else {},
        system.people,
    )
    if found.without_one:
        found.sections["four references"] = _figures(found.without_one)
    if system.probe is not None:
        found.sections["attention"] = _attention(system.probe)
    if system.confidences is not None and system.scores is not None:
        found.sections["calibration"] = _calibration(system.confidences, system.scores, scores)
    found.sections["notes"] = notes
    return found


def _beyond_ngrams(turns: Sequence[Corpus]) -> dict[str, Statistic]:
    """METEOR, where it can be measured, and invented objects: the mean over turns."""
    found = [inventions(turn, ObjectWords.load()).statistics for turn in turns]
    if meteor_program.why_not() is None:
        for turn, statistics in zip(turns, found, strict=True):
            statistics["METEOR"] = meteor_program.meteor(turn.candidates, turn.references)
    return {name: averaged([each[name] for each in found]) for name in found[0]}


def _without_one(corpus: Corpus) -> dict[str, Statistic]:
    """The figures with each reference left out in turn."""
    turns = [corpus.without(place) for place in range(corpus.fewest_references)]
    return leave_one_out(corpus).statistics | _beyond_ngrams(turns)


def caption_figures(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """BLEU, ROUGE-L, CIDEr-D and caption F1 alone, as ``metrics`` and ``intervals``."""
    return _figures(caption_statistics(Corpus.of(captions, references)).statistics)


def compared(this: Assessment, other: Assessment) -> dict[str, dict[str, Any]]:
    """Two systems on the same photographs, figure by figure, with interval and p-value.

    People are scored against one reference less, so a system that is compared with them must be
    too: it must have been assessed with ``four_references``.
    """
    figures = this.without_one if other.people and not this.people else this.statistics
    others = other.without_one if this.people and not other.people else other.statistics
    # A word's F1 is of a vocabulary, and two models may have two.
    shared = {name: figure for name, figure in figures.items() if not name.startswith("F1 ")}
    return {
        name: {
            "this": round(found.this, _DIGITS),
            "other": round(found.other, _DIGITS),
            "difference": round(found.difference, _DIGITS),
            "interval": [round(end, _DIGITS) for end in found.interval],
            "p": round(found.p, _DIGITS),
        }
        for name, found in compare(shared, others).items()
    }


def _turns(corpus: Corpus) -> list[Corpus]:
    """Each reference as the caption, one after the other."""
    return [corpus.reference_as_candidate(place) for place in range(corpus.fewest_references)]


def _own_values(system: System) -> dict[str, Array]:
    values = {"log-probability": system.log_probabilities, "score": system.scores}
    values["confidence"] = system.confidences
    return {name: value for name, value in values.items() if value is not None}


def _next_word(forced: Forced, images: int) -> dict[str, Statistic]:
    """Loss and perplexity (of nats a token), accuracies and F1 (x100), teacher-forced."""

    def per_image(values: Array) -> Array:
        return np.bincount(forced.photographs, values, images).astype(np.float64)

    hits = forced.top5 == forced.targets[:, None]  # (M, 5)
    count = per_image(np.ones(len(forced.targets)))
    loss = ratio(per_image(forced.losses), count)
    return {
        "loss": loss,
        "perplexity": Statistic(loss.rows, lambda sums: np.exp(loss.value(sums))),
        "accuracy": ratio(per_image(hits[:, 0].astype(np.float64)), count, 100),
        "accuracy top-5": ratio(per_image(hits.any(axis=1).astype(np.float64)), count, 100),
        **_f1(forced, images, hits[:, 0]),
    }


def _f1(
    forced: Forced, images: int, correct: np.ndarray[Any, np.dtype[np.bool_]]
) -> dict[str, Any]:
    """F1 of each word, averaged over the words that occur: alike, and by how often they do."""
    size = forced.vocabulary_size
    rows = np.zeros((images, 3, size))  # true positives, predicted, actual
    guessed = forced.top5[:, 0]
    ids = (forced.targets[correct], guessed, forced.targets)
    owners = (forced.photographs[correct], forced.photographs, forced.photographs)
    for column, pair in enumerate(zip(owners, ids, strict=True)):
        np.add.at(rows[:, column], pair, 1)

    def parts(sums: Array) -> tuple[Array, Array]:
        right, predicted, actual = sums.reshape(-1, 3, size).transpose(1, 0, 2)  # (R, V) each
        f1 = 2 * right / np.maximum(predicted + actual, 1)
        return f1, actual

    # Of the words that all images have, also in a resample that lacks some: or it would rise there.
    occurring = rows[:, 2].sum(axis=0) > 0  # (V,)

    def macro(sums: Array) -> Array:
        found: Array = 100 * parts(sums)[0][:, occurring].mean(axis=1)
        return found

    def weighted(sums: Array) -> Array:
        f1, actual = parts(sums)
        found: Array = 100 * (f1 * actual).sum(axis=1) / actual.sum(axis=1)
        return found

    flat = rows.reshape(images, 3 * size)
    return {"F1 macro": Statistic(flat, macro), "F1 weighted": Statistic(flat, weighted)}


def _attention(probe: AttentionProbe) -> dict[str, Any]:
    statistics = probe.statistics()
    found: dict[str, Any] = _rounded(figures_of(statistics))
    interval = intervals({"faithfulness": statistics["faithfulness"]})["faithfulness"]
    return found | {
        "interval": [round(end, _DIGITS) for end in interval],
        "greatest entropy": round(float(np.log(probe.places)), _DIGITS),
        "words": len(probe.drops),
    }


def _calibration(confidences: Array, scores: Array, found: CaptionScores) -> dict[str, Any]:
    quality = found.images[CALIBRATED_ON]
    of_confidence = rank_correlation(confidences, quality)
    of_score = rank_correlation(scores, quality)
    bins = [
        {
            "probability": round(each.confidence, _DIGITS),
            CALIBRATED_ON: round(each.quality, _DIGITS),
            "interval": [round(end, _DIGITS) for end in each.interval],
            "images": each.images,
        }
        for each in reliability(confidences, quality)
    ]
    return {
        "of": CALIBRATED_ON,
        "rank correlation": round(of_confidence.value, _DIGITS),
        "interval": [round(end, _DIGITS) for end in of_confidence.interval],
        "rank correlation of the score": round(of_score.value, _DIGITS),
        "interval of the score": [round(end, _DIGITS) for end in of_score.interval],
        "bins": bins,
    }


def _figures(statistics: Mapping[str, Statistic]) -> dict[str, Any]:
    return {
        "metrics": _rounded(figures_of(statistics)),
        "intervals": _rounded_intervals(intervals(statistics)),
    }


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in figures.items()}


def _rounded_intervals(found: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [round(end, _DIGITS) for end in interval] for name, interval in found.items()}
