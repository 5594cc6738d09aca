"""A trained network's parts in the form that computes fastest: the same functions, rounded."""

from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from captioning.network.decoder import Decoder
from captioning.network.encoder import Encoder, FrozenBatchNorm


def fold_batch_norm(encoder: Encoder) -> Encoder:
    """A copy for inference, each batch norm folded into the convolution before it.

    The same function of the image, up to rounding, in about two thirds of the time.
    """
    copy = deepcopy(encoder).eval().requires_grad_(False)
    for parent in list(copy.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(norm, FrozenBatchNorm) and isinstance(conv, nn.Conv2d):
                _fold(conv, norm)
                setattr(parent, name, nn.Identity())
    return copy.to(memory_format=torch.channels_last)


def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm) -> None:
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)


def to_half_precision(decoder: Decoder) -> Decoder:
    """A copy for inference on a CPU, its matrices stored in float16 and multiplied in float32.

    A step has a row a beam: so few that reading the weights is all of the cost. FBGEMM (Khudia et
    al. 2021), where torch has it, reads half the bytes, and reads them once for all rows. A
    checkpoint's weights are float16 already, so nothing is lost. Where torch lacks it, or for a
    network in another precision than float32, the decoder itself.
    """
    in_float32 = decoder.embedding.weight.dtype == torch.float32
    if not (in_float32 and "fbgemm" in torch.backends.quantized.supported_engines):
        return decoder
    shared = {id(parameter): parameter for parameter in decoder.parameters()}
    copy = deepcopy(decoder, shared).eval()
    for parent in list(copy.modules()):
        for name, part in list(parent.named_children()):
            # A single row, the attention's score, has no weights to speak of: FBGEMM pads it.
            if isinstance(part, nn.Linear) and part.out_features > 1:
                setattr(parent, name, _Half(part.weight, part.bias))
            elif isinstance(part, nn.LSTMCell):
                setattr(parent, name, _HalfLSTMCell(part))
    return copy


class _Half(nn.Module):
    """``nn.Linear`` with its weight (O, I) in float16; computes in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        bias = bias if bias is None else bias.detach()
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight.detach(), bias)
        self.out_features = len(weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) to (..., O)."""
        product: Tensor = torch.ops.quantized.linear_dynamic_fp16(x.contiguous(), self.packed)
        return product


class _HalfLSTMCell(nn.Module):
    """``nn.LSTMCell`` with one product for input and state."""

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        weight = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
        self.gates = _Half(weight, cell.bias_ih + cell.bias_hh)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Input (N, I), hidden and cell (N, D) to the new hidden and cell."""
        hidden, cell = state
        gates = self.gates(torch.cat([x, hidden], dim=1))  # (N, 4 D)
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(cell), cell
