"""The encoder agrees with torchvision's ResNet-50, and with one written out by hand."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models import resnet18, resnet101

from captioning.network.encoder import Encoder

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


@pytest.fixture(scope="module")
def images():
    """Neither square nor symmetric, so that no swapped axes go unnoticed: grids of 2 x 3."""
    return torch.randn(2, 3, 64, 96, generator=torch.manual_seed(0))


@pytest.fixture(scope="module")
def encoder(resnet):
    encoder = Encoder()
    encoder.load_torchvision(resnet.state_dict())
    return encoder


@pytest.fixture(scope="module")
def original(resnet):
    encoder = Encoder(stride_in_1x1=True)
    encoder.load_torchvision(resnet.state_dict())
    return encoder


def assert_close_to(actual, expected, tolerance):
    """Equal up to ``tolerance`` of the largest value."""
    largest = float(expected.detach().abs().max())
    assert_close(actual, expected, rtol=0, atol=tolerance * largest)


def resnet_by_hand(state, images, stride_in_1x1):
    """Layer 4 of ResNet-50 (He et al. 2015, table 1) from its tensors: (B, C, h, w)."""

    def conv_norm(x, conv, norm, stride=1, padding=0):
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var, weight, bias = (
            state[f"{norm}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(x, name, stride):
        in_1x1, in_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        y = conv_norm(x, f"{name}.conv1", f"{name}.bn1", in_1x1).relu()
        y = conv_norm(y, f"{name}.conv2", f"{name}.bn2", in_3x3, padding=1).relu()
        y = conv_norm(y, f"{name}.conv3", f"{name}.bn3")
        if f"{name}.downsample.0.weight" in state:
            x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        return (x + y).relu()

    x = conv_norm(images, "conv1", "bn1", stride=2, padding=3).relu()
    if stride_in_1x1:  # windows start at the edge, and the last may reach beyond the other
        x = F.pad(x, (0, 1, 0, 1), value=-torch.inf)  # of an even height and width
    else:
        x = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    x = x.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(-2, -1))
    for layer, count in BLOCKS.items():
        for number in range(count):
            x = block(x, f"{layer}.{number}", 2 if number == 0 and layer != "layer1" else 1)
    return x


def layer4(resnet, images):
    """What torchvision's network computes there."""
    kept = {}
    hook = resnet.layer4.register_forward_hook(lambda *call: kept.update(grid=call[2]))
    with torch.no_grad():
        resnet(images)
    hook.remove()
    return kept["grid"]  # (B, C, h, w)


def test_features_are_those_of_torchvision_row_by_row_of_the_grid(encoder, resnet, images):
    grid = layer4(resnet, images)
    assert grid.shape == (2, 2048, 2, 3)
    with torch.no_grad():
        features = encoder(images)
    cells = [grid[:, :, row, column] for row in range(2) for column in range(3)]
    assert_close_to(features, torch.stack(cells, dim=1), 1e-4)


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_features_are_those_of_a_resnet_50_written_by_hand(
    encoder, original, resnet, images, stride_in_1x1
):
    # In float64, so that even another epsilon would show.
    state = {name: value.double() for name, value in resnet.state_dict().items()}
    grid = resnet_by_hand(state, images.double(), stride_in_1x1)
    precise = deepcopy(original if stride_in_1x1 else encoder).double()
    with torch.no_grad():
        features = precise(images.double())
    assert_close_to(features, grid.flatten(2).transpose(1, 2), 1e-10)


def test_the_two_kinds_of_resnet_50_differ(encoder, original, images):
    with torch.no_grad():
        plain, other = encoder(images), original(images)
    assert plain.shape == other.shape
    assert float((plain - other).abs().mean() / plain.abs().mean()) > 0.1


def test_stride_in_1x1_moves_the_strides(encoder, original):
    for layer in ("layer2", "layer3", "layer4"):
        plain, other = (getattr(net.stages, layer)[0] for net in (encoder, original))
        assert (plain.conv1.stride, plain.conv2.stride) == ((1, 1), (2, 2))
        assert (other.conv1.stride, other.conv2.stride) == ((2, 2), (1, 1))


def test_training_mode_neither_moves_statistics_nor_changes_features(encoder, images):
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    with torch.no_grad():
        expected = encoder.eval()(images)
        features = encoder.train()(images)
    encoder.eval()
    assert torch.equal(features, expected)
    assert sum("running" in name for name in before) == 2 * 53
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_batch_norm_has_no_trainable_parameters(encoder):
    assert len(list(encoder.parameters())) == 53  # the convolutions
    assert len(list(encoder.buffers())) == 4 * 53


def remove(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize("change", ["missing", "reshaped", "shallower", "deeper"])
def test_load_torchvision_refuses_another_network(resnet, encoder, change):
    state = resnet.state_dict()
    name = "layer3.2.conv2.weight"
    with torch.device("meta"):
        wrong = {
            "missing": lambda: remove(state, name),
            "reshaped": lambda: state | {name: state[name][:, :-1]},
            "shallower": lambda: resnet18(weights=None).state_dict(),
            "deeper": lambda: resnet101(weights=None).state_dict(),
        }[change]()
    before = encoder.stages.layer3[2].conv1.weight.clone()
    with pytest.raises(ValueError, match="tensors"):
        encoder.load_torchvision(wrong)
    assert torch.equal(encoder.stages.layer3[2].conv1.weight, before)


def test_load_torchvision_needs_no_classifier(resnet):
    state = remove(remove(resnet.state_dict(), "fc.weight"), "fc.bias")
    encoder = Encoder()
    encoder.load_torchvision(state)
    assert torch.equal(encoder.stages.layer4[2].bn3.running_var, state["layer4.2.bn3.running_var"])
