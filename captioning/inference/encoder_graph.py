"""The encoder as an ONNX graph: ResNet-50 with its batch norms folded into the convolutions.

``network.encoder`` and ``network.fast`` are the same in PyTorch, and tests keep both equal.
Dimensions: B images of H x W pixels, C channels, L locations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.inference.onnx_file import FLOAT, Graph
from captioning.network.config import BLOCKS, ENCODER_CHANNELS

Weights = Mapping[str, NDArray[Any]]
_EPSILON = 1e-5  # of the batch norms


@dataclass(frozen=True)
class Convolution:
    """One of the 53 convolutions, with its batch norm folded in."""

    name: str
    weights: Weights
    norm: str
    stride: int
    padding: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the kernel: (out, in, height, width)."""
        return self.stored().shape

    def kernel(self) -> NDArray[np.float32]:
        """The kernel times the batch norm's scale."""
        return self.stored().astype(np.float32) * self.scale()

    def stored(self) -> NDArray[Any]:
        """The kernel as the checkpoint has it."""
        return self.weights[f"{self.name}.weight"]

    def scale(self) -> NDArray[np.float32]:
        """The batch norm's scale (out, 1, 1, 1)."""
        return self._scale().astype(np.float32)[:, None, None, None]

    def bias(self) -> NDArray[np.float32]:
        """What the batch norm adds to each output channel."""
        mean, shift = self._norm("running_mean"), self._norm("bias")
        return (shift - mean * self._scale()).astype(np.float32)

    def apply(self, graph: Graph, x: str, kernel: str) -> str:
        """The operator, of an input and a kernel that are in the graph."""
        return graph.op(
            "Conv",
            x,
            kernel,
            graph.constant(self.bias()),
            kernel_shape=self.shape[2:],
            pads=[self.padding] * 4,
            strides=[self.stride] * 2,
        )

    def _norm(self, name: str) -> NDArray[np.float64]:
        return self.weights[f"{self.norm}.{name}"].astype(np.float64)

    def _scale(self) -> NDArray[np.float64]:
        return self._norm("weight") / np.sqrt(self._norm("running_var") + _EPSILON)


# Adds a convolution of a value to the graph and returns the name of its result.
Convolve = Callable[[Graph, str, Convolution], str]


def convolve(graph: Graph, x: str, convolution: Convolution) -> str:
    """A convolution in the precision of its input."""
    stored = convolution.stored()
    # In the checkpoint's float16: half the bytes have half the copies while they are compiled.
    kernel = graph.weight(stored.dtype.name, stored.shape, lambda: stored)
    kernel = graph.op("Cast", kernel, to=FLOAT)
    kernel = graph.op("Mul", kernel, graph.constant(convolution.scale()))
    return convolution.apply(graph, x, kernel)


def encoder_graph(
    weights: Weights, stride_in_1x1: bool, size: int, convolve: Convolve = convolve
) -> Graph:
    """From "images" (B, 3, size, size), float32, to "features" (B, L, C).

    ``weights`` are those of the checkpoint. For ``stride_in_1x1`` see ``network.encoder.resnet50``.
    """
    graph = Graph("encoder")
    blocks = _Blocks(graph, weights, stride_in_1x1, convolve)
    x = graph.input("images", "float32", ("B", 3, size, size))
    x = blocks.stem(x)
    for layer, count in enumerate(BLOCKS):
        for block in range(count):
            stride = 2 if block == 0 and layer > 0 else 1
            x = blocks.bottleneck(x, f"layer{layer + 1}.{block}", stride)
    rows = graph.op("Reshape", x, graph.constant(np.array([0, ENCODER_CHANNELS, -1])))  # (B, C, L)
    graph.op("Transpose", rows, perm=[0, 2, 1], output="features")
    graph.output("features", "float32", ("B", "L", ENCODER_CHANNELS))
    return graph


class _Blocks:
    """The parts of a ResNet."""

    def __init__(
        self, graph: Graph, weights: Weights, stride_in_1x1: bool, convolve: Convolve
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.stride_in_1x1 = stride_in_1x1
        self.convolve = convolve

    def stem(self, x: str) -> str:
        """Images to a quarter of their size, with 64 channels."""
        x = self.graph.op("Relu", self._convolution(x, "conv1", "bn1", stride=2, padding=3))
        pad, ceil = (0, 1) if self.stride_in_1x1 else (1, 0)
        return self.graph.op(
            "MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[pad] * 4, ceil_mode=ceil
        )

    def bottleneck(self, x: str, name: str, stride: int) -> str:
        """Three convolutions and a shortcut around them (He et al., figure 5, right)."""
        first, second = (stride, 1) if self.stride_in_1x1 else (1, stride)
        shortcut = x
        if name.endswith(".0"):
            path = f"{name}.downsample"
            shortcut = self._convolution(x, f"{path}.0", f"{path}.1", stride)
        y = self._convolution(x, f"{name}.conv1", f"{name}.bn1", first)
        y = self.graph.op("Relu", y)
        y = self._convolution(y, f"{name}.conv2", f"{name}.bn2", second, padding=1)
        y = self.graph.op("Relu", y)
        y = self._convolution(y, f"{name}.conv3", f"{name}.bn3", 1)
        return self.graph.op("Relu", self.graph.op("Add", y, shortcut))

    def _convolution(self, x: str, name: str, norm: str, stride: int, padding: int = 0) -> str:
        path = "encoder.stages."
        convolution = Convolution(path + name, self.weights, path + norm, stride, padding)
        return self.convolve(self.graph, x, convolution)
