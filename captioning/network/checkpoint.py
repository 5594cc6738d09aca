"""One file that holds a trained captioner: configs, vocabulary, weights, provenance.

It is read without PyTorch; ``saved_network`` writes it, and makes the network.
"""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.data.images import ImageConfig
from captioning.data.vocab import Vocabulary
from captioning.errors import SettingError
from captioning.files import what_instead
from captioning.network.checkpoint_parts import (
    STAGE_TEXTS,
    CheckpointError,
    check_parts,
    damaged,
    read_config,
    read_figures,
    read_provenance,
    read_strings,
    read_vocabulary,
)
from captioning.network.config import ENCODER_CHANNELS, DecodeConfig, ModelConfig
from captioning.network.novelty import NoveltyDetector
from captioning.network.plain_file import ChangedFileError, PlainFileError, read_plain
from captioning.network.shapes import count_numbers, weight_shapes
from captioning.network.shipped import SHIPPED_MODEL

__all__ = [
    "SHIPPED_MODEL",
    "Checkpoint",
    "CheckpointError",
    "file_hash",
    "what_else",
]

FORMAT = "captioning checkpoint"
VERSION = 2  # 1 had no classifier, and attention asked before it read the last word
NOT_RECORDED = "not recorded"
# Of a network: ours has 47 million. Tensors that repeat their numbers can claim more of them than
# there are in the file.
_MOST_NUMBERS, _MOST_REPEATED = 2**31, 2**27
_HEAD = 512  # bytes that tell what a file is


@dataclass(frozen=True)
class Checkpoint:
    """A trained captioner, complete: it needs nothing else on disk.

    ``weights`` are the tensors of ``CaptioningModel`` as arrays, in float16 as the file has them;
    one that training has just made may have them in float32. ``training_images`` records the
    photographs it was trained on (``data.training_record``); ``decoding`` the search settings it
    was chosen with; ``provenance`` says in plain types how it was made, ``figures`` what it
    scored; ``novelty`` tells how unlike the training photographs a picture is, and belongs to the
    weights of the encoder. Read provenance through ``encoder_source``, ``data``, ``terms``,
    ``stages`` and ``measured_on``: older files lack some of it, or the novelty.
    """

    model: ModelConfig
    images: ImageConfig
    vocabulary: Vocabulary
    weights: Mapping[str, NDArray[Any]]
    training_images: frozenset[str] = frozenset()
    decoding: DecodeConfig = field(default_factory=DecodeConfig)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    novelty: NoveltyDetector | None = None

    @property
    def encoder_source(self) -> str:
        """Where the encoder's first weights came from."""
        return str(self.provenance.get("encoder", NOT_RECORDED))

    @property
    def data(self) -> str:
        """The data that the first stage was trained on."""
        return str(self.provenance.get("data", NOT_RECORDED))

    @property
    def terms(self) -> tuple[str, ...]:
        """Where the data came from and on what terms, in paragraphs."""
        return tuple(self.provenance.get("terms", ()))

    @property
    def stages(self) -> list[dict[str, Any]]:
        """How it was trained: for each stage "stage" (its name), "command", "config" and "torch".

        And "data", which the first stages do not record: theirs is that of the checkpoint.
        """
        defaults = dict.fromkeys(STAGE_TEXTS, NOT_RECORDED) | {"data": self.data, "config": {}}
        return [{**defaults, **stage} for stage in self.provenance.get("stages", ())]

    @property
    def measured_on(self) -> str:
        """The data that the last stage was trained on, and ``figures`` measured on."""
        stages = self.stages
        return str(stages[-1]["data"]) if stages else self.data

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Checkpoint":
        """Read a checkpoint; no code in the file is run.

        What an older program did not write gets its default. Raises CheckpointError when the file
        is missing, is damaged or something else, or comes from a newer version.
        """
        try:
            return cls._from_plain(_read(path))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None

    @classmethod
    def _from_plain(cls, content: Mapping[str, Any]) -> "Checkpoint":
        check_parts(content)
        checkpoint = cls(
            model=read_config(ModelConfig, content["model"], "model"),
            images=read_config(ImageConfig, content["images"], "images"),
            vocabulary=read_vocabulary(content["vocabulary"]),
            weights=content["weights"],
            training_images=frozenset(
                read_strings(content.get("training_images", ()), "training_images")
            ),
            decoding=read_config(DecodeConfig, content.get("decoding", {}), "decoding"),
            provenance=read_provenance(content.get("provenance", {})),
            figures=read_figures(content.get("figures", {})),
            novelty=_read_novelty(content["novelty"]) if "novelty" in content else None,
        )
        checkpoint._check_weights()
        return checkpoint

    def _check_weights(self) -> None:
        if self.model.vocabulary_size != len(self.vocabulary):
            raise damaged("the vocabulary and the network differ in size")
        expected = weight_shapes(self.model)
        if count_numbers(expected) > _MOST_NUMBERS:
            raise damaged("model: no network can be of these sizes")
        if not isinstance(self.weights, dict):
            raise damaged("weights is not a table of names and tensors")
        for name, shape in expected.items():
            if not _is_usable(self.weights.get(name), shape):
                raise damaged(f"weight {name} is missing or of the wrong shape")
        if len(expected) != len(self.weights):
            raise damaged("it has weights that the network does not know")
        if count_numbers(expected) > max(_MOST_REPEATED, _count_held(self.weights)):
            raise damaged("its weights claim more numbers than the file has")
        for name, weight in self.weights.items():
            if not _is_finite(weight):
                raise damaged(f"weight {name} has numbers that are not finite")
            if name.endswith("running_var") and (weight < 0).any():
                raise damaged(f"weight {name} has variances below 0")
        nouns = self.weights["decoder.classifier.nouns"]
        if nouns.dtype != np.int64 or not ((nouns >= 0) & (nouns < len(self.vocabulary))).all():
            raise damaged("the nouns of its classes are not words of the vocabulary")


def file_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def what_else(path: str | os.PathLike[str]) -> str:
    """What is there where a model that was fetched should be, and what to do; "" if unknown."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        return (
            "this is a pointer of Git LFS and not the file itself; fetch it with 'git lfs pull', "
            "or download it again"
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<error")):
        return "this is a web page and not the file itself; fetch it again"
    if not head:
        return "this file is empty, so it is not a checkpoint; fetch it again"
    if head.startswith(b"PK\x03\x04") and not _has_zip_end(path):
        return (
            "this file is cut short, so it is not a checkpoint that can be read; fetch it again, "
            "or train it again"
        )
    return ""


def _has_zip_end(path: str | os.PathLike[str]) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # which it raises for an end that is there and damaged
        return True


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a checkpoint file of this version, its parts not yet checked."""
    try:
        if instead := what_instead(path):
            raise CheckpointError(f"this is {instead} and not a model file; name the file")
        content = read_plain(path)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError("there is no such model file; train one or fetch it") from None
    except PermissionError:
        raise CheckpointError("this file may not be read; change its permissions") from None
    except ChangedFileError:
        raise damaged("its bytes are others than those that were written") from None
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"this cannot be read ({reason}); name the model file") from None
    except PlainFileError:
        if other := what_else(path):
            raise CheckpointError(other) from None
        content = None
    kind = content.get("format") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind != FORMAT:
        raise CheckpointError(
            "this is not a checkpoint of this project; train one with 'python main.py'"
        )
    version = content.get("version")
    if type(version) is not int:
        raise damaged("version is not a whole number")
    if version < VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {version}, of an older network, and this program "
            f"reads version {VERSION}; train the model again, or use the program that made it"
        )
    if version > VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {version}, this program reads version {VERSION}; "
            "update the program"
        )
    return dict(content)


def _read_novelty(value: Any) -> NoveltyDetector:
    """Make a detector from its tensors, checked."""
    names = {each.name for each in fields(NoveltyDetector)}
    if not isinstance(value, dict) or value.keys() != names:
        raise damaged("novelty is not a table of its tensors")
    for name, part in value.items():
        if not isinstance(part, np.ndarray) or not _is_usable(part, part.shape):
            raise damaged(f"novelty: {name} is not a tensor of numbers")
        if part.size > ENCODER_CHANNELS**2:
            raise damaged(f"novelty: {name} has too many numbers")
    try:
        novelty = NoveltyDetector(
            **{name: part.astype(np.float32, copy=False) for name, part in value.items()}
        )
    except SettingError as error:
        raise damaged(f"novelty: {error}") from None
    if novelty.mean.shape != (ENCODER_CHANNELS,):
        raise damaged("novelty is of features of another size")
    return novelty


def _count_held(weights: Mapping[str, NDArray[Any]]) -> int:
    """How many numbers the storages of weights hold, each storage once."""
    held = {}
    for weight in weights.values():
        storage = weight if weight.base is None else weight.base
        held[id(storage)] = storage.nbytes // weight.itemsize
    return sum(held.values())


def _is_finite(weight: NDArray[Any]) -> bool:
    """Whether no number of an array is infinite or NaN.

    As whole numbers the bits of those are greater than of all others of the same sign, which is
    seen in a third of the time.
    """
    if weight.dtype.kind != "f":
        return True
    infinity = weight.dtype.type(np.inf)
    return all(
        weight.view(f"{kind}{weight.itemsize}").max(initial=0)
        < end.view(f"{kind}{weight.itemsize}")
        for kind, end in (("i", infinity), ("u", -infinity))
    )


def _is_usable(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value of the file is an array of real numbers, of this shape."""
    return isinstance(value, np.ndarray) and value.shape == shape and value.dtype.kind in "fiub"
