"""How far maps agree with occlusion, word by word: see ``agreement``, which measures it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.evaluation.uncertainty import Statistic, ratio


@dataclass(frozen=True)
class AgreementResults:
    """For each kind of map the summed rank correlations of each photograph's words.

    ``correlations`` has (B,) sums by the name of the map, ``words`` (B,) numbers of words.
    """

    correlations: Mapping[str, Sequence[float]]
    words: Sequence[int]

    def statistics(self) -> dict[str, Statistic]:
        """The mean over words, by the name of the map."""
        words = np.array(self.words, dtype=np.float64)
        return {name: ratio(np.array(sums), words) for name, sums in self.correlations.items()}
