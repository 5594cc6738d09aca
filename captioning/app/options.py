"""What the app is started with: flags of ``captioning-app``, environment variables for its pages.

``CAPTIONING_MODEL`` names a checkpoint other than the one that ships, ``CAPTIONING_DEVICE`` where
to compute: auto (a GPU if there is one), cpu or cuda, ``CAPTIONING_ENGINE`` what computes: auto
(the quickest that is installed), onnx, openvino or torch, and ``CAPTIONING_PRECISION`` how:
float32, bfloat16 or int8. They work with ``streamlit run`` as well.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from captioning.inference.engine_config import AUTO, EngineConfig

_MODEL, _DEVICE = "CAPTIONING_MODEL", "CAPTIONING_DEVICE"
_ENGINE, _PRECISION = "CAPTIONING_ENGINE", "CAPTIONING_PRECISION"


@dataclass(frozen=True)
class Options:
    """The model to open with (the one that ships if None), and how to run it."""

    model: Path | None = None
    device: str = AUTO
    engine: str = AUTO
    precision: str = "float32"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Options":
        """Read them from environment variables; an empty one counts as not set."""
        model = environment.get(_MODEL)
        return cls(
            Path(model) if model else None,
            environment.get(_DEVICE) or cls.device,
            environment.get(_ENGINE) or cls.engine,
            environment.get(_PRECISION) or cls.precision,
        )

    def as_environment(self) -> dict[str, str]:
        """The environment variables that say the same."""
        running = {_DEVICE: self.device, _ENGINE: self.engine, _PRECISION: self.precision}
        return running | ({_MODEL: str(self.model)} if self.model else {})

    @property
    def running(self) -> EngineConfig:
        """How to run the model; raises SettingError for what cannot be."""
        return EngineConfig(self.engine, self.precision, self.device)
