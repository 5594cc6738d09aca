"""The decoder as ONNX graphs: how it starts, and its step.

They are a second statement of what ``network.decoder.Decoder`` computes, which tests keep equal. It
takes one, because without PyTorch there is nothing to trace; and it is the quicker one: its
matrices that read the same are one, beams are a dimension of their own, so that a photograph's
features are not repeated for them, and of the vocabulary only the likeliest words leave the graph.

Dimensions: B photographs, K beams each, L locations, C encoder channels, D decoder width,
E embedding width, A attention width, O classes, N offered nouns, V vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

from captioning.inference.decoder_layers import Layers, Weights
from captioning.inference.onnx_file import Graph
from captioning.network.config import ENCODER_CHANNELS, LEAST_NOUN, OFFERED


def start_graph(weights: Weights) -> Graph:
    """From "features" (B, L, C) to what the steps need of them.

    "keys" (B, L, A), "nouns" (B, N) with their log-probabilities "confidence" (B, N), their
    "copy_keys" (B, N, A), and the part of those that does not depend on the confidence, "names"
    (B, N, A).
    """
    graph = Graph("start")
    layers = Layers(graph, weights)
    features = graph.input("features", "float32", ("B", "L", ENCODER_CHANNELS))
    keys = layers.linear(features, "attention.key.weight")
    graph.op("Add", keys, graph.constant(layers.full("attention.key.bias")), output="keys")
    mean = graph.op("ReduceMean", features, layers.indices(1), keepdims=0)  # (B, C)
    logits = layers.linear(mean, "classifier.linear.weight")
    logits = layers.add_bias(logits, "classifier.linear.bias")
    _offer(layers, graph.op("Softmax", logits, axis=-1))
    names = layers.attention
    graph.output("keys", "float32", ("B", "L", names))
    graph.output("nouns", "int64", ("B", "N"))
    graph.output("confidence", "float32", ("B", "N"))
    graph.output("copy_keys", "float32", ("B", "N", names))
    graph.output("names", "float32", ("B", "N", names))
    return graph


def _offer(layers: Layers, probabilities: str) -> None:
    """Add the likeliest nouns, of the probabilities (B, O) of the classes."""
    graph, op = layers.graph, layers.graph.op
    words, classes = _nouns_of_classes(layers)  # (U,), (O,)
    first = op("Gather", probabilities, layers.indices(0), axis=1)  # (B, 1)
    zeros = op("Mul", first, graph.constant(np.zeros(len(words), np.float32)))  # (B, U)
    into = op("Expand", graph.constant(classes[None]), op("Shape", probabilities))
    by_noun = op("ScatterElements", zeros, into, probabilities, axis=1, reduction="add")
    count = min(OFFERED, layers.vocabulary)
    best, index = graph.ops("TopK", by_noun, layers.indices(count), axis=1, outputs=2)
    lowest = graph.constant(np.float32(LEAST_NOUN))
    confidence = op("Log", op("Max", best, lowest), output="confidence")
    op("Gather", graph.constant(words), index, output="nouns")
    embedded = layers.full("embedding.weight")[words]  # (U, E)
    table = embedded @ layers.full("copy.noun.weight").T + layers.full("copy.noun.bias")  # (U, A)
    names = op("Gather", graph.constant(table), index, output="names")
    op("Identity", layers.copy_keys(names, confidence), output="copy_keys")


def _nouns_of_classes(layers: Layers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The nouns that can be offered (U,), and for each class (O,) the index of its noun.

    Where they are fewer than are offered, other words make up the number, as in the network.
    """
    nouns = layers.weights["decoder.classifier.nouns"].astype(np.int64)
    words, classes = np.unique(nouns, return_inverse=True)
    missing = min(OFFERED, layers.vocabulary) - len(words)
    if missing > 0:
        others = np.setdiff1d(np.arange(layers.vocabulary, dtype=np.int64), words)
        words = np.concatenate([words, others[:missing]])
    return words, classes.reshape(-1).astype(np.int64)


def step_graph(weights: Weights, small: bool = False) -> Graph:
    """One step of B * K captions: ``Decoder.step`` and the best of ``Decoder.logits``.

    Inputs: "tokens" (B, K); "hidden" and "cell" (B, K, D); "features" (B, L, C) and what the start
    made of them; "count" (1,), how many continuations, and "end" (), the token of the end. Outputs:
    "best" (B, K, count), log-probabilities, and their "best_tokens", the likeliest first; the
    end's log-probability "end_log" (B, K); "alphas" (B, K, L); "new_hidden", "new_cell". For
    ``small`` see ``Layers``.
    """
    graph = Graph("step")
    layers, op = Layers(graph, weights, small), graph.op
    given = _inputs(layers)
    embedded = layers.embed(given["tokens"])  # (B, K, E)
    asking = op("Concat", given["hidden"], embedded, axis=-1)  # (B, K, D + E)
    scores = layers.attention_scores(layers.unsqueeze(given["keys"], 1), asking)  # (B, K, L, 1)
    scores = op("Squeeze", scores, layers.indices(-1))
    alphas = op("Softmax", scores, axis=-1, output="alphas")
    context = op("Mul", layers.gate(asking), op("MatMul", alphas, given["features"]))  # (B, K, C)
    gates = op("Concat", asking, context, axis=-1)
    gates = layers.linear(gates, "lstm.weight_hh", "lstm.weight_ih")
    gates = layers.add_bias(gates, "lstm.bias_ih", "lstm.bias_hh")
    hidden, cell = layers.read_gates(gates, given["cell"])
    op("Identity", hidden, output="new_hidden")
    op("Identity", cell, output="new_cell")
    keys = op("Transpose", given["copy_keys"], perm=[0, 2, 1])  # (B, A, N)
    copies = op("MatMul", layers.copy_query(hidden), keys)  # (B, K, N)
    copies = op("Add", copies, layers.unsqueeze(layers.trust(given["confidence"]), 1))
    nouns = layers.unsqueeze(given["nouns"], 1)
    logits = layers.with_copies(layers.output(hidden, context, embedded), copies, nouns)
    _continuations(layers, logits, given["count"], given["end"])
    return graph


def _inputs(layers: Layers) -> dict[str, str]:
    width, attention = layers.width, layers.attention
    shapes: dict[str, tuple[str, tuple[int | str, ...]]] = {
        "tokens": ("int64", ("B", "K")),
        "hidden": ("float32", ("B", "K", width)),
        "cell": ("float32", ("B", "K", width)),
        "features": ("float32", ("B", "L", ENCODER_CHANNELS)),
        "keys": ("float32", ("B", "L", attention)),
        "nouns": ("int64", ("B", "N")),
        "confidence": ("float32", ("B", "N")),
        "copy_keys": ("float32", ("B", "N", attention)),
        "count": ("int64", (1,)),
        "end": ("int64", ()),
    }
    return {name: layers.graph.input(name, *given) for name, given in shapes.items()}


def _continuations(layers: Layers, logits: str, count: str, end: str) -> None:
    """Add what is told of logits (B, K, V): the best, and the end."""
    graph, op = layers.graph, layers.graph.op
    best, _ = graph.ops("TopK", logits, count, axis=-1, outputs=("best_logits", "best_tokens"))
    most = op("Slice", best, *(layers.indices(each) for each in (0, 1, 2)))  # (B, K, 1)
    total = layers.log_sum(logits, most)
    op("Sub", best, total, output="best")
    of_end = op("Gather", logits, end, axis=2)  # (B, K)
    op("Sub", of_end, op("Squeeze", total, layers.indices(2)), output="end_log")
    graph.output("best", "float32", ("B", "K", "count"))
    graph.output("best_tokens", "int64", ("B", "K", "count"))
    graph.output("end_log", "float32", ("B", "K"))
    graph.output("alphas", "float32", ("B", "K", "L"))
    graph.output("new_hidden", "float32", ("B", "K", layers.width))
    graph.output("new_cell", "float32", ("B", "K", layers.width))
