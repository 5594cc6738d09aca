"""One file that holds a trained captioner: configs, vocabulary, weights, provenance."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captioning.data.images import ImageConfig
from captioning.data.vocab import Vocabulary
from captioning.errors import CaptioningError
from captioning.files import write_atomically
from captioning.network.config import DecodeConfig, ModelConfig
from captioning.network.model import CaptioningModel

FORMAT = "captioning checkpoint"
VERSION = 1
# An installed package has the model in its folder ``shipped``, a checkout in ``model``.
_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED, _CHECKOUT = _PACKAGE / "shipped", _PACKAGE.parent / "model"
SHIPPED_MODEL = (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / "image_captioning_model.pth"


class CheckpointError(CaptioningError):
    """A file that is not a checkpoint of this project; the message says what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained captioner, complete: it needs nothing else on disk.

    ``weights`` are the tensors of ``CaptioningModel``; ``training_images`` the hashes of the
    names of the photographs it was trained on (``data.name_hash``); ``decoding`` the search
    settings it was chosen with; ``provenance`` says in plain types how it was made, ``figures``
    what it scored.
    """

    model: ModelConfig
    images: ImageConfig
    vocabulary: Vocabulary
    weights: Mapping[str, Tensor]
    training_images: frozenset[str] = frozenset()
    decoding: DecodeConfig = field(default_factory=DecodeConfig)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    def build(self) -> CaptioningModel:
        """Make the network with these weights, in float32 and eval mode, on the CPU."""
        with torch.device("meta"):  # no time for weights by chance, which would be replaced
            network = CaptioningModel(self.model)
        weights = {name: value.to(torch.float32, copy=True) for name, value in self.weights.items()}
        network.load_state_dict(weights, assign=True)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the file: plain types and tensors, floating-point weights as float16."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "model": asdict(self.model),
            "images": asdict(self.images),
            "vocabulary": list(self.vocabulary.words),
            "weights": {name: _to_half(value) for name, value in self.weights.items()},
            "training_images": sorted(self.training_images),
            "decoding": asdict(self.decoding),
            "provenance": dict(self.provenance),
            "figures": dict(self.figures),
        }
        write_atomically(path, lambda temporary: torch.save(content, temporary))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint; no code in the file is run.

        Raises CheckpointError when the file is missing, is something else, or comes from a
        newer version.
        """
        content = _read(path)
        try:
            vocabulary = Vocabulary(tuple(content["vocabulary"]))
            model = ModelConfig(**content["model"])
            images = ImageConfig(**_tuples(content["images"]))
            checkpoint = cls(
                model,
                images,
                vocabulary,
                content["weights"],
                frozenset(content["training_images"]),
                DecodeConfig(**content["decoding"]),
                dict(content["provenance"]),
                dict(content["figures"]),
            )
            checkpoint._check_weights()
        # RuntimeError: sizes that no tensor can have.
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: the checkpoint is damaged ({error}); fetch or train it again"
            ) from None
        return checkpoint

    def _check_weights(self) -> None:
        if self.model.vocabulary_size != len(self.vocabulary):
            raise ValueError("the vocabulary and the network differ in size")
        with torch.device("meta"):
            expected = CaptioningModel(self.model).state_dict()
        for name, value in expected.items():
            if name not in self.weights or self.weights[name].shape != value.shape:
                raise ValueError(f"weight {name} is missing or of the wrong shape")
        if len(expected) != len(self.weights):
            raise ValueError("it has weights that the network does not know")


def file_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_plain(path: str | os.PathLike[str]) -> Any:
    """Load plain types and tensors, on the CPU; no code in the file is run.

    Raises whatever reading what is no such file makes any layer raise: zip, pickle, tensors.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch remarks on the pickle protocol of a foreign file
        return torch.load(path, map_location="cpu", weights_only=True)


def _read(path: str | os.PathLike[str]) -> Any:
    try:
        content = load_plain(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no such model file; train one or fetch it"
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f"{path}: this is a folder; name the model file in it") from None
    except PermissionError:
        raise CheckpointError(
            f"{path}: this file may not be read; change its permissions"
        ) from None
    except Exception:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: this is not a checkpoint of this project; train one with 'python main.py'"
        )
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: the checkpoint has format version {content.get('version')}, this program "
            f"reads version {VERSION}; update the program or train the model again"
        )
    return content


def _to_half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(torch.float16) if value.is_floating_point() else value


def _tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples, as a frozen config wants them, whatever the file's writer made of them."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in config.items()}
