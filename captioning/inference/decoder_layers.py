"""The decoder's layers as ONNX operators, which its graphs are made of.

Each method adds one layer of ``network.decoder.Decoder`` to a graph. Values have any dimensions
before those that are named, mostly B photographs and K beams. Dimensions: I and O of a matrix,
L locations, C encoder channels, D decoder width, E embedding width, A attention width, N offered
nouns, V vocabulary.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.inference.onnx_file import FLOAT, Graph

Weights = Mapping[str, NDArray[Any]]
_LEAST = 1e-12  # a scale's numerator: that of an output whose weights are all 0


class Layers:
    """Adds layers to ``graph``, with the checkpoint's ``weights``.

    With ``small`` large matrices are 8-bit numbers with a scale for each output.
    """

    def __init__(self, graph: Graph, weights: Weights, small: bool = False) -> None:
        self.graph = graph
        self.weights = weights
        self.small = small
        self.vocabulary, self.embedding = self.shape("embedding.weight")
        self.width = self.shape("lstm.weight_hh")[1]
        self.attention = self.shape("attention.query.weight")[0]

    def weight(self, name: str) -> NDArray[Any]:
        """A weight of the decoder; the LSTM's for words and for contexts are there alone too."""
        if name in ("lstm.of_word", "lstm.of_context"):
            both = self.weights["decoder.lstm.weight_ih"]  # (4 D, E + C)
            words = self.embedding
            return both[:, :words] if name == "lstm.of_word" else both[:, words:]
        return self.weights[f"decoder.{name}"]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a weight."""
        return self.weight(name).shape

    def full(self, name: str) -> NDArray[np.float32]:
        """A weight in float32."""
        return self.weight(name).astype(np.float32)

    def number(self, name: str) -> str:
        """A weight that is one number."""
        return self.graph.constant(self.full(name).reshape(()))

    def indices(self, *values: int) -> str:
        """Whole numbers as a constant vector."""
        return self.graph.constant(np.array(values, dtype=np.int64))

    def unsqueeze(self, x: str, *axes: int) -> str:
        """Add dimensions of length 1."""
        return self.graph.op("Unsqueeze", x, self.indices(*axes))

    def linear(self, x: str, *names: str) -> str:
        """x (..., I) times weights (O, I) that stand side by side, without a bias."""
        return self.graph.op("MatMul", x, self._matrix(names))

    def add_bias(self, x: str, *names: str) -> str:
        """x (..., O) plus biases."""
        bias = sum(self.full(name) for name in names)
        return self.graph.op("Add", x, self.graph.constant(np.asarray(bias, dtype=np.float32)))

    def embed(self, tokens: str) -> str:
        """Vectors (..., E) of tokens (...)."""
        table = self.weight("embedding.weight")
        rows = self.graph.weight(table.dtype.name, table.shape, lambda: table)
        return self._cast(self.graph.op("Gather", rows, tokens))

    def attention_scores(self, keys: str, asking: str) -> str:
        """Scores (..., L, 1) of keys (..., L, A), for what asks (..., D + E)."""
        query = self.unsqueeze(self.linear(asking, "attention.query.weight"), -2)
        tuned = self.graph.op("Tanh", self.graph.op("Add", keys, query))  # (..., L, A)
        return self.linear(tuned, "attention.score.weight")

    def gate(self, asking: str) -> str:
        """The gate (..., C) on the contexts."""
        gate = self.add_bias(self.linear(asking, "gate.weight"), "gate.bias")
        return self.graph.op("Sigmoid", gate)

    def read_gates(self, gates: str, cell: str) -> tuple[str, str]:
        """The LSTM's new hidden and cell (..., D), of its gates (..., 4 D) and the cell before."""
        op = self.graph.op
        parts = self.graph.ops("Split", gates, self.indices(*[self.width] * 4), axis=-1, outputs=4)
        enter, forget, new, leave = parts
        kept = op("Mul", op("Sigmoid", forget), cell)
        cells = op("Add", kept, op("Mul", op("Sigmoid", enter), op("Tanh", new)))
        return op("Mul", op("Sigmoid", leave), op("Tanh", cells)), cells

    def output(self, hidden: str, context: str, embedded: str) -> str:
        """Logits (..., V) of the words to write."""
        both = self.graph.op("Concat", hidden, context, axis=-1)
        both = self.linear(both, "output_hidden.weight", "output_context.weight")
        both = self.graph.op("Add", self.add_bias(both, "output_hidden.bias"), embedded)
        vector = self.graph.op("Tanh", both)  # (..., E)
        return self.add_bias(self.linear(vector, "vocabulary.weight"), "vocabulary.bias")

    def copy_query(self, hidden: str) -> str:
        """What asks for a noun to copy (..., A), scaled as its product with the keys should be."""
        query = self.add_bias(self.linear(hidden, "copy.query.weight"), "copy.query.bias")
        scale = np.float32(1 / math.sqrt(self.attention))
        return self.graph.op("Mul", query, self.graph.constant(scale))

    def copy_keys(self, nouns: str, confidence: str) -> str:
        """Keys (..., N, A) of the nouns' part (..., N, A) and log-probabilities (..., N)."""
        sure = self.graph.constant(self.full("copy.sure.weight").reshape(-1))  # (A,)
        sure = self.graph.op("Mul", self.unsqueeze(confidence, -1), sure)
        return self.graph.op("Tanh", self.graph.op("Add", nouns, sure))

    def trust(self, confidence: str) -> str:
        """How much log-probabilities (..., N) alone speak for copying."""
        trust = self.graph.op("Mul", confidence, self.number("copy.trust.weight"))
        return self.graph.op("Add", trust, self.number("copy.trust.bias"))

    def with_copies(self, written: str, copies: str, nouns: str) -> str:
        """Logits (..., V) in which those of the nouns (..., N) hold copying too.

        ``nouns`` has as many dimensions as ``copies`` (..., N), some of length 1.
        """
        op = self.graph.op
        nouns = op("Expand", nouns, op("Shape", copies))
        alone = op("GatherElements", written, nouns, axis=-1)
        most = op("Max", alone, copies)
        rest = [op("Exp", op("Sub", part, most)) for part in (alone, copies)]
        both = op("Add", most, op("Log", op("Add", *rest)))
        return op("ScatterElements", written, nouns, both, axis=-1)

    def log_sum(self, logits: str, most: str) -> str:
        """The log of the summed exponentials (..., 1) of logits (..., V), the largest known."""
        shifted = self.graph.op("Exp", self.graph.op("Sub", logits, most))
        total = self.graph.op("ReduceSum", shifted, self.indices(-1))
        return self.graph.op("Add", most, self.graph.op("Log", total))

    def _matrix(self, names: tuple[str, ...]) -> str:
        """The matrix (I, O) of weights (O, I) side by side."""
        shapes = [self.shape(name) for name in names]
        shape = (sum(inputs for _, inputs in shapes), shapes[0][0])
        if self.small and min(shape) > 1:
            return self._rounded(self._transposed(names).astype(np.float32))
        kind = self.weight(names[0]).dtype.name
        # As they are stored, because half the bytes have half the copies while it is compiled.
        return self._cast(self.graph.weight(kind, shape, lambda: self._transposed(names)))

    def _cast(self, x: str) -> str:
        return self.graph.op("Cast", x, to=FLOAT)

    def _transposed(self, names: tuple[str, ...]) -> NDArray[Any]:
        parts = [self.weight(name) for name in names]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return np.ascontiguousarray(whole.T)

    def _rounded(self, matrix: NDArray[np.float32]) -> str:
        """A matrix (I, O) in 8 bits, with a scale for each output."""
        scale = np.maximum(np.abs(matrix).max(axis=0), _LEAST) / 127  # (O,)
        rounded = np.rint(matrix / scale).astype(np.int8)
        weight = self.graph.weight("int8", matrix.shape, lambda: rounded)
        return self.graph.op("DequantizeLinear", weight, self.graph.constant(scale), axis=1)
