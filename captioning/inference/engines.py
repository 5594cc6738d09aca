"""Which engine runs a model: one of those that are installed."""

import ctypes
import importlib.util
import os
from dataclasses import replace
from pathlib import Path

from captioning.errors import SettingError, needed_for
from captioning.inference.engine import Engine
from captioning.inference.engine_config import AUTO, EngineConfig
from captioning.inference.graph_engine import GraphEngine
from captioning.inference.quantisation import Ranges, quantised_names
from captioning.inference.ranges import MeasuredRanges
from captioning.inference.runtime import Runtime
from captioning.inference.threads import available_threads
from captioning.network.checkpoint import Checkpoint, file_hash

# The package of each engine; the quickest first, as ``make bench`` measures it.
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
# What each can do where the processor can: what is quicker there and captions nearly as well, as
# ``python -m tools.precisions`` measures it.
OFFERED = {
    "openvino": ("float32", "bfloat16", "int8"),
    "onnx": ("float32", "int8"),
    "torch": ("float32", "bfloat16"),
}
_INSTALL = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "'.[train]'"}
_DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # of NVIDIA's cards, on Linux and on Windows


def make_engine(
    checkpoint: Checkpoint, path: str | os.PathLike[str], config: EngineConfig
) -> Engine:
    """Make the engine that runs the checkpoint of the file ``path``.

    Raises SettingError where it is not installed or cannot do what is asked, and RangesError for
    int8 without the ranges of this checkpoint beside it.
    """
    name = choose(config)
    threads = config.threads or available_threads()
    # Each is imported only where it runs: they take their time, and need not be installed.
    if name == "torch":
        _let_threads_sleep()
        from captioning.inference.torch_engine import load_engine

        return load_engine(checkpoint, config.device, config.precision, threads)
    ranges = ranges_of(path, checkpoint) if config.precision == "int8" else None
    return GraphEngine(
        checkpoint.weights,
        checkpoint.model,
        checkpoint.images.size,
        make_runtime(name, threads),
        config.precision,
        ranges,
    )


def make_runtime(name: str, threads: int) -> Runtime:
    """What runs the graphs of the engine "openvino" or "onnx"."""
    if name == "openvino":
        from captioning.inference.openvino_runtime import OpenVino

        return OpenVino(threads)
    from captioning.inference.onnx_runtime import OnnxRuntime

    return OnnxRuntime(threads)


def ranges_of(path: str | os.PathLike[str], checkpoint: Checkpoint) -> Ranges:
    """The measured ranges of the encoder's activations, from the file beside the checkpoint's."""
    names = quantised_names(checkpoint.weights)
    return MeasuredRanges.load(ranges_path(path), file_hash(path), names).ranges


def ranges_path(path: str | os.PathLike[str]) -> Path:
    """The file of ranges that belongs to a checkpoint's: ``model.ranges.json`` to ``model.pth``."""
    return Path(path).with_suffix(".ranges.json")


def choose(config: EngineConfig) -> str:
    """The name of the engine; raises SettingError where none can do what is asked."""
    able = [name for name in PACKAGES if config.precision in OFFERED[name]]
    if config.engine != AUTO:
        if config.engine not in able:
            raise SettingError(
                f"the engine {config.engine} has no {config.precision}, which {' and '.join(able)} "
                "have; choose one of those, or another precision"
            )
        _require(config.engine)
        return config.engine
    if config.device not in (AUTO, "cpu") or (config.device == AUTO and has_gpu()):
        return choose(replace(config, engine="torch"))
    for name in able:
        if is_installed(name):
            return name
    _require("onnx" if "onnx" in able else able[0])  # the one that takes the least space
    raise AssertionError("an engine that is not installed has been required")


def _require(engine: str) -> None:
    """Raise MissingPackageError where an engine's package is not installed."""
    with needed_for(f"the engine {engine}", _INSTALL[engine]):
        if not is_installed(engine):
            raise ModuleNotFoundError(name=PACKAGES[engine])


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
    _let_threads_sleep()
    from captioning.inference.torch_engine import resolve_device

    return resolve_device(AUTO) != "cpu"


def _let_threads_sleep() -> None:
    """Have PyTorch's threads sleep while they wait, which is to be said before it is imported.

    Otherwise they wait in a loop, and take the processor from the very threads that they wait for
    where others compute too: two processes on two cores took five times as long together as one
    after the other. What is in the environment already is left as it is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
