"""What runs a trained network: the four calls that decoding and scoring need."""

from typing import Any, Protocol

from torch import Tensor


class Engine(Protocol):
    """Runs a captioning network on B photographs with K beams each, at the start with one.

    ``encode`` turns pixels (B, 3, H, W) into features (B, L, C); ``start`` begins a beam a
    photograph; ``step`` reads one token (B * K,) a beam and returns natural log-probabilities of
    the next (B * K, V), alphas (B * K, L) and the new state; ``reorder`` makes beams of which beam
    i has the state of beam ``index[i]``: as many of each photograph as of the others and in their
    order, but not always as many as before; ``keep`` goes on with the photographs ``images``
    alone, places in the batch. A state is the engine's own.
    """

    def encode(self, images: Tensor) -> Tensor: ...

    def start(self, features: Tensor) -> Any: ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Tensor, Any]: ...

    def reorder(self, state: Any, index: Tensor) -> Any: ...

    def keep(self, state: Any, images: Tensor) -> Any: ...
