"""Encoder and decoder together."""

from copy import deepcopy

import pytest
import torch

from captioning.network.config import ModelConfig
from captioning.network.model import CaptioningModel


@pytest.fixture(scope="module")
def images():
    """Grids of 2 x 3."""
    return torch.randn(2, 3, 64, 96, generator=torch.manual_seed(0))


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(1, 16, (4, 5), generator=torch.manual_seed(2))  # (N, T)


def test_pixels_and_their_features_give_the_same(network, images, tokens):
    with torch.no_grad():
        from_pixels = network(images, tokens)
        from_features = network(network.encoder(images), tokens)
    for one, other in zip(from_pixels, from_features, strict=True):
        assert torch.equal(one, other)


def test_the_gradient_reaches_every_parameter(network, images, tokens):
    network = deepcopy(network).train()
    logits, alphas = network(images, tokens)
    weights = torch.randn(logits.shape, generator=torch.manual_seed(3))
    ((logits * weights).sum() + alphas.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_config_chooses_the_resnet():
    with torch.device("meta"):
        network = CaptioningModel(ModelConfig(11, stride_in_1x1=True))
    assert network.encoder.stages.layer2[0].conv1.stride == (2, 2)
