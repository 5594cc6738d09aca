"""Caption metrics: BLEU, ROUGE-L, CIDEr-D and F1 on tokens, image by image.

BLEU, ROUGE-L and CIDEr-D are those of the coco-caption code (https://github.com/tylin/coco-caption,
on PyPI as pycocoevalcap), number for number, but of token sequences instead of strings. ``corpus``
puts together what a whole corpus scores.
"""

import math
import operator
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = Sequence[Hashable]  # one caption: words or ids

Ngram: TypeAlias = tuple[Hashable, ...]

Counts: TypeAlias = tuple[int, int, int, int]  # one for each n-gram length

MAX_ORDER = 4  # n-grams of 1 to 4 tokens

# coco-caption's constants: without a match BLEU is close to 0, and nothing is divided by 0.
_BLEU_TINY, _BLEU_SMALL = 1e-15, 1e-9

_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0  # tokens; the width of the penalty on a difference in length
_CIDER_SCALE = 10.0


@dataclass(frozen=True, slots=True)
class Ngrams:
    """A caption with its n-grams counted.

    Metrics over n-grams accept it in place of tokens, so that several of them share one count.
    """

    length: int  # tokens
    counts: Mapping[Ngram, int]

    @classmethod
    def of(cls, caption: "Caption") -> "Ngrams":
        """Count the n-grams of 1 to 4 tokens, unless they are counted already."""
        if isinstance(caption, Ngrams):
            return caption
        shifted = [caption[start:] for start in range(MAX_ORDER)]
        orders = (zip(*shifted[:order], strict=False) for order in range(1, MAX_ORDER + 1))
        return cls(len(caption), Counter(chain.from_iterable(orders)))


Caption: TypeAlias = Tokens | Ngrams


def _require_references(references: Sequence[object]) -> None:
    if len(references) == 0:
        raise ValueError("every image needs at least one reference caption, and one has none")


def require_pairs(candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]) -> None:
    """Check that every image has one candidate and at least one reference.

    Raises ValueError where one has not, and TypeError where a caption is a string.
    """
    if len(candidates) != len(references):
        raise ValueError(
            f"there are {len(candidates)} candidate captions but references for {len(references)}"
            " images; give one candidate per image"
        )
    for captions in references:
        _require_references(captions)
    # A string is a sequence too, of letters: it would score without complaint.
    if any(isinstance(caption, str) for caption in chain(candidates, *references)):
        raise TypeError("captions must be sequences of tokens, not strings; tokenize them first")


class BleuStatistics(NamedTuple):
    """What one image adds to corpus BLEU; ``matches`` and ``totals`` by n-gram length, 1 to 4."""

    candidate_length: int
    reference_length: int  # of the reference closest in length; of two, the shorter
    matches: Counts  # n-grams of the candidate, clipped to their highest count in one reference
    totals: Counts  # n-grams of the candidate


def bleu_statistics(candidate: Caption, references: Sequence[Caption]) -> BleuStatistics:
    """Count what one image adds to corpus BLEU (Papineni et al. 2002; the coco-caption code).

    An empty candidate has no n-grams, and its length of 0 counts. Raises ValueError without a
    reference.
    """
    _require_references(references)
    candidate = Ngrams.of(candidate)
    counted = [Ngrams.of(reference) for reference in references]
    length = candidate.length
    closest = min((abs(reference.length - length), reference.length) for reference in counted)[1]
    totals = tuple(max(0, length - order) for order in range(MAX_ORDER))
    matches = _clipped_matches(candidate, [reference.counts for reference in counted])
    return BleuStatistics(length, closest, matches, totals)  # type: ignore[arg-type]


def _clipped_matches(candidate: Ngrams, references: list[Mapping[Ngram, int]]) -> Counts:
    matches = [0] * MAX_ORDER
    for ngram, count in candidate.counts.items():
        highest = max([counts.get(ngram, 0) for counts in references])
        matches[len(ngram) - 1] += min(count, highest)
    return tuple(matches)  # type: ignore[return-value]


def bleu_rows(statistics: Iterable[BleuStatistics]) -> NDArray[np.float64]:
    """One row per image (B, 10), whose sums ``bleu_of_sums`` takes."""
    rows = [(s.candidate_length, s.reference_length, *s.matches, *s.totals) for s in statistics]
    return np.array(rows, dtype=np.float64).reshape(-1, 2 + 2 * MAX_ORDER)


def bleu_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4 (..., 4), 0 to 1, of sums over images (..., 10) of ``bleu_rows``.

    Papineni et al. (2002), as in the coco-caption code: sums are divided once, at the end. Without
    images every value is 0.
    """
    candidate_length, reference_length = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + MAX_ORDER], sums[..., 2 + MAX_ORDER :]
    precisions = (matches + _BLEU_TINY) / (totals + _BLEU_SMALL)  # (..., 4)
    means = np.cumprod(precisions, axis=-1) ** (1 / np.arange(1, MAX_ORDER + 1))
    ratio = (candidate_length + _BLEU_TINY) / (reference_length + _BLEU_SMALL)
    # The brevity penalty; a ratio far below 1 makes it 0, and 1 / ratio may be infinite.
    with np.errstate(over="ignore"):
        brevity = np.exp(np.minimum(0, 1 - 1 / ratio))
    bleus: NDArray[np.float64] = brevity[..., None] * means
    return bleus


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """ROUGE-L of one image, 0 to 1 (Lin 2004; the coco-caption code).

    The F-measure, beta 1.2, of the highest precision and the highest recall over the references,
    which need not be those of one reference. An empty caption counts as one empty word, as in
    coco-caption: it scores 1 where a reference is empty too, and 0 elsewhere. Raises ValueError
    without a reference.
    """
    _require_references(references)
    words = _or_empty_word(candidate)
    positions = _positions(words)
    precision = recall = 0.0
    for reference in map(_or_empty_word, references):
        common = _common_subsequence(positions, len(words), reference)
        precision = max(precision, common / len(words))
        recall = max(recall, common / len(reference))
    if precision == 0:
        return 0.0
    beta_squared = _ROUGE_BETA**2
    return (1 + beta_squared) * precision * recall / (recall + beta_squared * precision)


def _or_empty_word(tokens: Tokens) -> Tokens:
    return tokens if len(tokens) else ("",)


def _positions(tokens: Tokens) -> dict[Hashable, int]:
    """The positions of each token as a bit mask: bit i is set where tokens[i] is that token."""
    positions: dict[Hashable, int] = {}
    for index, token in enumerate(tokens):
        positions[token] = positions.get(token, 0) | 1 << index
    return positions


def _common_subsequence(positions: dict[Hashable, int], length: int, other: Tokens) -> int:
    """Length of the longest common subsequence of two captions, one given by its positions.

    A row of the usual table grows by 0 or 1 from cell to cell, so it fits the bits of one integer
    (0 where it grows) and a row costs one addition: Hyyro (2004), "Bit-parallel LCS-length
    computation revisited".
    """
    full = (1 << length) - 1
    row = full
    for token in other:
        matched = row & positions.get(token, 0)
        row = (row + matched | row - matched) & full
    return length - row.bit_count()


@dataclass(frozen=True)
class DocumentFrequencies:
    """The number of images whose references contain an n-gram.

    Raises ValueError for an n-gram that occurs in more images than there are.
    """

    counts: Mapping[Ngram, int] = field(repr=False)
    images: int

    def __post_init__(self) -> None:
        if max(self.counts.values(), default=0) > self.images:
            raise ValueError(f"an n-gram cannot occur in more than all {self.images} images")

    @classmethod
    def from_references(cls, references: Iterable[Sequence[Caption]]) -> "DocumentFrequencies":
        """Count over images; each are its reference captions."""
        counts: Counter[Ngram] = Counter()
        images = 0
        for captions in references:
            images += 1
            counts.update(set().union(*[Ngrams.of(caption).counts for caption in captions]))
        return cls(counts, images)


class _Vector(NamedTuple):
    """A caption's TF-IDF weights."""

    weights: dict[Ngram, float]
    norms: list[float]  # (4,), one for each n-gram length
    length: int


class CiderD:
    """CIDEr-D against references whose vectors are computed once (Vedantam et al. 2015).

    Equal to pycocoevalcap's ``Cider``, which is CIDEr-D: no stemming, weights clipped to those of
    the reference, a Gaussian penalty (sigma 6) on the difference in length, the mean over 1 to
    4-grams and over references, times 10. An n-gram that no image has counts as if one had it; one
    that all images have weighs nothing, so with a single image every score is 0. An empty caption
    has similarity 0 to every caption, an empty one included. Where all references are empty
    coco-caption crashes, and here every score is 0.

    ``references`` are the reference captions of each image; ``frequencies`` are counted from them
    if not given. Raises ValueError when an image has no reference.
    """

    def __init__(
        self,
        references: Sequence[Sequence[Caption]],
        frequencies: DocumentFrequencies | None = None,
    ) -> None:
        for captions in references:
            _require_references(captions)
        counted = [[Ngrams.of(caption) for caption in captions] for captions in references]
        self.frequencies = frequencies or DocumentFrequencies.from_references(counted)
        self._idf = _inverse_document_frequencies(self.frequencies.images)
        self._references = [list(map(self._vector, captions)) for captions in counted]

    def score(self, candidate: Caption, image_index: int) -> float:
        """CIDEr-D of a caption for one of the images, 0 to 10."""
        vector = self._vector(Ngrams.of(candidate))
        references = self._references[image_index]
        total = sum(_similarity(vector, reference) for reference in references)
        return _CIDER_SCALE * total / len(references)

    def _vector(self, caption: Ngrams) -> _Vector:
        frequency, idf = self.frequencies.counts.get, self._idf
        weights, squares = {}, [0.0] * MAX_ORDER
        for ngram, count in caption.counts.items():
            weight = weights[ngram] = count * idf[frequency(ngram, 0)]
            squares[len(ngram) - 1] += weight * weight
        return _Vector(weights, [math.sqrt(square) for square in squares], caption.length)


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """The clipped and penalised cosine of two captions, the mean over n-gram lengths, 0 to 1."""
    sums = [0.0] * MAX_ORDER
    other_weight = reference.weights.get
    for ngram, weight in candidate.weights.items():
        other = other_weight(ngram)
        if other:
            sums[len(ngram) - 1] += (weight if weight < other else other) * other
    # Where a norm is 0 so is the sum, and any divisor will do.
    norms = map(operator.mul, candidate.norms, reference.norms)
    cosines = [value / (norm or 1.0) for value, norm in zip(sums, norms, strict=True)]
    return sum(cosines) / MAX_ORDER * _length_penalty(candidate.length, reference.length)


def _inverse_document_frequencies(images: int) -> list[float]:
    """The weight of an n-gram that 0, 1, ... ``images`` images have."""
    logs = [math.log(max(1, frequency)) for frequency in range(images + 1)]
    return [logs[-1] - log for log in logs]


def _length_penalty(candidate_length: int, reference_length: int) -> float:
    difference = candidate_length - reference_length
    return math.exp(-(difference**2) / (2 * _CIDER_SIGMA**2))


def cider_d(
    candidates: Sequence[Caption],
    references: Sequence[Sequence[Caption]],
    frequencies: DocumentFrequencies | None = None,
) -> NDArray[np.float64]:
    """CIDEr-D of each image, (B,), 0 to 10; that of a corpus is the mean. See ``CiderD``.

    Published values are 100 times the mean. Raises ValueError when candidates and references
    differ in number or an image has no reference, TypeError when a caption is a string.
    """
    require_pairs(candidates, references)
    scorer = CiderD(references, frequencies)
    scores = [scorer.score(candidate, index) for index, candidate in enumerate(candidates)]
    return np.array(scores, dtype=np.float64)  # (B,)


def caption_f1(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """F1 of the set of a caption's words against the union of its references' words, 0 to 1.

    Precision is the share of the caption's distinct words that some reference has, recall the
    share of the references' distinct words that the caption has. Five references have more words
    than one caption, so a perfect one stays below 1. Without a word on either side it is 0.
    Raises ValueError without a reference.
    """
    _require_references(references)
    words = set(candidate)
    expected: set[Hashable] = set().union(*references)
    either = len(words) + len(expected)
    return 2 * len(words & expected) / either if either else 0.0
