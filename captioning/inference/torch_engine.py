"""The engine that runs the PyTorch network itself."""

from typing import NamedTuple

import torch
from torch import Tensor

from captioning.errors import SettingError
from captioning.network.decoder import Memory, State
from captioning.network.fast import fold_batch_norm, to_half_precision
from captioning.network.model import CaptioningModel

# Of more photographs at once a processor computes no faster, but what passes between the layers no
# longer fits its caches: 64 in one piece took 16 to 48 % more time than in pieces of 8.
CPU_CHUNK = 8


class TorchState(NamedTuple):
    """The network's memory, one copy a photograph, and its state, one a beam."""

    memory: Memory
    state: State


class TorchEngine:
    """The engine that runs the PyTorch network itself, on the device where it is.

    It works with copies made for speed: make a new engine after the network has learned.
    """

    def __init__(self, network: CaptioningModel) -> None:
        network.eval()
        self.reference_decoder = network.decoder
        self.encoder = fold_batch_norm(network.encoder)
        on_cpu = self.device.type == "cpu"
        self.decoder = to_half_precision(network.decoder) if on_cpu else network.decoder

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.reference_decoder.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: the type of its weights."""
        return self.reference_decoder.embedding.weight.dtype

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to features (B, L, C)."""
        piece = CPU_CHUNK if self.device.type == "cpu" else max(1, len(images))
        pieces = torch.split(images.to(self.device), piece)
        return torch.cat([self.encoder(pixels) for pixels in pieces])

    @torch.inference_mode()
    def start(self, features: Tensor) -> TorchState:
        """Begin a caption for each photograph of features (B, L, C)."""
        features = features.to(self.device, self.dtype)
        return TorchState(*self.decoder.start(features))

    @torch.inference_mode()
    def step(self, tokens: Tensor, state: TorchState) -> tuple[Tensor, Tensor, TorchState]:
        """Read tokens (B * K,): log-probabilities (B * K, V), alphas (B * K, L), new state."""
        tokens = tokens.to(self.device)
        output, alphas, new = self.decoder.step(tokens, state.memory, state.state)
        log_probabilities = torch.log_softmax(self.decoder.vocabulary(output).float(), dim=-1)
        return log_probabilities, alphas, TorchState(state.memory, new)

    @torch.inference_mode()
    def reorder(self, state: TorchState, index: Tensor) -> TorchState:
        """Beams of which beam i has the state of beam ``index[i]``."""
        index = index.to(self.device)
        return TorchState(state.memory, State(*(part[index] for part in state.state)))

    @torch.inference_mode()
    def keep(self, state: TorchState, images: Tensor) -> TorchState:
        """Go on with the photographs ``images`` alone."""
        images, count = images.to(self.device), len(state.memory.features)
        beams = [part.view(count, -1, part.shape[-1])[images].flatten(0, 1) for part in state.state]
        return TorchState(Memory(*(part[images] for part in state.memory)), State(*beams))

    @torch.inference_mode()
    def teacher_force(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, T, V) and alphas (N, T, L) for given input tokens (N, T)."""
        features = features.to(self.device, self.dtype)
        logits, alphas = self.reference_decoder(features, tokens.to(self.device))
        return logits, alphas


def resolve_device(device: str) -> str:
    """The PyTorch device to compute on: ``device``, and a GPU where there is one for "auto".

    Raises SettingError unless this machine can compute on it.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"device {device} cannot be used here ({reason}); choose another"
        ) from None
    return device
