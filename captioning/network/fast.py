"""Encoder and decoder in the form that runs fastest: the same functions, up to rounding."""

from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from captioning.network.decoder import LSTM, Decoder, State, gates_to_state
from captioning.network.encoder import Encoder, FrozenBatchNorm


def fold_batch_norm(encoder: Encoder, in_place: bool = False) -> Encoder:
    """Fold each batch norm into the convolution before it, for inference only.

    The result is the same function of the image, up to rounding, in about two thirds of the time:
    a copy, or ``in_place`` the encoder itself, which spares the memory of a second one.
    """
    folded = encoder if in_place else deepcopy(encoder)
    folded.eval().requires_grad_(False)
    for parent in list(folded.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(norm, FrozenBatchNorm) and isinstance(conv, nn.Conv2d):
                _fold(conv, norm)
                setattr(parent, name, nn.Identity())
    return folded.to(memory_format=torch.channels_last)


def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm) -> None:
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)


def to_half_precision(decoder: Decoder) -> Decoder:
    """Copy a decoder for inference on a CPU, its matrices in float16, multiplied in float32.

    A step has one row per beam: so few that nearly all of its time goes into reading the weights.
    FBGEMM (Khudia et al. 2021), where torch has it, reads half the bytes, and reads them once for
    all rows. A checkpoint's weights are float16 already, so nothing is lost. What stays in float32
    is shared with ``decoder``. Where torch lacks FBGEMM, and for a network in another precision
    than float32, this returns ``decoder`` itself.
    """
    in_float32 = decoder.embedding.weight.dtype == torch.float32
    if not (in_float32 and "fbgemm" in torch.backends.quantized.supported_engines):
        return decoder
    shared = {id(parameter): parameter for parameter in decoder.parameters()}
    copy = deepcopy(decoder, shared).eval()
    for parent in list(copy.modules()):
        for name, part in list(parent.named_children()):
            # Those with a single row or column have next to no weights: FBGEMM would pad them.
            if isinstance(part, nn.Linear) and min(part.in_features, part.out_features) > 1:
                setattr(parent, name, _HalfLinear(part.weight, part.bias))
            elif isinstance(part, LSTM):
                setattr(parent, name, _HalfLSTM(part, decoder.embedding.embedding_dim))
    return copy


class _HalfLinear(nn.Module):
    """``nn.Linear`` from I to O features, its weight (O, I) in float16; computes in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        bias = bias if bias is None else bias.detach()
        self.packed = torch.ops.quantized.linear_prepack_fp16(weight.detach(), bias)
        self.out_features = len(weight)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) to (..., O)."""
        product: Tensor = torch.ops.quantized.linear_dynamic_fp16(x.contiguous(), self.packed)
        return product


class _HalfLSTM(nn.Module):
    """The decoder's LSTM, its matrices in float16: one for contexts, one for all the rest."""

    def __init__(self, lstm: LSTM, embedding: int) -> None:
        super().__init__()
        of_word, of_context = lstm.weight_ih[:, :embedding], lstm.weight_ih[:, embedding:]
        of_rest = torch.cat([of_word, lstm.weight_hh], dim=1)  # (4 D, E + D)
        self.context = _HalfLinear(of_context.contiguous(), None)
        self.rest = _HalfLinear(of_rest, lstm.bias_ih + lstm.bias_hh)

    def forward(self, embedded: Tensor, contexts: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Read words (N, E) with M contexts each (N * M, C): hidden and cell (N * M, D)."""
        common = self.rest(torch.cat([embedded, state.hidden], dim=1))  # (N, 4 D)
        return gates_to_state(common, self.context(contexts), state.cell)
