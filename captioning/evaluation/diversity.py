"""What captions are like, whatever the photographs show: length, variety, repetition."""

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.evaluation.corpus import Corpus
from captioning.evaluation.uncertainty import Statistic, mean, ratio


@dataclass(frozen=True, eq=False)
class Diversity:
    """What the captions are like, whatever the photographs show.

    ``metrics`` are those that no sum over images gives, so that resampling would bias them;
    ``statistics`` the others; ``new`` (B,) tells whether the caption is in no training caption,
    None where these are not known.
    """

    metrics: dict[str, float]
    statistics: dict[str, Statistic]
    new: list[bool] | None


def diversity(corpus: Corpus, training: Collection[tuple[str, ...]] | None) -> Diversity:
    """Lengths, distinct n-grams, vocabulary, repeated and unseen captions.

    ``length`` and ``reference length`` are means in tokens, ``length ratio`` their quotient;
    ``distinct-n`` is the share of different ones among all n-grams (Li et al. 2016), x100;
    ``vocabulary used`` counts different words; ``most frequent caption`` is the share of images
    that get it, and ``new captions`` the share of captions that ``training`` lacks, both x100.
    """
    captions = [tuple(tokens) for tokens in corpus.candidates]
    lengths = np.array([float(len(tokens)) for tokens in captions])
    expected = np.array([np.mean([len(tokens) for tokens in t]) for t in corpus.references])
    most_frequent, _ = Counter(captions).most_common(1)[0]
    repeated = np.array([float(caption == most_frequent) for caption in captions])
    statistics = {
        "length": mean(lengths),
        "reference length": mean(expected),
        "length ratio": ratio(lengths, expected),
        "most frequent caption": mean(repeated, 100),
    }
    new = None if training is None else [caption not in training for caption in captions]
    if new is not None:
        statistics["new captions"] = mean(np.array(new, dtype=np.float64), 100)
    metrics = {f"distinct-{n}": 100 * _distinct(captions, n) for n in (1, 2)}
    metrics["vocabulary used"] = float(len({token for tokens in captions for token in tokens}))
    return Diversity(metrics, statistics, new)


def _distinct(captions: Sequence[tuple[Hashable, ...]], n: int) -> float:
    ngrams = [tokens[i : i + n] for tokens in captions for i in range(len(tokens) - n + 1)]
    return len(set(ngrams)) / max(1, len(ngrams))
