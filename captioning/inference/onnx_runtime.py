"""Runs graphs in ONNX Runtime (https://onnxruntime.ai), on the processor."""

from collections.abc import Mapping

import onnxruntime

from captioning.inference.runtime import Array, Run

_ERRORS = 3  # it logs nothing less than errors


class OnnxRuntime:
    """ONNX Runtime with so many threads."""

    name = "ONNX Runtime"
    precisions = ("float32", "int8")
    small_weights = False

    def __init__(self, threads: int) -> None:
        onnxruntime.set_default_logger_severity(_ERRORS)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = _ERRORS
        # Threads that wait in a loop would take the processor from others; to let them sleep costs
        # 3 % of an encoder's time and 5 % of a step's.
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def compile(self, graph: bytes, bfloat16: bool = False) -> Run:
        """Make an ONNX model run; it has no ``bfloat16``."""
        session = onnxruntime.InferenceSession(
            graph, self._options, providers=["CPUExecutionProvider"]
        )
        session._model_bytes = None  # it would keep the model, of which it has made its own
        names = [output.name for output in session.get_outputs()]

        def run(given: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(names, session.run(names, given), strict=True))

        return run
