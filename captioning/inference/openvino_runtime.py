"""Runs graphs in OpenVINO (https://docs.openvino.ai), on the processor."""

import sys
from collections.abc import Mapping
from queue import Empty, SimpleQueue

import numpy as np

from captioning.inference.onnx_file import Graph
from captioning.inference.runtime import Array, Run

# On import the package would report to its maker, unasked, by this module; without it, it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

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
        # A request serves one thread at a time.
        idle: SimpleQueue[_Request] = SimpleQueue()

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            try:
                request = idle.get_nowait()
            except Empty:
                request = _Request(compiled)
            outputs = request(given)
            idle.put(request)
            return outputs

        return run


class _Request:
    """Runs a compiled model, and remembers its inputs: most stay the same from step to step.

    The package's own call wraps every array anew, which takes as long as a third of a step.
    """

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = [output.any_name for output in compiled.outputs]
        # Each as it was given and as the request reads it, which has to stay in memory.
        self._given: dict[str, tuple[Array, Array]] = {}

    def __call__(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for inputs ``given``, in arrays of their own."""
        for name, array in given.items():
            if name not in self._given or self._given[name][0] is not array:
                whole = array if array.flags.c_contiguous else np.ascontiguousarray(array)
                shared = whole.size > 0 and array.ndim > 0  # what it can share
                self._request.set_tensor(name, openvino.Tensor(whole, shared_memory=shared))
                self._given[name] = array, whole
        self._request.start_async()
        self._request.wait()  # others may run in the meantime
        return {
            name: self._request.get_output_tensor(number).data.copy()
            for number, name in enumerate(self._outputs)
        }
