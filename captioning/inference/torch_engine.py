"""The engine that runs the network in PyTorch.

Dimensions: B photographs, K hypotheses each, N captions, T steps, L locations, C encoder channels,
V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioning.data.vocab import PAD
from captioning.errors import SettingError
from captioning.inference.engine import Continuations, Floats, Ids
from captioning.network.checkpoint import Checkpoint
from captioning.network.decoder import Decoder, Memory, State
from captioning.network.fast import fold_batch_norm, to_half_precision
from captioning.network.model import CaptioningModel
from captioning.network.occlusion import drops, follow
from captioning.network.saved_network import build_network

# A processor is no faster with more photographs at once, but what passes between the layers no
# longer fits its caches: 64 in one piece took 16 to 48 % more time than in pieces of 8.
CPU_CHUNK = 8
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


class TorchState(NamedTuple):
    """The network's memory, one copy per photograph, and its state, one per beam."""

    memory: Memory
    state: State


class TorchEngine:
    """Runs the network on the device where it is, with copies of its parts made for speed.

    They keep the weights that the network has now: after more training, make a new engine. With
    ``take_over`` the network is the engine's from here on and must not be used any more: its parts
    are converted instead of copied, which halves the memory, but such an engine only captions; it
    has no ``reference_decoder`` and cannot ``teacher_force``.

    The encoder computes in ``precision``. The decoder stays as it is: most of its time goes into
    reading its weights, and rounding its state would add up from word to word.
    """

    def __init__(
        self,
        network: CaptioningModel,
        take_over: bool = False,
        precision: torch.dtype | None = None,
    ) -> None:
        network.eval()
        self._encoder_precision = precision or network.decoder.embedding.weight.dtype
        self.encoder = fold_batch_norm(network.encoder, in_place=take_over)
        self.encoder.to(self._encoder_precision)
        on_cpu = network.decoder.embedding.weight.device.type == "cpu"
        self.decoder = to_half_precision(network.decoder) if on_cpu else network.decoder
        self._reference_decoder = None if take_over else network.decoder

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.decoder.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the network computes in."""
        return self.decoder.embedding.weight.dtype

    @property
    def reference_decoder(self) -> Decoder:
        """The network's decoder itself, as it was trained: what scoring measures.

        Raises ValueError for an engine that took the network over.
        """
        if self._reference_decoder is None:
            raise ValueError("an engine made with take_over can only caption")
        return self._reference_decoder

    @torch.inference_mode()
    def encode(self, images: Floats | Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to features (B, L, C)."""
        chunk = CPU_CHUNK if self.device.type == "cpu" else max(1, len(images))
        images = torch.as_tensor(images).to(self.device, self._encoder_precision)
        return torch.cat(
            [self.encoder(pixels).to(self.dtype) for pixels in torch.split(images, chunk)]
        )

    @torch.inference_mode()
    def mean(self, features: Tensor) -> Floats:
        """The mean over locations of features (B, L, C): (B, C)."""
        return _array(features.float().mean(dim=1))

    @torch.inference_mode()
    def start(self, features: Tensor) -> TorchState:
        """Begin a caption for each photograph of features (B, L, C)."""
        features = features.to(self.device, self.dtype)
        return TorchState(*self.decoder.start(features))

    @torch.inference_mode()
    def step(
        self, tokens: Ids, state: TorchState, count: int, end: int
    ) -> tuple[Continuations, TorchState]:
        """Read tokens (B * K,): the ``count`` likeliest continuations, and the new state."""
        read = torch.from_numpy(tokens).to(self.device)
        output, alphas, new = self.decoder.step(read, state.memory, state.state)
        logits = self.decoder.logits(output, state.memory.nouns)
        log_probabilities = torch.log_softmax(logits.float(), dim=-1)  # (B * K, V)
        best = log_probabilities.topk(min(count, log_probabilities.shape[-1]), dim=-1)
        parts = (best.indices, best.values, log_probabilities[:, end], alphas.float())
        return Continuations(*map(_array, parts)), TorchState(state.memory, new)

    @torch.inference_mode()
    def reorder(self, state: TorchState, index: Ids) -> TorchState:
        """Make hypotheses of which hypothesis i has the state of hypothesis ``index[i]``."""
        chosen = torch.from_numpy(index).to(self.device)
        return TorchState(state.memory, State(*(part[chosen] for part in state.state)))

    @torch.inference_mode()
    def keep(self, state: TorchState, images: Ids) -> TorchState:
        """Go on with the photographs ``images`` alone."""
        kept, count = torch.from_numpy(images).to(self.device), len(state.memory.features)
        beams = [part.view(count, -1, part.shape[-1])[kept].flatten(0, 1) for part in state.state]
        return TorchState(state.memory.take(kept), State(*beams))

    @torch.inference_mode()
    def occlude(
        self,
        features: Tensor,
        captions: Sequence[Sequence[int]],
        hidden: NDArray[np.bool_],
        competition: float = 1.0,
    ) -> list[Floats]:
        """What each word of a caption loses with locations hidden, in nats: B of (T, M).

        Features (B, L, C), the word ids of B captions, and M ways to hide locations (M, L). For
        ``competition`` see ``occlusion.drops``.
        """
        lengths = [len(caption) for caption in captions]
        if not any(lengths):
            return [np.zeros((0, len(hidden)), dtype=np.float32) for _ in captions]
        rows = [torch.tensor(caption, dtype=torch.long) for caption in captions]
        words = pad_sequence(rows, batch_first=True, padding_value=PAD).to(self.device)  # (B, T)
        memory, state = self.decoder.start(features.to(self.device, self.dtype))
        said = follow(self.decoder, memory, state, words, words != PAD)
        mask = torch.from_numpy(hidden).to(self.device)
        lost = drops(self.decoder, memory, said, mask, competition).cpu()  # (R, M)
        # The words come step by step; a stable sort puts those of a photograph together, in order.
        order = said.photograph.cpu().argsort(stable=True)
        return [_array(part) for part in torch.split(lost[order], lengths)]

    @torch.inference_mode()
    def teacher_force(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, T, V) and alphas (N, T, L) for given input tokens (N, T)."""
        features = features.to(self.device, self.dtype)
        logits, alphas = self.reference_decoder(features, tokens.to(self.device))
        return logits, alphas


def _array(tensor: Tensor) -> NDArray[Any]:
    """A tensor as an array, which shares its memory where it can."""
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def load_engine(checkpoint: Checkpoint, device: str, precision: str, threads: int) -> TorchEngine:
    """Make the engine of a checkpoint, which only captions.

    ``threads`` lowers the number that PyTorch computes with in this process. Raises SettingError
    for a device that this machine does not have, and for int8.
    """
    if precision not in PRECISIONS:
        raise SettingError(
            f"the engine torch has no {precision}; choose {' or '.join(PRECISIONS)}, or another "
            "engine"
        )
    device = resolve_device(device)
    if threads < torch.get_num_threads():
        torch.set_num_threads(threads)
    network = build_network(checkpoint).to(device)
    return TorchEngine(network, take_over=True, precision=PRECISIONS[precision])


def resolve_device(device: str) -> str:
    """Return the PyTorch device ``device``; for "auto" a GPU, or the CPU where there is none.

    From then on float32 is float32 on a GPU too: convolutions would otherwise round what they
    multiply to 10 bits (TF32), and captions would differ from the processor's. Raises SettingError
    for one that this machine cannot compute on.
    """
    torch.backends.cudnn.allow_tf32 = False
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).item()  # "meta" makes tensors too, but without numbers
    # AssertionError: torch was built without that device; ImportError: without its module.
    except (RuntimeError, AssertionError, ImportError) as error:
        reason, _, _ = str(error).partition("\n")[0].partition(". ")  # its first sentence
        if reason.startswith("Expected one of"):  # and all the devices that torch can name
            reason = "there is no such device"
        raise SettingError(
            f"device {device} cannot be used here ({reason}); choose auto, cpu or another one"
        ) from None
    return device
