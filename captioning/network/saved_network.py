"""Networks and their checkpoints: made of one, and saved to one. Here PyTorch is needed."""

import errno
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioning.files import write_atomically
from captioning.network.checkpoint import FORMAT, VERSION, Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.novelty import NoveltyDetector
from captioning.network.old_file import OLD_START, require_short
from captioning.network.plain_file import read_plain

_WRITER = "inline_container"  # the part of PyTorch in C++ that writes, in its messages
_MORE = 2**20  # bytes: more than a full disk has left over


def build_network(checkpoint: Checkpoint) -> CaptioningModel:
    """Make the network with these weights, in float32 and eval mode, on the CPU."""
    with torch.device("meta"):  # to initialise weights that are replaced would take time
        network = CaptioningModel(checkpoint.model)
    weights = {name: _to_full(value) for name, value in tensors_of(checkpoint.weights).items()}
    network.load_state_dict(weights, assign=True)
    return network.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file: plain types and tensors, floating-point weights as float16.

    Raises WriteError where it cannot be written.
    """
    weights = tensors_of(checkpoint.weights)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": asdict(checkpoint.model),
        "images": asdict(checkpoint.images),
        "vocabulary": list(checkpoint.vocabulary.words),
        "weights": {name: _to_half(value) for name, value in weights.items()},
        "training_images": sorted(checkpoint.training_images),
        "decoding": asdict(checkpoint.decoding),
        "provenance": dict(checkpoint.provenance),
        "figures": dict(checkpoint.figures),
    }
    if checkpoint.novelty is not None:
        content["novelty"] = _novelty_tensors(checkpoint.novelty)
    save_plain(content, path)


def weights_of(network: CaptioningModel) -> dict[str, NDArray[Any]]:
    """A copy of a network's weights, as a checkpoint holds them.

    They keep the network's precision: a stage of training may go on from a checkpoint that was
    never saved, and loses nothing by that. Saving rounds to float16.
    """
    return arrays_of(network.state_dict())


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Copies of tensors as arrays."""
    return {name: value.detach().cpu().numpy().copy() for name, value in tensors.items()}


def tensors_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Arrays as tensors, which share their memory where that can be written to."""
    return {name: tensor_of(value) for name, value in arrays.items()}


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array as a tensor, which shares its memory where that can be written to."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def save_plain(content: Any, path: Path) -> None:
    """Write plain types and tensors atomically; raises WriteError where the disk is full."""

    def write(temporary: Path) -> None:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            if _WRITER not in str(error):
                raise
            # It forgets what the system said, and a disk may have failed for a moment alone.
            raise _reason_of(temporary) or OSError(errno.EIO, os.strerror(errno.EIO)) from None

    write_atomically(path, write)


def _reason_of(path: Path) -> OSError | None:
    """The system's error when more is written to a file, None where it can be."""
    try:
        with path.open("ab") as file:
            file.write(bytes(_MORE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def load_plain(path: str | os.PathLike[str]) -> Any:
    """Load plain types and tensors, on the CPU; no code in the file is run.

    What torch.save has written since PyTorch 1.6 is read as ``plain_file`` reads it; what it wrote
    before, by torch.load. Raises OSError where the file cannot be opened, PlainFileError for
    another kind of file, and of an old one whatever torch.load raises.
    """
    with open(path, "rb") as file:
        if file.read(len(OLD_START)) != OLD_START:
            return read_plain(path, torch.from_numpy)
    require_short(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of the pickle protocol of a foreign file
        return torch.load(path, map_location="cpu", weights_only=True)


def _novelty_tensors(novelty: NoveltyDetector) -> dict[str, Tensor]:
    """The arrays of a detector: the large ones as float16, which they were rounded to."""
    tensors = {each.name: torch.from_numpy(getattr(novelty, each.name)) for each in fields(novelty)}
    return tensors | {name: tensors[name].half() for name in ("mean", "components")}


def _to_full(value: Tensor) -> Tensor:
    """A copy in float32, or as it is where it holds whole numbers."""
    return value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)


def _to_half(value: Tensor) -> Tensor:
    return value.to(torch.float16) if value.is_floating_point() else value
