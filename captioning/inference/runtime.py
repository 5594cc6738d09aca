"""What a program that runs ONNX graphs offers to the engine and to measurements."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from captioning.inference.onnx_file import Graph

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]  # inputs by name to outputs by name


class Runtime(Protocol):
    """A program that runs ONNX graphs."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those of ``engine_config.PRECISIONS`` that it has on this processor."""

    @property
    def small_weights(self) -> bool:
        """Whether it is quicker with 8-bit weights that it multiplies with floats."""

    def compile(self, graph: Graph, bfloat16: bool = False) -> Run:
        """Make a graph run, from any thread; what it returns stays as it is."""
