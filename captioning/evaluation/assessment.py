"""Everything that is measured of a system's captions, put together.

A system is a model, a file of captions that another program wrote, or a baseline. What only the
network can tell has been measured before, where the network is: see ``systems``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from captioning.evaluation import meteor as meteor_program
from captioning.evaluation.agreement_results import AgreementResults
from captioning.evaluation.corpus import (
    CaptionScores,
    Corpus,
    average_scores,
    caption_statistics,
)
from captioning.evaluation.diversity import diversity
from captioning.evaluation.erasure import ErasureResults
from captioning.evaluation.hallucination import hallucinations
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.pointing import CHANCE, FEWEST_PAIRS, PointingResults
from captioning.evaluation.token_metrics import TeacherForced, perplexity
from captioning.evaluation.uncertainty import (
    Array,
    Interval,
    Statistic,
    averaged,
    compare,
    estimates,
    intervals,
    rank_correlation,
    reliability,
)

CALIBRATED_ON = "CIDEr-D"
# A resample lacks rare words, which moves a mean over words away from that of all images.
WITHOUT_INTERVAL = frozenset({"F1 macro"})
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class System:
    """What is scored: one caption per photograph, and what is known about how it was made.

    ``log_probabilities`` are of the whole captions, ``<end>`` included, ``scores`` what the search
    ranked by and ``confidences`` the geometric mean of the words' probabilities, (B,) each.
    ``human`` says that the captions are the references, each to be scored against the others.
    """

    captions: Sequence[str]
    scores: Array | None = None
    log_probabilities: Array | None = None
    confidences: Array | None = None
    forced: TeacherForced | None = None
    erasure: ErasureResults | None = None
    agreement: AgreementResults | None = None
    pointing: PointingResults | None = None
    human: bool = False

    def search_values(self) -> dict[str, Array]:
        """What is known of each caption from the search, by name."""
        values = {
            "log-probability": self.log_probabilities,
            "score": self.scores,
            "confidence": self.confidences,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a system scored.

    ``statistics`` are the corpus metrics by which systems can be compared; ``metrics`` and
    ``intervals`` the values of all metrics; ``images`` (B,) values per image; ``hallucinated`` the
    objects of each caption that no reference names; ``new`` whether training lacks the caption;
    ``leave_one_out`` the metrics with each reference left out in turn, as ``human`` is scored,
    where that was wanted; ``sections`` hold what has another form: "four references", "pointing",
    "attention", "occlusion", "calibration", "notes".
    """

    statistics: dict[str, Statistic]
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    images: dict[str, Array]
    hallucinated: list[tuple[str, ...]]
    new: list[bool] | None
    leave_one_out: dict[str, Statistic]
    human: bool
    sections: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain types, rounded: ``metrics``, ``intervals`` and the sections."""
        return {
            "metrics": _rounded(self.metrics),
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

    ``training`` holds the tokens of the training captions, None where they are not known;
    ``four_references`` adds the metrics with each reference left out in turn. Raises SettingError
    where that, or the score of people, needs more references than there are.
    """
    corpus = Corpus.of(system.captions, references)
    corpora = corpus.references_as_candidates() if system.human else [corpus]
    scores = average_scores(corpora) if system.human else caption_statistics(corpus)
    variety = diversity(corpora[0], training)
    statistics = scores.statistics | _beyond_ngrams(corpora) | variety.statistics
    if system.forced is not None:
        statistics |= _next_word(system.forced, len(system.captions))
    without_one = _leave_one_out(corpus) if four_references and not system.human else {}
    return Assessment(
        statistics=statistics,
        metrics=estimates(statistics) | variety.metrics,
        intervals=intervals({k: v for k, v in statistics.items() if k not in WITHOUT_INTERVAL}),
        images=scores.images | system.search_values(),
        hallucinated=hallucinations(corpora[0], ObjectWords.load()).words,
        new=variety.new,
        leave_one_out=without_one,
        human=system.human,
        sections=_sections(system, scores, without_one) | {"notes": _notes(system, training)},
    )


def _sections(
    system: System, scores: CaptionScores, without_one: Mapping[str, Statistic]
) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    if without_one:
        sections["four references"] = with_intervals(without_one)
    if system.pointing is not None:
        sections["pointing"] = _pointing(system.pointing)
    if system.erasure is not None:
        sections["attention"] = _attention(system.erasure)
    if system.agreement is not None:
        sections["occlusion"] = {
            "photographs": len(system.agreement.words),
            "words": sum(system.agreement.words),
            **with_intervals(system.agreement.statistics()),
        }
    if system.confidences is not None and system.scores is not None:
        quality = scores.images[CALIBRATED_ON]
        sections["calibration"] = _calibration(system.confidences, system.scores, quality)
    return sections


def _notes(system: System, training: Collection[tuple[str, ...]] | None) -> list[str]:
    """What is not measured, and why."""
    notes = []
    if reason := meteor_program.why_not():
        notes.append(reason)
    if len(system.captions) == 1:
        notes.append(
            "CIDEr-D of one photograph is 0 by definition: it weighs n-grams by how few of the "
            "photographs have them, and all of them do; score more photographs."
        )
    if training is None:
        notes.append("Unseen captions are not counted: the training captions are not known.")
    if system.agreement is not None and system.pointing is None:
        notes.append(
            "Whether the maps point at what a word names is not measured: there are fewer than "
            f"{FEWEST_PAIRS} pairs of a photograph of dogs and one of people."
        )
    return notes


def _beyond_ngrams(corpora: Sequence[Corpus]) -> dict[str, Statistic]:
    """METEOR, where it can be measured, and CHAIR: the mean over the corpora."""
    parts = [hallucinations(corpus, ObjectWords.load()).statistics for corpus in corpora]
    if meteor_program.why_not() is None:
        for corpus, statistics in zip(corpora, parts, strict=True):
            statistics["METEOR"] = meteor_program.meteor(corpus.candidates, corpus.references)
    return {name: averaged([part[name] for part in parts]) for name in parts[0]}


def _leave_one_out(corpus: Corpus) -> dict[str, Statistic]:
    """The metrics with each reference left out in turn."""
    corpora = corpus.leave_one_out()
    return average_scores(corpora).statistics | _beyond_ngrams(corpora)


def _next_word(forced: TeacherForced, images: int) -> dict[str, Statistic]:
    statistics = forced.statistics(images)
    loss = statistics.pop("loss")
    return {"loss": loss, "perplexity": perplexity(loss), **statistics}


def score_captions(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """BLEU, ROUGE-L, CIDEr-D and caption F1 alone, as ``metrics`` and ``intervals``."""
    return with_intervals(caption_statistics(Corpus.of(captions, references)).statistics)


def compare_systems(this: Assessment, other: Assessment) -> dict[str, dict[str, Any]]:
    """Two systems on the same photographs, metric by metric, with interval and p-value.

    People are scored against one reference less, so a system that is compared with them must be
    too: it must have been assessed with ``four_references``.
    """
    ours = this.leave_one_out if other.human and not this.human else this.statistics
    theirs = other.leave_one_out if this.human and not other.human else other.statistics
    # F1 averages over a vocabulary, and two models may have two.
    return compare_statistics({k: v for k, v in ours.items() if not k.startswith("F1 ")}, theirs)


def compare_statistics(
    ours: Mapping[str, Statistic], theirs: Mapping[str, Statistic]
) -> dict[str, dict[str, Any]]:
    """Two systems on the same photographs, in the metrics that both have."""
    ends = intervals({name: theirs[name] for name in ours if name in theirs})
    return {
        name: {
            "this": round(comparison.this, _DIGITS),
            "other": round(comparison.other, _DIGITS),
            "other interval": _rounded_ends(ends[name]),
            "difference": round(comparison.difference, _DIGITS),
            "interval": _rounded_ends(comparison.interval),
            "p": round(comparison.p, _DIGITS),
        }
        for name, comparison in compare(ours, theirs).items()
    }


def _pointing(results: PointingResults) -> dict[str, Any]:
    return {
        "pairs": results.pairs,
        "mosaics": results.mosaics,
        "chance": CHANCE,
        "words": results.words(),
        "maps": {name: with_intervals(results.statistics(name)) for name in results.maps},
    }


def _attention(erasure: ErasureResults) -> dict[str, Any]:
    statistics = erasure.statistics()
    interval = intervals({"faithfulness": statistics["faithfulness"]})["faithfulness"]
    return {
        **_rounded(estimates(statistics)),
        "interval": _rounded_ends(interval),
        "greatest entropy": round(float(np.log(erasure.locations)), _DIGITS),
        "words": len(erasure.drops),
    }


def _calibration(confidences: Array, scores: Array, quality: Array) -> dict[str, Any]:
    of_confidence = rank_correlation(confidences, quality)
    of_score = rank_correlation(scores, quality)
    bins = [
        {
            "probability": round(each.confidence, _DIGITS),
            CALIBRATED_ON: round(each.quality, _DIGITS),
            "interval": _rounded_ends(each.interval),
            "images": each.images,
        }
        for each in reliability(confidences, quality)
    ]
    return {
        "of": CALIBRATED_ON,
        "rank correlation": round(of_confidence.value, _DIGITS),
        "interval": _rounded_ends(of_confidence.interval),
        "rank correlation of the score": round(of_score.value, _DIGITS),
        "interval of the score": _rounded_ends(of_score.interval),
        "bins": bins,
    }


def with_intervals(statistics: Mapping[str, Statistic]) -> dict[str, Any]:
    """Plain types, rounded: ``metrics`` and ``intervals``."""
    return {
        "metrics": _rounded(estimates(statistics)),
        "intervals": _rounded_intervals(intervals(statistics)),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in values.items()}


def _rounded_intervals(ends: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: _rounded_ends(interval) for name, interval in ends.items()}


def _rounded_ends(interval: Interval) -> list[float]:
    return [round(end, _DIGITS) for end in interval]
