"""The quick forms are the same functions: compared with the network they were made from."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from captioning.network.fast import to_half_precision

has_fbgemm = "fbgemm" in torch.backends.quantized.supported_engines


@pytest.fixture(scope="module")
def decoder(network):
    """Its weights are float16 numbers, as those of a checkpoint are."""
    return network.decoder


@pytest.fixture(scope="module")
def features():
    return torch.randn(2, 4, 2048, generator=torch.Generator().manual_seed(3))  # (B, L, C)


def steps(decoder, features, beams, count=3):
    """Output vectors, alphas, logits and last states of a few steps."""
    tokens = torch.arange(4, 4 + 2 * beams) % 12 + 4
    with torch.inference_mode():
        memory, state = decoder.start(features, beams)
        found = []
        for _ in range(count):
            output, alphas, state = decoder.step(tokens, memory, state)
            found += [output, alphas, decoder.vocabulary(output), *state]
    return found


@pytest.mark.parametrize("beams", [1, 2, 3, 7, 40])
def test_a_quickened_decoder_steps_as_the_decoder_does(decoder, features, beams):
    copy = to_half_precision(decoder)
    for found, expected in zip(
        steps(copy, features, beams), steps(decoder, features, beams), strict=True
    ):
        assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_quickening_leaves_the_decoder_as_it_is(decoder, features):
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    expected = steps(decoder, features, 3)
    to_half_precision(decoder)
    after = decoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(
        torch.equal(*pair) for pair in zip(steps(decoder, features, 3), expected, strict=True)
    )


def test_where_fbgemm_is_no_matrix_is_left_in_float32(decoder):
    copy = to_half_precision(decoder)
    layers = [part for part in copy.modules() if isinstance(part, nn.Linear | nn.LSTMCell)]
    # A single row is no matrix: it is quicker as it is.
    left = [part for part in layers if isinstance(part, nn.LSTMCell) or part.out_features > 1]
    assert (not left) == has_fbgemm
    assert (copy is decoder) != has_fbgemm


def test_another_precision_stays_as_it_is(decoder):
    precise = deepcopy(decoder).double()
    assert to_half_precision(precise) is precise


def test_a_machine_without_fbgemm_goes_on_with_the_decoder(monkeypatch, decoder):
    class Without:
        supported_engines = ("none", "qnnpack")

    monkeypatch.setattr(torch.backends, "quantized", Without())
    assert to_half_precision(decoder) is decoder
