"""The encoder in whole numbers of 8 bits, and the ranges of its activations that this needs.

Jacob et al. (CVPR 2018), "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference": before each convolution the numbers of its input are rounded to
256 levels of one range, and the kernel of each output channel to 255 levels around 0 (section 2.1).
The graph says so with pairs of QuantizeLinear and DequantizeLinear, for which a runtime
puts a convolution of whole numbers.
"""

from collections.abc import Mapping

import numpy as np

from captioning.inference.encoder_graph import Convolution, Convolve
from captioning.inference.onnx_file import Graph

# Of each convolution's input, by the convolution's name: the least and the greatest number.
Ranges = Mapping[str, tuple[float, float]]
_LEVELS = 255  # between the least and the greatest number


def quantised(ranges: Ranges) -> Convolve:
    """What adds convolutions of whole numbers, of inputs in these ranges."""

    def convolve(graph: Graph, x: str, convolution: Convolution) -> str:
        low, high = (min(ranges[convolution.name][0], 0.0), max(ranges[convolution.name][1], 0.0))
        scale = np.float32(max(high - low, 1e-9) / _LEVELS)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, _LEVELS))  # 0 itself is a level
        both = graph.constant(scale), graph.constant(zero)
        x = graph.op("QuantizeLinear", x, *both)
        x = graph.op("DequantizeLinear", x, *both)
        return convolution.apply(graph, x, _kernel(graph, convolution))

    return convolve


def _kernel(graph: Graph, convolution: Convolution) -> str:
    kernel = convolution.kernel()
    scale = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), 1e-12) / 127  # (out,)
    rounded = np.rint(kernel / scale[:, None, None, None]).astype(np.int8)
    weight = graph.weight("int8", rounded.shape, lambda: rounded)
    zeros = graph.constant(np.zeros(len(scale), np.int8))
    return graph.op("DequantizeLinear", weight, graph.constant(scale), zeros, axis=0)
