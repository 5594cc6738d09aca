"""What a checkpoint records of a stage of training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from captioning.network.checkpoint import Checkpoint
from captioning.training.flags import TrainingFlags


def add_stage(
    checkpoint: Checkpoint, name: str, config: Mapping[str, Any], data: str, flags: TrainingFlags
) -> Checkpoint:
    """The checkpoint with one more stage in its provenance."""
    stage = {
        "stage": name,
        "command": flags.command,
        "config": dict(config),
        "data": data,
        "torch": str(torch.__version__),
    }
    stages = [*checkpoint.provenance.get("stages", ()), stage]
    return replace(checkpoint, provenance={**checkpoint.provenance, "stages": stages})
