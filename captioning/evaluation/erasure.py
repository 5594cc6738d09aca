"""The results of erasing what captions attended to: see ``faithfulness``, which measures them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioning.evaluation.uncertainty import Statistic, ratio


@dataclass(frozen=True)
class WordDrop:
    """How much log-probability one content word lost, in nats."""

    photograph: int
    drop: float  # without the locations of highest attention
    random_drop: float  # without locations drawn at random, the mean over draws


@dataclass(frozen=True, eq=False)
class ErasureResults:
    """What erasing locations did to the content words of each photograph's caption.

    ``entropies`` has, for each photograph, the entropy of attention summed over its words, and
    their number; ``locations`` is the number of locations that attention is spread over.
    """

    drops: Sequence[WordDrop]
    entropies: Sequence[tuple[float, int]]
    locations: int

    def statistics(self) -> dict[str, Statistic]:
        """Faithfulness, both drops and the entropy of attention, in nats per word.

        The first three are means over content words, the entropy over all words; each is a
        function of sums over photographs.
        """
        count = len(self.entropies)
        photographs = np.array([drop.photograph for drop in self.drops], dtype=np.int64)
        words = np.bincount(photographs, minlength=count).astype(np.float64)

        def per_word(values: list[float]) -> Statistic:
            sums = np.bincount(photographs, np.array(values), count).astype(np.float64)
            return ratio(sums, words)

        entropies = np.array(self.entropies, dtype=np.float64).reshape(-1, 2)
        return {
            "faithfulness": per_word([drop.drop - drop.random_drop for drop in self.drops]),
            "drop": per_word([drop.drop for drop in self.drops]),
            "drop at random places": per_word([drop.random_drop for drop in self.drops]),
            "entropy": ratio(entropies[:, 0], entropies[:, 1]),
        }
