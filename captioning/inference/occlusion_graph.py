"""What the decoder would say with a part of the photograph hidden, as an ONNX graph.

The same as ``network.occlusion`` in PyTorch, for one photograph at a time; tests keep both equal.
Dimensions: R words of a caption, M ways to hide locations, L locations, C encoder channels,
D decoder width, E embedding width, A attention width, O classes, N offered nouns, V vocabulary.
"""

import numpy as np

from captioning.inference.decoder_layers import Layers, Weights
from captioning.inference.onnx_file import FLOAT, Graph
from captioning.network.config import ENCODER_CHANNELS, LEAST_NOUN


def occlusion_graph(weights: Weights) -> Graph:
    """From words with what the decoder knew before them, to their scores with locations hidden.

    Inputs: "last" (R,), the token before each word, "words" (R,), "hidden" and "cell" (R, D) of the
    state; of the photograph "features" (L, C), "keys" (L, A), "nouns" (N,) and "names" (N, A) as
    the start made them; of the ways to hide "shift" (M, L + 1), which is added to the attention
    scores, the last of the mean feature, and "mix" (M, L), each location's share of the mean of
    what is shown. Outputs: "score" (R, M), the logits of the words, and "competition" (R, M), the
    log of the summed exponentials of all logits.
    """
    graph = Graph("occlusion")
    layers, op = Layers(graph, weights), graph.op
    given = _inputs(layers)
    embedded = layers.embed(given["last"])  # (R, E)
    asking = op("Concat", given["hidden"], embedded, axis=-1)  # (R, D + E)
    context = layers.unsqueeze(layers.gate(asking), 1)
    context = op("Mul", context, _contexts(layers, given, asking))  # (R, M, C)
    hidden = _read(layers, asking, context, layers.unsqueeze(given["cell"], 1))  # (R, M, D)
    confidence = _confidence(layers, given)  # (M, N)
    keys = layers.copy_keys(layers.unsqueeze(given["names"], 0), confidence)  # (M, N, A)
    query = layers.unsqueeze(layers.copy_query(hidden), -2)  # (R, M, 1, A)
    copies = op("MatMul", query, op("Transpose", keys, perm=[0, 2, 1]))  # (R, M, 1, N)
    copies = op("Squeeze", copies, layers.indices(2))
    copies = op("Add", copies, layers.trust(confidence))  # (R, M, N)
    written = layers.output(hidden, context, layers.unsqueeze(embedded, 1))  # (R, M, V)
    logits = layers.with_copies(written, copies, layers.unsqueeze(given["nouns"], 0, 1))
    _scores(layers, logits, given["words"])
    return graph


def _inputs(layers: Layers) -> dict[str, str]:
    width, attention = layers.width, layers.attention
    shapes: dict[str, tuple[str, tuple[int | str, ...]]] = {
        "last": ("int64", ("R",)),
        "words": ("int64", ("R",)),
        "hidden": ("float32", ("R", width)),
        "cell": ("float32", ("R", width)),
        "features": ("float32", ("L", ENCODER_CHANNELS)),
        "keys": ("float32", ("L", attention)),
        "nouns": ("int64", ("N",)),
        "names": ("float32", ("N", attention)),
        "shift": ("float32", ("M", "L + 1")),
        "mix": ("float32", ("M", "L")),
    }
    return {name: layers.graph.input(name, *given) for name, given in shapes.items()}


def _contexts(layers: Layers, given: dict[str, str], asking: str) -> str:
    """The contexts (R, M, C) of words that ask with (R, D + E)."""
    op = layers.graph.op
    # The mean is one more location, which those that are hidden share. A key is linear in its
    # feature, so the key of the mean feature is the mean key.
    features, keys = (
        op("Concat", given[name], op("ReduceMean", given[name], layers.indices(0)), axis=0)
        for name in ("features", "keys")
    )
    scores = layers.attention_scores(keys, asking)  # (R, L + 1, 1)
    scores = op("Transpose", scores, perm=[0, 2, 1])
    alphas = op("Softmax", op("Add", scores, given["shift"]), axis=-1)  # (R, M, L + 1)
    return op("MatMul", alphas, features)


def _read(layers: Layers, asking: str, context: str, cell: str) -> str:
    """The LSTM's new hidden (R, M, D): what the contexts of a word have in common comes once."""
    common = layers.linear(asking, "lstm.weight_hh", "lstm.of_word")
    common = layers.add_bias(common, "lstm.bias_ih", "lstm.bias_hh")  # (R, 4 D)
    gates = layers.linear(context, "lstm.of_context")  # (R, M, 4 D)
    gates = layers.graph.op("Add", gates, layers.unsqueeze(common, 1))
    hidden, _ = layers.read_gates(gates, cell)
    return hidden


def _confidence(layers: Layers, given: dict[str, str]) -> str:
    """The log-probabilities (M, N) of the nouns, for the classifier that reads the mean feature."""
    graph, op = layers.graph, layers.graph.op
    means = op("MatMul", given["mix"], given["features"])  # (M, C)
    logits = layers.linear(means, "classifier.linear.weight")
    logits = layers.add_bias(logits, "classifier.linear.bias")
    of_class = layers.weight("classifier.nouns").astype(np.int64)  # (O,)
    names = op("Equal", graph.constant(of_class[:, None]), layers.unsqueeze(given["nouns"], 0))
    sums = op("MatMul", op("Softmax", logits, axis=-1), op("Cast", names, to=FLOAT))  # (M, N)
    return op("Log", op("Max", sums, graph.constant(np.float32(LEAST_NOUN))))


def _scores(layers: Layers, logits: str, words: str) -> None:
    """Add what is told of logits (R, M, V)."""
    graph, op = layers.graph, layers.graph.op
    most = op("ReduceMax", logits, layers.indices(-1))  # (R, M, 1)
    last = layers.indices(2)
    op("Squeeze", layers.log_sum(logits, most), last, output="competition")
    words = layers.unsqueeze(words, 1, 2)  # (R, 1, 1)
    words = op("Expand", words, op("Shape", most))
    op("Squeeze", op("GatherElements", logits, words, axis=2), last, output="score")
    graph.output("score", "float32", ("R", "M"))
    graph.output("competition", "float32", ("R", "M"))
