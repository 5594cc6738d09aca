"""How often captions name objects that references name, and that none names.

The latter is CHAIR (Rohrbach et al. 2018).
"""

from dataclasses import dataclass

import numpy as np

from captioning.evaluation.corpus import Corpus
from captioning.evaluation.objects import ObjectWords
from captioning.evaluation.uncertainty import Statistic, mean, ratio


@dataclass(frozen=True, eq=False)
class Hallucinations:
    """Objects that captions name and no reference does: see ``objects``."""

    words: list[tuple[str, ...]]  # of each image
    statistics: dict[str, Statistic]


def hallucinations(corpus: Corpus, objects: ObjectWords) -> Hallucinations:
    """The rates of CHAIR and of captions with a supported object, x100.

    CHAIR-s is the share of captions that name an object that no reference supports. CHAIR-i is the
    share of such objects among all that are named: sums over images, divided once, as in the
    original. There an object counts as often as it is mentioned; here a word counts once per
    caption. "supported objects" is the share of captions that name an object that a reference
    supports: without it a caption that names nothing would look best.
    """
    pairs = zip(corpus.candidates, corpus.references, strict=True)
    words = [tuple(objects.unsupported(*pair)) for pair in pairs]
    named = np.array([float(len(objects.named(tokens))) for tokens in corpus.candidates])
    unsupported = np.array([float(len(each)) for each in words])
    statistics = {
        "CHAIR-s": mean((unsupported > 0).astype(np.float64), 100),
        "CHAIR-i": ratio(unsupported, named, 100),
        "supported objects": mean((named > unsupported).astype(np.float64), 100),
    }
    return Hallucinations(words, statistics)
