"""How a model is run: which engine, in which precision, where. Nothing here needs numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

from captioning.errors import SettingError

AUTO = "auto"
ENGINES = (AUTO, "onnx", "openvino", "torch")
PRECISIONS = ("float32", "bfloat16", "int8")
DEVICES = (AUTO, "cpu", "cuda")
# The flags of commands that run a model: their choices, and what their help says.
FLAGS = {
    "device": (DEVICES, "where to compute; auto takes a GPU if there is one"),
    "engine": (ENGINES, "what computes; auto takes the quickest that is installed"),
    "precision": (
        PRECISIONS,
        "lower ones are quicker where engine and processor have them",
    ),
}


@dataclass(frozen=True)
class EngineConfig:
    """How to run a model.

    ``engine`` is "onnx" (ONNX Runtime), "openvino" or "torch" (PyTorch), or "auto": the quickest
    that is installed and can do what is asked. ``precision`` is "float32", or what is asked for in
    its place: no other is ever chosen. ``device`` is a PyTorch device, or "auto": a GPU, where
    PyTorch and a GPU are there, else the processor. ``threads`` is their number, as many as this
    process has processors if None.

    Raises SettingError for values that there are not, or that do not go together.
    """

    engine: str = AUTO
    precision: str = "float32"
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("engine", ENGINES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise SettingError(
                    f"there is no {name} {getattr(self, name)}; choose {_listed(known)}"
                )
        if self.engine not in (AUTO, "torch") and self.device not in (AUTO, "cpu"):
            raise SettingError(
                f"the engine {self.engine} computes on the processor; for device {self.device} "
                "choose torch"
            )
        if self.threads is not None and self.threads < 1:
            raise SettingError(f"threads must be at least 1, not {self.threads}")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
