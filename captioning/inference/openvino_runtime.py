"""Runs graphs in OpenVINO (https://docs.openvino.ai), on the processor."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue

import openvino

from captioning.inference.onnx_file import Graph
from captioning.inference.runtime import Array, Run

_DEVICE = "CPU"
_PRECISIONS = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}  # ours and its own names


class OpenVino:
    """OpenVINO with so many threads."""

    name = "OpenVINO"
    # It rounds what it multiplies with them as well, in groups: a step of four beams takes a third
    # of the time, and log-probabilities are 0.03 off.
    small_weights = True

    def __init__(self, threads: int) -> None:
        self._core = openvino.Core()
        able = self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        self.precisions = tuple(ours for ours, theirs in _PRECISIONS.items() if theirs in able)
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # pinned threads wait for others that run there
        }

    def compile(self, graph: Graph, bfloat16: bool = False) -> Run:
        """Make a graph run, with ``bfloat16`` in that precision."""
        model = self._core.read_model(graph.to_bytes())
        settings = self._settings | {"INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}
        compiled = self._core.compile_model(model, _DEVICE, settings)
        names = [output.any_name for output in compiled.outputs]
        # A request serves one thread at a time.
        idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            try:
                request = idle.get_nowait()
            except Empty:
                request = compiled.create_infer_request()
            made = request.infer(given, share_inputs=True)
            outputs = dict(zip(names, made.values(), strict=True))
            idle.put(request)
            return outputs

        return run
