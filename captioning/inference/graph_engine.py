"""The engine that runs the network as ONNX graphs, in any program that runs such graphs.

Dimensions: B photographs, K beams each, N captions, R words, M ways to hide locations,
L locations, C encoder channels, D decoder width.
"""

import ctypes
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from captioning.data.vocab import START
from captioning.errors import SettingError
from captioning.inference.decoder_graphs import start_graph, step_graph
from captioning.inference.encoder_graph import convolve, encoder_graph
from captioning.inference.engine import Continuations
from captioning.inference.engine_config import PRECISIONS
from captioning.inference.occlusion_graph import occlusion_graph
from captioning.inference.onnx_file import Graph
from captioning.inference.quantisation import Ranges, quantised
from captioning.inference.runtime import Array, Run, Runtime
from captioning.network.config import ModelConfig

AT_ONCE = 1024  # predictions of ``occlude``: their logits are the most memory that it needs
_NEVER = np.float32(-1e9)  # an attention score whose exponential is 0 in any precision


class Memory(NamedTuple):
    """What the decoder attends to: one copy per photograph."""

    features: Array  # (B, L, C)
    keys: Array  # (B, L, A)
    nouns: Array  # (B, N), vocabulary ids of the offered nouns
    confidence: Array  # (B, N), their log-probabilities
    copy_keys: Array  # (B, N, A)
    names: Array  # (B, N, A), the part of the copy keys without the confidence


class State(NamedTuple):
    """The memory, one copy per photograph, and what the decoder remembers of each caption."""

    memory: Memory
    hidden: Array  # (N, D)
    cell: Array  # (N, D)


class GraphEngine:
    """Runs a checkpoint's network in ``runtime``.

    ``weights`` are the checkpoint's, ``size`` the width and height of its images. In precision
    "bfloat16" the encoder computes in that, in "int8" in whole numbers of 8 bits, for which it
    needs the ``ranges`` of its activations; in both the decoder's matrices have 8 bits where that
    is quicker. Raises SettingError for a precision that the runtime does not have here.

    Graphs are made of the weights and compiled one after the other, so that only one is in memory
    more than once at a time; that of ``occlude`` when it is first needed.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        config: ModelConfig,
        size: int,
        runtime: Runtime,
        precision: str = "float32",
        ranges: Ranges | None = None,
    ) -> None:
        _check_precision(precision, runtime, ranges)
        self.precision = precision
        self._runtime = runtime
        self._width, self._vocabulary = config.decoder_dim, config.vocabulary_size
        kind = convolve if precision != "int8" or ranges is None else quantised(ranges)
        encoder = encoder_graph(weights, config.stride_in_1x1, size, kind)
        # What is not in whole numbers may be in bfloat16 as well.
        bfloat16 = precision != "float32" and "bfloat16" in runtime.precisions
        self._encode = self._compile(encoder, bfloat16)
        del encoder  # the caller may drop the encoder's weights from here on
        self._weights = {n: w for n, w in weights.items() if n.startswith("decoder.")}
        small = precision != "float32" and runtime.small_weights
        self._start = self._compile(start_graph(self._weights))
        self._step = self._compile(step_graph(self._weights, small))
        self._occlude: Run | None = None
        self._compiling = threading.Lock()

    def _compile(self, graph: Graph, bfloat16: bool = False) -> Run:
        run = self._runtime.compile(graph, bfloat16)
        _give_back_memory()
        return run

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels (B, 3, H, W) to features (B, L, C)."""
        if not len(images):
            return self.encode(np.zeros((1, *images.shape[1:]), np.float32))[:0]
        # Several at once take no less time, and more memory.
        alone = (images[number : number + 1] for number in range(len(images)))
        features = [self._encode({"images": pixels})["features"] for pixels in alone]
        return features[0] if len(features) == 1 else np.concatenate(features)

    def mean(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Means (B, C) of features over the locations."""
        means: NDArray[np.float32] = features.mean(axis=1)
        return means

    def start(self, features: NDArray[np.float32]) -> State:
        """Begin a caption for each photograph of features (B, L, C)."""
        if not len(features):
            one = self.start(np.zeros((1, *features.shape[1:]), np.float32))
            return self.keep(one, np.zeros(0, np.int64))
        features = np.ascontiguousarray(features)
        blank = np.zeros((len(features), self._width), np.float32)
        return State(Memory(features, **self._start({"features": features})), blank, blank)

    def step(
        self, tokens: NDArray[np.int64], state: State, count: int, end: int
    ) -> tuple[Continuations, State]:
        """Read tokens (N,): the ``count`` likeliest continuations of each, and the new state."""
        count = min(count, self._vocabulary)
        memory = state.memory
        if not len(tokens):
            return _no_continuations(count, memory.keys.shape[1]), state
        each = (len(memory.keys), -1)  # (B, K, ...)
        given = {
            "tokens": tokens.reshape(each),
            "hidden": state.hidden.reshape(*each, self._width),
            "cell": state.cell.reshape(*each, self._width),
            "features": memory.features,
            "keys": memory.keys,
            "nouns": memory.nouns,
            "confidence": memory.confidence,
            "copy_keys": memory.copy_keys,
            "count": np.array([count], np.int64),
            "end": np.array(end, np.int64),
        }
        made = self._step(given)
        rows = len(tokens)
        told = Continuations(
            tokens=made["best_tokens"].reshape(rows, count),
            log_probabilities=made["best"].reshape(rows, count),
            end=made["end_log"].reshape(rows),
            alphas=made["alphas"].reshape(rows, -1),
        )
        hidden, cell = (made[name].reshape(rows, -1) for name in ("new_hidden", "new_cell"))
        return told, State(memory, hidden, cell)

    def reorder(self, state: State, index: NDArray[np.int64]) -> State:
        """Make beams of which beam i has the state of beam ``index[i]``."""
        return State(state.memory, state.hidden[index], state.cell[index])

    def keep(self, state: State, images: NDArray[np.int64]) -> State:
        """Go on with the photographs ``images`` alone."""
        each = len(state.hidden) // max(1, len(state.memory.keys))
        beams = (images[:, None] * each + np.arange(each)).reshape(-1)
        hidden, cell = state.hidden[beams], state.cell[beams]
        return State(Memory(*(part[images] for part in state.memory)), hidden, cell)

    def occlude(
        self,
        features: NDArray[np.float32],
        captions: Sequence[Sequence[int]],
        hidden: NDArray[np.bool_],
        competition: float = 1.0,
    ) -> list[NDArray[np.float32]]:
        """What each word of a caption loses with locations hidden, in nats: B of (T, M).

        Features (B, L, C), the word ids of B captions, and M ways to hide locations (M, L). For
        ``competition`` see ``network.occlusion.drops``.
        """
        ways = _ways(hidden)
        lost = []
        for photograph, caption in enumerate(captions):
            if not len(caption):
                lost.append(np.zeros((0, len(hidden)), np.float32))
                continue
            state = self.start(features[photograph : photograph + 1])
            fixed = ways | {
                name: getattr(state.memory, name)[0]
                for name in ("features", "keys", "nouns", "names")
            }
            words = self._follow(state, caption, len(hidden) + 1)
            told = [self._run_occlusion(fixed | part) for part in words]
            support = np.concatenate([t["score"] - competition * t["competition"] for t in told])
            # (T, 1 + M), at first nothing hidden
            lost.append(support[:, :1] - support[:, 1:])
        return lost

    def _follow(
        self, state: State, caption: Sequence[int], ways: int
    ) -> Iterator[dict[str, Array]]:
        """A photograph's words, each with what the decoder knew before it, some at a time."""
        hidden, cell = [state.hidden], [state.cell]
        last = np.array([START, *caption[:-1]], np.int64)
        for token in last[:-1]:
            _, state = self.step(token[None], state, 1, START)
            hidden.append(state.hidden)
            cell.append(state.cell)
        columns = {
            "last": last,
            "words": np.array(caption, np.int64),
            "hidden": np.concatenate(hidden),
            "cell": np.concatenate(cell),
        }
        count = max(1, AT_ONCE // ways)
        for start in range(0, len(last), count):
            yield {name: column[start : start + count] for name, column in columns.items()}

    def _run_occlusion(self, given: Mapping[str, Array]) -> dict[str, Array]:
        with self._compiling:
            if self._occlude is None:
                self._occlude = self._compile(occlusion_graph(self._weights))
        return self._occlude(given)


def _check_precision(precision: str, runtime: Runtime, ranges: Ranges | None) -> None:
    if precision not in PRECISIONS:
        raise SettingError(f"precision must be {', '.join(PRECISIONS)}, not {precision!r}")
    if precision not in runtime.precisions:
        others = " or ".join(runtime.precisions)
        raise SettingError(f"{runtime.name} has no {precision} on this processor; choose {others}")
    if precision == "int8" and ranges is None:
        raise SettingError(
            "int8 needs the measured ranges of the model's activations, which are not there; "
            "measure them, or choose float32"
        )


def _give_back_memory() -> None:
    """Give the system what compiling has freed: the C library of Linux would keep 100 MB."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def _ways(hidden: NDArray[np.bool_]) -> dict[str, Array]:
    """What hides locations (M, L), as the graph takes it; before them the way to hide nothing."""
    hidden = np.concatenate([np.zeros((1, hidden.shape[1]), bool), hidden])
    counts = hidden.sum(axis=1, keepdims=True)  # (1 + M, 1)
    # Those that are hidden have the score of the mean feature each.
    many = np.where(counts > 0, np.log(np.maximum(counts, 1)), _NEVER)
    shift = np.concatenate([np.where(hidden, _NEVER, 0), many], axis=1)  # (1 + M, L + 1)
    locations = hidden.shape[1]
    mix = ~hidden / locations + counts / locations**2  # (1 + M, L)
    return {"shift": shift.astype(np.float32), "mix": mix.astype(np.float32)}


def _no_continuations(count: int, locations: int) -> Continuations:
    """Those of no hypothesis."""
    return Continuations(
        tokens=np.zeros((0, count), np.int64),
        log_probabilities=np.zeros((0, count), np.float32),
        end=np.zeros(0, np.float32),
        alphas=np.zeros((0, locations), np.float32),
    )
