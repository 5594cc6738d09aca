"""How a checkpoint says what it was made from; checkpoints from elsewhere may say nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from captioning.network.checkpoint import Checkpoint
from captioning.training.flags import TrainingFlags


def stages_of(checkpoint: Checkpoint) -> list[Mapping[str, Any]]:
    """The stages that made a checkpoint, in order, as ``add_stage`` describes them."""
    stages = checkpoint.provenance.get("stages", [])
    if not isinstance(stages, list | tuple):
        return []
    return [stage for stage in stages if isinstance(stage, Mapping)]


def data_of(checkpoint: Checkpoint) -> str:
    """The data that the last stage of a checkpoint was trained and scored on; "" if unknown."""
    last = stages_of(checkpoint)[-1:]
    return str({**checkpoint.provenance, **(last[0] if last else {})}.get("data", ""))


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
    stages = [*stages_of(checkpoint), stage]
    return replace(checkpoint, provenance={**checkpoint.provenance, "stages": stages})
