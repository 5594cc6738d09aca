"""The encoder in whole numbers of 8 bits, and how the ranges that this needs are measured.

Jacob et al. (CVPR 2018), "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference": before each convolution the numbers of its input are rounded to
256 levels of one range, and the kernel of each output channel to 255 levels around 0 (section 2.1).
The graph says so with pairs of QuantizeLinear and DequantizeLinear, for which a runtime puts a
convolution of whole numbers.

A range that holds every number wastes levels on a few large ones. Of the ranges that are a share of
it, that of the least squared error is taken, as in Nagel et al. (2021), "A White Paper on Neural
Network Quantization", section 3.1: on photographs that it was not measured on, features are then
less off than with the whole range or with percentiles.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from captioning.inference.encoder_graph import (
    Convolution,
    Convolve,
    Weights,
    convolve,
    encoder_graph,
)
from captioning.inference.onnx_file import Graph
from captioning.inference.runtime import Runtime

# Of each convolution's input, by the convolution's name: the least and the greatest number.
Ranges = Mapping[str, tuple[float, float]]
# These four of the 53 stay in floats: the first ones, because all that follows is made of their
# numbers, and the last, because its numbers are the features. That takes 10 % more time, and the
# features are 5.6 % off in place of 10 %.
IN_FLOAT = tuple(
    f"encoder.stages.{name}"
    for name in ("conv1", "layer1.0.conv1", "layer1.0.downsample.0", "layer4.2.conv3")
)
_LEVELS = 255  # between the least and the greatest number
_BINS = 2048  # of the histograms: several for each level
_SHARES = np.linspace(0.2, 1, 41)  # of the whole range, that are tried
_LEAST = 1e-9  # a range's length where all numbers are 0


def quantised(ranges: Ranges) -> Convolve:
    """What adds convolutions of whole numbers, of inputs in these ranges."""

    def add(graph: Graph, x: str, convolution: Convolution) -> str:
        if convolution.name in IN_FLOAT:
            return convolve(graph, x, convolution)
        scale, zero = _levels(*ranges[convolution.name])
        levels = graph.constant(np.float32(scale)), graph.constant(np.uint8(zero))
        x = graph.op("DequantizeLinear", graph.op("QuantizeLinear", x, *levels), *levels)
        return convolution.apply(graph, x, _kernel(graph, convolution))

    return add


def _levels(low: float, high: float) -> tuple[float, float]:
    """The distance of the levels of a range, and the number of the one that is 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, _LEAST) / _LEVELS
    return scale, round(-low / scale)


def _kernel(graph: Graph, convolution: Convolution) -> str:
    """A kernel in whole numbers, with a scale for each output channel."""
    kernel = convolution.kernel()
    scale = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), _LEAST) / 127  # (out,)
    rounded = np.rint(kernel / scale[:, None, None, None]).astype(np.int8)
    weight = graph.weight("int8", rounded.shape, lambda: rounded)
    zeros = graph.constant(np.zeros(len(scale), np.int8))
    return graph.op("DequantizeLinear", weight, graph.constant(scale), zeros, axis=0)


def quantised_names(weights: Weights) -> list[str]:
    """The convolutions that need a range."""
    names: list[str] = []

    def add(graph: Graph, x: str, convolution: Convolution) -> str:
        names.append(convolution.name)
        return x

    encoder_graph(weights, False, 32, add)
    return [name for name in names if name not in IN_FLOAT]


def measure_ranges(
    weights: Weights,
    stride_in_1x1: bool,
    photographs: Sequence[NDArray[np.float32]],
    runtime: Runtime,
) -> dict[str, tuple[float, float]]:
    """The ranges of the encoder's activations on normalised photographs (3, S, S).

    Each is encoded twice: for the whole ranges, and for how often the numbers in them occur.
    """
    size = photographs[0].shape[-1]
    graph = encoder_graph(weights, stride_in_1x1, size, _observed)
    run = runtime.compile(graph)

    def inputs() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for pixels in photographs:
            made = run({"images": np.ascontiguousarray(pixels[None])})
            made.pop("features")
            yield from made.items()

    ends: dict[str, tuple[float, float]] = {}
    for name, numbers in inputs():
        low, high = ends.get(name, (0.0, 0.0))
        ends[name] = min(low, float(numbers.min())), max(high, float(numbers.max()))
    counts = {name: np.zeros(_BINS) for name in ends}
    for name, numbers in inputs():
        counts[name] += np.histogram(numbers, _BINS, _with_length(*ends[name]))[0]
    return {name: _best_range(*_with_length(*ends[name]), counts[name]) for name in ends}


def _observed(graph: Graph, x: str, convolution: Convolution) -> str:
    """A convolution whose input is an output of the graph too, under the convolution's name."""
    if convolution.name not in IN_FLOAT:
        graph.op("Identity", x, output=convolution.name)
        graph.output(convolution.name, "float32", ("B", *"CHW"))
    return convolve(graph, x, convolution)


def _with_length(low: float, high: float) -> tuple[float, float]:
    return low, max(high, low + _LEAST)


def _best_range(low: float, high: float, counts: NDArray[np.float64]) -> tuple[float, float]:
    """The range of the least squared error, for numbers that are so often in the bins of another.

    The bins cut (low, high), which has 0 in it, into equal parts.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    middles = (edges[1:] + edges[:-1]) / 2

    def error(share: float) -> float:
        scale, zero = _levels(low * share, high * share)
        levels = np.clip(np.rint(middles / scale) + zero, 0, _LEVELS)
        return float((counts * np.square((levels - zero) * scale - middles)).sum())

    best = min(_SHARES, key=error)
    return float(low * best), float(high * best)
