"""Which engine runs a model: one of those that are installed."""

import ctypes
import importlib.util

from captioning.errors import SettingError
from captioning.inference.engine import Engine
from captioning.inference.engine_config import AUTO, EngineConfig
from captioning.inference.graph_engine import GraphEngine
from captioning.inference.threads import available_threads
from captioning.network.checkpoint import Checkpoint

# The package of each engine; the quickest in float32 first, as ``make bench`` measures it.
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
_DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # of NVIDIA's cards, on Linux and on Windows


def make_engine(checkpoint: Checkpoint, config: EngineConfig) -> Engine:
    """Make the engine that runs a checkpoint.

    Raises SettingError where it is not installed or cannot do what is asked.
    """
    name = choose(config)
    threads = config.threads or available_threads()
    # Each is imported only where it runs: they take their time, and need not be installed.
    if name == "torch":
        from captioning.inference.torch_engine import load_engine

        return load_engine(checkpoint, config.device, config.precision, threads)
    if name == "openvino":
        from captioning.inference.openvino_runtime import OpenVino as Runtime
    else:
        from captioning.inference.onnx_runtime import OnnxRuntime as Runtime
    return GraphEngine(
        checkpoint.weights,
        checkpoint.model,
        checkpoint.images.size,
        Runtime(threads),
        config.precision,
    )


def choose(config: EngineConfig) -> str:
    """The name of the engine; raises SettingError where none can do what is asked."""
    if config.engine != AUTO:
        if not is_installed(config.engine):
            raise SettingError(
                f"the engine {config.engine} is not installed; choose auto, or pip install "
                f"{PACKAGES[config.engine]}"
            )
        return config.engine
    if config.device not in (AUTO, "cpu") or (config.device == AUTO and has_gpu()):
        return choose(EngineConfig("torch", config.precision, config.device, config.threads))
    for name in PACKAGES:
        if is_installed(name):
            return name
    raise SettingError("no engine is installed: pip install onnxruntime")


def is_installed(engine: str) -> bool:
    """Whether the package of an engine can be imported, without importing it."""
    try:
        return importlib.util.find_spec(PACKAGES[engine]) is not None
    except ValueError:  # it is in sys.modules without a specification
        return False


def has_gpu() -> bool:
    """Whether PyTorch could find a GPU, without the second that importing it takes to know.

    Apart from a driver's presence, which is what is looked for, only PyTorch itself can tell.
    """
    if not is_installed("torch") or not any(map(_loads, _DRIVERS)):
        return False
    from captioning.inference.torch_engine import resolve_device

    return resolve_device(AUTO) != "cpu"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
