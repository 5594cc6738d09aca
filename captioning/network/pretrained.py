"""Where the encoder's first weights come from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from captioning.data.class_nouns import class_nouns
from captioning.errors import CaptioningError
from captioning.files import what_instead
from captioning.network.checkpoint import Checkpoint, what_else
from captioning.network.config import ENCODER_CHANNELS
from captioning.network.encoder import Encoder
from captioning.network.saved_network import build_network, load_plain


class PretrainedError(CaptioningError):
    """Encoder weights that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder with its first weights and its classifier, and where they come from.

    Both have the precision that a checkpoint stores, so a network is the same before and after it
    is saved.

    ``training_images`` records the photographs that it was trained on, where it comes from a
    checkpoint (``data.training_record``).
    """

    encoder: Encoder
    classifier: nn.Linear  # of the mean feature
    source: str
    training_images: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for part in (self.encoder, self.classifier):
            part.half().float()

    @property
    def stride_in_1x1(self) -> bool:
        """Which of the two kinds of ResNet-50 it is: see ``ModelConfig``."""
        return self.encoder.stride_in_1x1


def pretrained_encoder(
    weights: Path | None = None, stride_in_1x1: bool = False, fallback: Path | None = None
) -> PretrainedEncoder:
    """Make an encoder from the file ``weights``, a state dict of torchvision's ``resnet50``.

    Without a file: torchvision's ImageNet weights; where these cannot be downloaded, the encoder
    of the checkpoint ``fallback``. Raises PretrainedError, or CheckpointError for the fallback.
    """
    if weights is not None:
        return _from_file(weights, stride_in_1x1)
    choice = ResNet50_Weights.IMAGENET1K_V2
    try:
        state = choice.get_state_dict(check_hash=True)
    # urllib's errors are OSErrors; a file with another hash, which was cut short or is a proxy's
    # page, is a RuntimeError.
    except (OSError, RuntimeError) as error:
        if fallback is None:
            raise PretrainedError(
                f"torchvision's ResNet-50 weights could not be downloaded ({error}); connect to "
                "the network, or name a file with --encoder-weights"
            ) from None
        return _from_checkpoint(fallback)
    encoder = Encoder()
    encoder.load_torchvision(dict(state))
    source = f"torchvision ResNet50_Weights.{choice.name}"
    return PretrainedEncoder(encoder, _classifier(state), source)


def _from_file(path: Path, stride_in_1x1: bool) -> PretrainedEncoder:
    try:
        if instead := what_instead(path):
            raise PretrainedError(
                f"{path}: this is {instead} and not a file; name a file of weights"
            )
        state = load_plain(path)
    except PretrainedError:
        raise
    except FileNotFoundError:
        raise PretrainedError(f"{path}: there is no such file of encoder weights") from None
    except PermissionError:
        raise PretrainedError(
            f"{path}: this file may not be read; change its permissions"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise PretrainedError(f"{path}: this cannot be read ({reason}); name a file") from None
    except Exception:
        if other := what_else(path):
            raise PretrainedError(f"{path}: {other}") from None
        state = None
    if not isinstance(state, dict):
        raise PretrainedError(f"{path}: this is not a state dict of torchvision's resnet50")
    encoder = Encoder(stride_in_1x1)
    try:
        encoder.load_torchvision(state)
        _require_numbers(state)
        classifier = _classifier(state)
    except (ValueError, AttributeError, RuntimeError) as error:  # RuntimeError: sparse tensors
        reason = " ".join(str(error).split())
        raise PretrainedError(
            f"{path}: this is not a state dict of torchvision's resnet50: {reason}"
        ) from None
    # A hash of the tensors, not of the file: versions of torch.save write them differently.
    source = f"{path.name} (tensors' sha256 {weights_hash(encoder.stages.state_dict())})"
    return PretrainedEncoder(encoder, classifier, source)


def _require_numbers(state: Mapping[str, Any]) -> None:
    """Raise ValueError for weights that no network has."""
    for name, value in state.items():
        # In float16, as checkpoints have them.
        if isinstance(value, Tensor) and not value.half().isfinite().all():
            raise ValueError(f"its {name} holds numbers that are not finite in float16")
        if name.endswith("running_var") and (value < 0).any():
            raise ValueError(f"its {name} holds variances below 0")


def _classifier(state: Mapping[str, Tensor]) -> nn.Linear:
    """The classifier of a state dict of torchvision's resnet50; raises ValueError without one."""
    weight, bias = state.get("fc.weight"), state.get("fc.bias")
    classes = len(class_nouns())
    if weight is None or bias is None or weight.shape != (classes, ENCODER_CHANNELS):
        raise ValueError(f"it has no classifier (fc) of ImageNet's {classes:,} classes")
    classifier = nn.Linear(ENCODER_CHANNELS, classes)
    classifier.load_state_dict({"weight": weight, "bias": bias})
    return classifier


def _from_checkpoint(path: Path) -> PretrainedEncoder:
    checkpoint = Checkpoint.load(path)
    source = f"the encoder of {path.name}, because torchvision's weights could not be downloaded"
    network = build_network(checkpoint)
    classifier = network.decoder.classifier.linear
    return PretrainedEncoder(network.encoder, classifier, source, checkpoint.training_images)


def encoder_hash(encoder: Encoder) -> str:
    """A hash of what an encoder computes: of its tensors, and of where it strides."""
    digest = weights_hash(encoder.state_dict())
    return f"{digest}, stride in 1x1" if encoder.stride_in_1x1 else digest


def weights_hash(weights: Mapping[str, Tensor | NDArray[Any]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of tensors or arrays, names included."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        value = weights[name]
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
