"""The runtimes that tests run graphs in, and weights for them."""

from captioning.inference.onnx_runtime import OnnxRuntime
from captioning.inference.openvino_runtime import OpenVino

THREADS = 1
RUNTIMES = {"onnx": OnnxRuntime(THREADS), "openvino": OpenVino(THREADS)}


class Lazy:
    """A runtime that compiles a graph when it is first run, for engines that are not all used."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.name = runtime.name
        self.precisions = runtime.precisions
        self.small_weights = runtime.small_weights

    def compile(self, graph, bfloat16=False):
        made = []

        def run(given):
            if not made:
                made.append(self.runtime.compile(graph, bfloat16))
            return made[0](given)

        return run


def weights_of(module, prefix=""):
    """A module's weights as a checkpoint has them."""
    return {f"{prefix}{name}": value.numpy() for name, value in module.state_dict().items()}
