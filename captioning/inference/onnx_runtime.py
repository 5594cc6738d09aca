"""Runs graphs in ONNX Runtime (https://onnxruntime.ai), on the processor."""

import os
from collections.abc import Mapping

from captioning.inference.onnx_file import Graph
from captioning.inference.runtime import Array, Run

# From 1.29 on the package reports to its maker, unasked, unless this is said before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

onnxruntime.disable_telemetry_events()  # in Windows the variable has no effect
_ERRORS = 3  # it logs nothing less than errors


class OnnxRuntime:
    """ONNX Runtime with so many threads."""

    name = "ONNX Runtime"
    precisions = ("float32", "int8")
    small_weights = False

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def compile(self, graph: Graph, bfloat16: bool = False) -> Run:
        """Make a graph run; it has no ``bfloat16``."""
        options = self._options()
        # In the model they would be twice in memory, as it is read, beside what is made of them.
        model, weights = graph.without_weights()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in weights.values()]
        options.add_external_initializers(list(weights), values)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(names, session.run(names, given), strict=True))

        return run

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS
        # Threads that wait in a loop would take the processor from others; to let them sleep costs
        # 3 % of an encoder's time and 5 % of a step's.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options
