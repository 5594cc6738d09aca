"""What a checkpoint records of a stage of training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from captioning.data.data_sets import DataSets
from captioning.data.text_files import read_paragraphs
from captioning.network.checkpoint import Checkpoint
from captioning.training.flags import TrainingFlags


def add_stage(
    checkpoint: Checkpoint,
    name: str,
    config: Mapping[str, Any],
    data: DataSets,
    flags: TrainingFlags,
) -> Checkpoint:
    """The checkpoint with one more stage in its provenance.

    Where there is more than one data set, or a text, it also says by which set it was measured.
    """
    stage = {
        "stage": name,
        "command": flags.command,
        "config": dict(config),
        "data": data.describe(),
        "torch": str(torch.__version__),
    }
    if (measured := data.first.splits.describe()) != stage["data"]:
        stage["measured on"] = measured
    changed = {"stages": [*checkpoint.provenance.get("stages", ()), stage]}
    if flags.data_terms:
        changed["terms"] = read_paragraphs(flags.data_terms)
    return replace(checkpoint, provenance={**checkpoint.provenance, **changed})


def measured_on(checkpoint: Checkpoint) -> str:
    """The data that the figures of a checkpoint were measured on."""
    stages = checkpoint.stages
    return str(stages[-1].get("measured on", "") if stages else "") or checkpoint.measured_on
