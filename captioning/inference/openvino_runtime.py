"""Runs graphs in OpenVINO (https://docs.openvino.ai), on the processor."""

from collections.abc import Mapping
from queue import Empty, SimpleQueue
from typing import Any

import openvino
from numpy.typing import NDArray

from captioning.inference.graph_engine import Run


class OpenVino:
    """OpenVINO with so many threads."""

    chunk = 1

    def __init__(self, threads: int, precision: str = "f32") -> None:
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # pinned threads wait for others that run there
        }

    def compile(self, graph: bytes) -> Run:
        """Make an ONNX model run."""
        model = self._core.read_model(graph)
        compiled = self._core.compile_model(model, "CPU", self._settings)
        names = [output.any_name for output in compiled.outputs]
        # A request serves one thread at a time.
        idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

        def run(given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            try:
                request = idle.get_nowait()
            except Empty:
                request = compiled.create_infer_request()
            made = request.infer(given, share_inputs=True)
            outputs = dict(zip(names, made.values(), strict=True))
            idle.put(request)
            return outputs

        return run
