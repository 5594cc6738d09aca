"""What runs a trained network: the calls that captioning needs, on NumPy's arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# Features (B, L, C) belong to the engine that made them, and may be elsewhere than in the
# processor's memory. Slices of them are those of some photographs; they have a shape and a length.
Features = Any


class Continuations(NamedTuple):
    """What may come next after each of N hypotheses: its k likeliest next tokens, best first."""

    tokens: NDArray[np.int64]  # (N, k)
    log_probabilities: NDArray[np.float32]  # (N, k), natural logarithms
    end: NDArray[np.float32]  # (N,), the log-probability of the end
    alphas: NDArray[np.float32]  # (N, L)


class Engine(Protocol):
    """Runs a captioning network on B photographs with K hypotheses each, at the start with one.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C), and ``mean`` features into their
    means over the locations (B, C). ``start`` begins one hypothesis per photograph. ``step`` reads
    the next token of each hypothesis (N,), N = B * K, those of a photograph next to each other, and
    returns its ``count`` likeliest continuations, or as many as there are tokens, with the new
    state; ``end`` is the token that ends a caption. ``reorder`` makes hypotheses of which number i
    has the state of number ``index[i]``: the photographs stay in order and have equally many, but
    not always as many as before. ``keep`` goes on with some photographs alone: ``images`` are their
    indices in the batch. Only the engine knows what a state holds. Several threads may share one.
    """

    def encode(self, images: NDArray[np.float32]) -> Features: ...

    def mean(self, features: Features) -> NDArray[np.float32]: ...

    def start(self, features: Features) -> Any: ...

    def step(
        self, tokens: NDArray[np.int64], state: Any, count: int, end: int
    ) -> tuple[Continuations, Any]: ...

    def reorder(self, state: Any, index: NDArray[np.int64]) -> Any: ...

    def keep(self, state: Any, images: NDArray[np.int64]) -> Any: ...


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
    ) -> list[NDArray[np.float32]]: ...
