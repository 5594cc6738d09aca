"""What runs a trained network: the calls that captioning needs.

Dimensions: B photographs, K hypotheses each, N = B * K of all, T words, L locations, C encoder
channels, M ways to hide locations, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]
# (B, L, C), of the engine that made them and on its device: an array, or a tensor. They have a
# shape and a length, and can be sliced by photographs.
Features: TypeAlias = Any


class Continuations(NamedTuple):
    """What may follow each of N hypotheses: the k likeliest tokens, and the end.

    Never all V: the search needs few, and on a GPU all of them would have to cross over.
    """

    tokens: Ids  # (N, k), the likeliest first
    log_probabilities: Floats  # (N, k), natural logarithms
    end: Floats  # (N,), the log-probability of the end
    alphas: Floats  # (N, L), where the network looks for the next token


def likeliest(log_probabilities: Floats, alphas: Floats, count: int, end: int) -> Continuations:
    """The ``count`` likeliest of log-probabilities (N, V), for an engine that has all of them."""
    kept = min(count, log_probabilities.shape[1])
    best = np.argsort(-log_probabilities, axis=1, kind="stable")[:, :kept]  # (N, k)
    values = np.take_along_axis(log_probabilities, best, axis=1)
    return Continuations(best, values, log_probabilities[:, end], alphas)


class Engine(Protocol):
    """Runs a captioning network on B photographs with K hypotheses each, at the start with one.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C), and ``mean`` gives their mean over
    locations (B, C). ``start`` begins one hypothesis per photograph. ``step`` reads the next token
    of each hypothesis (N,) and returns the ``count`` likeliest continuations, or all V where those
    are fewer, with the log-probability of the token ``end``; and the new state. ``reorder`` makes
    hypotheses of which hypothesis i has the state of hypothesis ``index[i]``: the photographs stay
    in order and have equally many, but not always as many as before. ``keep`` goes on with some
    photographs alone: ``images`` are their indices in the batch. Only the engine knows what a state
    holds. Threads may share an engine.
    """

    def encode(self, images: Floats) -> Features: ...

    def mean(self, features: Features) -> Floats: ...

    def start(self, features: Features) -> Any: ...

    def step(self, tokens: Ids, state: Any, count: int, end: int) -> tuple[Continuations, Any]: ...

    def reorder(self, state: Any, index: Ids) -> Any: ...

    def keep(self, state: Any, images: Ids) -> Any: ...


@runtime_checkable
class OccludingEngine(Engine, Protocol):
    """An engine that can also hide parts of photographs, which evidence needs.

    ``occlude`` returns, for the caption of each photograph (its word ids, without ``<end>``), how
    much each of its T words loses in each of M ways to hide locations, in nats: (T, M). Features
    are (B, L, C); ``hidden`` (M, L) is True where a location is hidden. With ``competition`` 1 a
    word loses log-probability; lower values count the gain of other words only in part.
    """

    def occlude(
        self,
        features: Features,
        captions: Sequence[Sequence[int]],
        hidden: NDArray[np.bool_],
        competition: float = 1.0,
    ) -> list[Floats]: ...
