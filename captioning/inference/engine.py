"""What runs a trained network: the calls that captioning needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # an engine of another kind needs no torch to be one
    from collections.abc import Sequence

    from torch import Tensor


class Engine(Protocol):
    """Runs a captioning network on B photographs with K beams each, at the start with one.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C). ``start`` begins one beam per
    photograph. ``step`` reads the next token of each beam (B * K,) and returns natural
    log-probabilities of the one after it (B * K, V), alphas (B * K, L) and the new state.
    ``reorder`` makes beams of which beam i has the state of beam ``index[i]``: the photographs stay
    in order and have equally many beams, but not always as many as before. ``keep`` goes on with
    some photographs alone: ``images`` are their indices in the batch. Only the engine knows what a
    state holds.
    """

    def encode(self, images: Tensor) -> Tensor: ...

    def start(self, features: Tensor) -> Any: ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]: ...

    def reorder(self, state: Any, index: Tensor) -> Any: ...

    def keep(self, state: Any, images: Tensor) -> Any: ...


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
        features: Tensor,
        captions: Sequence[Sequence[int]],
        hidden: Tensor,
        competition: float = 1.0,
    ) -> list[Tensor]: ...
