"""Scores any system's captions: corpus figures with intervals, and a row an image.

The figures follow coco-caption's definitions with its tokens. What needs the network itself (loss,
accuracy, attention) is not here, so that captions of other systems get the same treatment.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.errors import SettingError
from captioning.evaluation.metrics import (
    CiderD,
    DocumentFrequencies,
    Ngrams,
    bleu_of_sums,
    bleu_rows,
    bleu_statistics,
    caption_f1,
    corpus_bleu,
    rouge_l,
)
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.uncertainty import Array, Statistic, averaged, mean, ratio

Tokens = list[str]


@dataclass(frozen=True)
class Corpus:
    """Captions and references as tokens, image by image; every image has a reference."""

    candidates: list[Tokens]
    references: list[list[Tokens]]

    @classmethod
    def of(cls, captions: Sequence[str], references: Sequence[Sequence[str]]) -> "Corpus":
        """Tokenise as coco-caption does. An empty caption stays, as a caption without tokens."""
        return cls(
            [ptb_tokenize(caption) for caption in captions],
            [[ptb_tokenize(text) for text in texts] for texts in references],
        )

    def without(self, place: int) -> "Corpus":
        """The same captions against all references but the one at ``place`` of each image."""
        kept = [[*texts[:place], *texts[place + 1 :]] for texts in self.references]
        return Corpus(self.candidates, kept)

    def reference_as_candidate(self, place: int) -> "Corpus":
        """The reference at ``place`` of each image against its others: what a person scores."""
        candidates = [texts[place] for texts in self.references]
        return Corpus(candidates, self.without(place).references)

    @property
    def fewest_references(self) -> int:
        """How many references every image has at least."""
        return min(len(texts) for texts in self.references)


@dataclass(frozen=True, eq=False)
class CaptionScores:
    """What captions score: each image's own figures, and corpus figures as functions of sums."""

    images: dict[str, Array]  # (B,) each, x100
    statistics: dict[str, Statistic]


def caption_statistics(corpus: Corpus) -> CaptionScores:
    """BLEU-1..4, ROUGE-L, CIDEr-D and caption F1 against the references, x100.

    An image's own BLEU-4 is coco-caption's, of that image as a corpus: almost 0 where no four words
    in a row match. Document frequencies of CIDEr-D are those of all images, also in resamples.
    """
    counted = [Ngrams.of(tokens) for tokens in corpus.candidates]
    references = [[Ngrams.of(tokens) for tokens in texts] for texts in corpus.references]
    bleus = list(map(bleu_statistics, counted, references))
    scorer = CiderD(references, DocumentFrequencies.from_references(references))
    pairs = list(zip(corpus.candidates, corpus.references, strict=True))
    images = {
        "BLEU-4": np.array([corpus_bleu([own])[3] for own in bleus]),
        "ROUGE-L": np.array([rouge_l(*pair) for pair in pairs]),
        "CIDEr-D": np.array([scorer.score(own, place) for place, own in enumerate(counted)]),
        "caption F1": np.array([caption_f1(*pair) for pair in pairs]),
    }
    rows = bleu_rows(bleus)
    statistics = {f"BLEU-{order}": _bleu(rows, order) for order in range(1, 5)}
    for name in ("ROUGE-L", "CIDEr-D", "caption F1"):
        statistics[name] = mean(images[name], 100)
    return CaptionScores({name: 100 * values for name, values in images.items()}, statistics)


def _bleu(rows: Array, order: int) -> Statistic:
    return Statistic(rows, lambda sums: 100 * bleu_of_sums(sums)[:, order - 1])


def leave_one_out(corpus: Corpus) -> CaptionScores:
    """The mean over leaving out each reference in turn: comparable with ``human``."""
    return _mean_over_places(corpus, Corpus.without)


def human(corpus: Corpus) -> CaptionScores:
    """What people score: each reference against the others, the mean over references."""
    return _mean_over_places(corpus, Corpus.reference_as_candidate)


def _mean_over_places(corpus: Corpus, turn: Callable[[Corpus, int], Corpus]) -> CaptionScores:
    places = corpus.fewest_references
    if places < 2:
        raise SettingError(
            "leaving a reference out needs at least two an image, and one image has only one"
        )
    parts = [caption_statistics(turn(corpus, place)) for place in range(places)]
    images = {name: np.mean([part.images[name] for part in parts], 0) for name in parts[0].images}
    names = parts[0].statistics
    return CaptionScores(
        images, {name: averaged([part.statistics[name] for part in parts]) for name in names}
    )


@dataclass(frozen=True, eq=False)
class Diversity:
    """What the captions are like, whatever the photographs show.

    ``figures`` holds what no sum over images gives, so that resampling would bias it;
    ``statistics`` the rest; ``new`` (B,) whether the caption is in no training caption, None where
    these are not known.
    """

    figures: dict[str, float]
    statistics: dict[str, Statistic]
    new: list[bool] | None


def diversity(corpus: Corpus, training: Collection[tuple[str, ...]] | None) -> Diversity:
    """Lengths, distinct n-grams, words used, repeated and unseen captions.

    ``length`` and ``reference length`` are means in tokens, ``length ratio`` their quotient;
    ``distinct-n`` is the share of different ones among all n-grams said (Li et al. 2016), x100;
    ``vocabulary used`` counts different words; ``most frequent caption`` is the share of images
    that get it, and ``new captions`` the share of captions that ``training`` lacks, both x100.
    """
    said = [tuple(tokens) for tokens in corpus.candidates]
    lengths = np.array([float(len(tokens)) for tokens in said])
    expected = np.array([np.mean([len(tokens) for tokens in t]) for t in corpus.references])
    most_frequent, _ = Counter(said).most_common(1)[0]
    statistics = {
        "length": mean(lengths),
        "reference length": mean(expected),
        "length ratio": ratio(lengths, expected),
        "most frequent caption": mean(np.array([float(c == most_frequent) for c in said]), 100),
    }
    new = None if training is None else [caption not in training for caption in said]
    if new is not None:
        statistics["new captions"] = mean(np.array(new, dtype=np.float64), 100)
    figures = {f"distinct-{n}": 100 * _distinct(said, n) for n in (1, 2)}
    figures["vocabulary used"] = float(len({token for tokens in said for token in tokens}))
    return Diversity(figures, statistics, new)


def _distinct(captions: Sequence[tuple[str, ...]], n: int) -> float:
    ngrams = [tokens[i : i + n] for tokens in captions for i in range(len(tokens) - n + 1)]
    return len(set(ngrams)) / max(1, len(ngrams))


@dataclass(frozen=True, eq=False)
class Inventions:
    """Objects that captions name and no reference does: see ``objects``."""

    words: list[tuple[str, ...]]  # of each image
    statistics: dict[str, Statistic]


def inventions(corpus: Corpus, objects: ObjectWords) -> Inventions:
    """CHAIR-s, the share of captions that invent an object, and CHAIR-i, of objects; x100."""
    pairs = zip(corpus.candidates, corpus.references, strict=True)
    invented = [tuple(objects.unsupported(*pair)) for pair in pairs]
    named = np.array([float(len(objects.named(tokens))) for tokens in corpus.candidates])
    wrong = np.array([float(len(words)) for words in invented])
    statistics = {
        "CHAIR-s": mean((wrong > 0).astype(np.float64), 100),
        "CHAIR-i": ratio(wrong, named, 100),
    }
    return Inventions(invented, statistics)
