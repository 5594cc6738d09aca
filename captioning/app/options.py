"""What the app is started with: flags of ``captioning-app``, environment variables for its pages.

``CAPTIONING_MODEL`` names a checkpoint other than the one that ships, ``CAPTIONING_DEVICE`` where
to compute: auto (a GPU if there is one), cpu or cuda. They work with ``streamlit run`` as well.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_MODEL, _DEVICE = "CAPTIONING_MODEL", "CAPTIONING_DEVICE"


@dataclass(frozen=True)
class Options:
    """The model to open with (the one that ships if None), and the device to compute on."""

    model: Path | None = None
    device: str = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Options":
        """Read them from environment variables; an empty one counts as not set."""
        model = environment.get(_MODEL)
        return cls(Path(model) if model else None, environment.get(_DEVICE) or cls.device)

    def as_environment(self) -> dict[str, str]:
        """The environment variables that say the same."""
        return {_DEVICE: self.device} | ({_MODEL: str(self.model)} if self.model else {})
