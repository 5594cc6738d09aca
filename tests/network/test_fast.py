"""The fast forms are the same functions as the network that they were made from."""

import gc
import weakref
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captioning.network.encoder import Encoder, FrozenBatchNorm
from captioning.network.fast import fold_batch_norm, to_half_precision

has_fbgemm = "fbgemm" in torch.backends.quantized.supported_engines


@pytest.fixture(scope="module", params=[False, True], ids=["stride in 3x3", "stride in 1x1"])
def encoder(request, resnet):
    encoder = Encoder(stride_in_1x1=request.param)
    encoder.load_torchvision(resnet.state_dict())
    return encoder


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.manual_seed(0))


@pytest.fixture(scope="module")
def decoder(network):
    """Its weights are float16 numbers, as those of a checkpoint are."""
    return network.decoder


@pytest.fixture(scope="module")
def features():
    return torch.randn(2, 4, 2048, generator=torch.Generator().manual_seed(3))  # (B, L, C)


def clone_state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_state(module, expected):
    state = module.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert torch.equal(value, expected[name]), name


# Batch norm folded into convolutions -------------------------------------------------------------


def assert_folded(folded, expected, images):
    """The function of before (its features for images), without a batch norm."""
    with torch.no_grad():
        features = folded(images)
    assert_close(features, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert not any(isinstance(module, FrozenBatchNorm) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_folding_keeps_the_function_and_leaves_the_encoder_alone(encoder, images):
    before = clone_state(encoder)
    with torch.no_grad():
        expected = encoder(images)
    assert_folded(fold_batch_norm(encoder), expected, images)
    assert_state(encoder, before)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    with torch.no_grad():
        assert torch.equal(encoder(images), expected)


def test_folding_in_place_gives_the_same_bits_in_the_same_encoder(encoder, images):
    copy = deepcopy(encoder)
    folded = fold_batch_norm(copy, in_place=True)
    assert folded is copy
    with torch.no_grad():
        assert_folded(folded, encoder(images), images)
        assert torch.equal(folded(images), fold_batch_norm(encoder)(images))


def test_folding_in_place_frees_each_tensor_it_replaces(encoder):
    copy = deepcopy(encoder)
    replaced = [weakref.ref(part.weight) for part in copy.modules() if hasattr(part, "weight")]
    fold_batch_norm(copy, in_place=True)
    gc.collect()
    assert len(replaced) == 2 * 53  # convolutions and batch norms
    assert not any(weight() is not None for weight in replaced)


# Matrices in float16 -----------------------------------------------------------------------------


def steps(decoder, features, beams, count=3):
    """What is remembered of the photographs; outputs, alphas, logits and states of a few steps."""
    tokens = torch.arange(4, 4 + 2 * beams) % 12 + 4
    with torch.inference_mode():
        memory, state = decoder.start(features, beams)
        results = list(memory)
        for _ in range(count):
            output, alphas, state = decoder.step(tokens, memory, state)
            results += [*output, alphas, decoder.logits(output, memory.nouns), *state]
    return results


@pytest.mark.parametrize("beams", [1, 2, 3, 7, 40])
def test_a_decoder_in_half_precision_steps_like_the_original(decoder, features, beams):
    half = to_half_precision(decoder)
    for actual, expected in zip(
        steps(half, features, beams), steps(decoder, features, beams), strict=True
    ):
        assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_converting_leaves_the_decoder_alone(decoder, features):
    before = clone_state(decoder)
    expected = steps(decoder, features, 3)
    to_half_precision(decoder)
    assert_state(decoder, before)
    assert all(
        torch.equal(*pair) for pair in zip(steps(decoder, features, 3), expected, strict=True)
    )


def test_no_matrix_is_left_in_float32_where_fbgemm_is(decoder):
    half = to_half_precision(decoder)
    layers = [part for part in half.modules() if isinstance(part, nn.Linear | nn.LSTMCell)]
    # A single row or column is no matrix: it is faster as it is.
    left = [part for part in layers if isinstance(part, nn.LSTMCell) or min(part.weight.shape) > 1]
    assert (not left) == has_fbgemm
    assert (half is decoder) != has_fbgemm


def test_a_decoder_in_another_precision_is_returned_as_it_is(decoder):
    double = deepcopy(decoder).double()
    assert to_half_precision(double) is double


def test_a_machine_without_fbgemm_uses_the_decoder_itself(monkeypatch, decoder):
    class WithoutFbgemm:
        supported_engines = ("none", "qnnpack")

    monkeypatch.setattr(torch.backends, "quantized", WithoutFbgemm())
    assert to_half_precision(decoder) is decoder
