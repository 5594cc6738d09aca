"""The network agrees with torchvision, and with the papers' equations written out one by one."""

from copy import deepcopy

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision.models import resnet18, resnet101

from captioning.network.config import ModelConfig
from captioning.network.decoder import Decoder
from captioning.network.encoder import Encoder, FrozenBatchNorm
from captioning.network.fast import fold_batch_norm
from captioning.network.model import CaptioningModel

BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}


@pytest.fixture(scope="module")
def images():
    """Neither square nor alike, so that no turn goes unseen: grids of 2 x 3."""
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


@pytest.fixture
def decoder(network):
    """A copy in eval mode, for a test to change."""
    return deepcopy(network.decoder)


@pytest.fixture(scope="module")
def features():
    return torch.randn(3, 6, 2048, generator=torch.manual_seed(1)).relu()  # (B, L, C)


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(1, 16, (6, 5), generator=torch.manual_seed(2))  # (N, T)


def assert_close_to(actual, expected, tolerance):
    """Equal up to ``tolerance`` of the largest value."""
    largest = float(expected.detach().abs().max())
    assert_close(actual, expected, rtol=0, atol=tolerance * largest)


# The encoder -------------------------------------------------------------------------------------


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
    if stride_in_1x1:  # windows start inside, and the last may hang over the edge
        x = F.pad(x, (0, 1, 0, 1), value=-torch.inf)  # of an even height and width
    else:
        x = F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    x = x.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(-2, -1))
    for layer, count in BLOCKS.items():
        for number in range(count):
            x = block(x, f"{layer}.{number}", 2 if number == 0 and layer != "layer1" else 1)
    return x


def layer4(resnet, images):
    """What torchvision's own network has there."""
    kept = {}
    hook = resnet.layer4.register_forward_hook(lambda *call: kept.update(grid=call[2]))
    with torch.no_grad():
        resnet(images)
    hook.remove()
    return kept["grid"]  # (B, C, h, w)


def test_it_equals_torchvision_row_by_row_of_the_grid(encoder, resnet, images):
    grid = layer4(resnet, images)
    assert grid.shape == (2, 2048, 2, 3)
    with torch.no_grad():
        features = encoder(images)
    cells = [grid[:, :, row, column] for row in range(2) for column in range(3)]
    assert_close_to(features, torch.stack(cells, dim=1), 1e-4)


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_it_equals_resnet_50_by_hand(encoder, original, resnet, images, stride_in_1x1):
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


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_folding_changes_nothing_and_leaves_the_encoder(encoder, original, images, stride_in_1x1):
    chosen = original if stride_in_1x1 else encoder
    before = {name: value.clone() for name, value in chosen.state_dict().items()}
    copy = fold_batch_norm(chosen)
    with torch.no_grad():
        assert_close_to(copy(images), chosen(images), 1e-4)
    assert not any(isinstance(module, FrozenBatchNorm) for module in copy.modules())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    after = chosen.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_mode_neither_moves_statistics_nor_changes_features(encoder, images):
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    with torch.no_grad():
        expected = encoder.eval()(images)
        features = encoder.train()(images)
    encoder.eval()
    assert torch.equal(features, expected)
    assert sum("running" in name for name in before) == 2 * 53
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_norms_are_no_parameters(encoder):
    assert len(list(encoder.parameters())) == 53  # the convolutions
    assert len(list(encoder.buffers())) == 4 * 53


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize("change", ["missing", "reshaped", "shallower", "deeper"])
def test_load_torchvision_refuses_another_network(resnet, encoder, change):
    state = resnet.state_dict()
    name = "layer3.2.conv2.weight"
    with torch.device("meta"):
        wrong = {
            "missing": lambda: without(state, name),
            "reshaped": lambda: state | {name: state[name][:, :-1]},
            "shallower": lambda: resnet18(weights=None).state_dict(),
            "deeper": lambda: resnet101(weights=None).state_dict(),
        }[change]()
    before = encoder.stages.layer3[2].conv1.weight.clone()
    with pytest.raises(ValueError, match="tensors"):
        encoder.load_torchvision(wrong)
    assert torch.equal(encoder.stages.layer3[2].conv1.weight, before)


def test_load_torchvision_needs_no_classifier(resnet):
    state = without(without(resnet.state_dict(), "fc.weight"), "fc.bias")
    encoder = Encoder()
    encoder.load_torchvision(state)
    assert torch.equal(encoder.stages.layer4[2].bn3.running_var, state["layer4.2.bn3.running_var"])


# The decoder -------------------------------------------------------------------------------------


def caption_by_hand(state, features, tokens):
    """Logits (T, V) and alphas (T, L) of one caption; features (L, C), the equations of Xu et al.

    Equation numbers are those of Show, Attend and Tell.
    """

    def affine(name, x):
        bias = state.get(f"{name}.bias")
        return state[f"{name}.weight"] @ x + (0 if bias is None else bias)

    def scores(hidden):
        for annotation in features:  # eq. 4, with the additive f_att of Bahdanau et al.
            inner = affine("attention.key", annotation) + affine("attention.query", hidden)
            yield affine("attention.score", torch.tanh(inner))[0]

    mean = sum(features) / len(features)  # section 3.1.2
    hidden = torch.tanh(affine("initial_hidden", mean))
    cell = torch.tanh(affine("initial_cell", mean))
    logits, alphas = [], []
    for token in tokens.tolist():
        word = state["embedding.weight"][token]
        exponentials = [torch.exp(score) for score in scores(hidden)]
        alpha = [value / sum(exponentials) for value in exponentials]  # eq. 5
        context = sum(weight * place for weight, place in zip(alpha, features, strict=True))  # 13
        context = torch.sigmoid(affine("gate", hidden)) * context  # section 4.2.1
        gates = (
            state["lstm.weight_ih"] @ torch.cat([word, context])
            + state["lstm.bias_ih"]
            + state["lstm.weight_hh"] @ hidden
            + state["lstm.bias_hh"]
        )  # eq. 1, in PyTorch's order: input, forget, candidate, output
        put, forget, candidate, show = gates.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(put) * torch.tanh(candidate)  # eq. 2
        hidden = torch.sigmoid(show) * torch.tanh(cell)  # eq. 3
        output = word + affine("output_hidden", hidden) + affine("output_context", context)  # 7
        logits.append(affine("vocabulary", torch.tanh(output)))
        alphas.append(torch.stack(alpha))
    return torch.stack(logits), torch.stack(alphas)


def test_it_equals_the_equations_caption_by_caption(decoder, features, tokens):
    logits, alphas = decoder(features, tokens)
    assert logits.shape == (6, 5, 16)
    assert alphas.shape == (6, 5, 6)
    for caption in range(6):  # two captions an image
        expected = caption_by_hand(decoder.state_dict(), features[caption // 2], tokens[caption])
        assert_close_to(logits[caption], expected[0], 1e-5)
        assert_close_to(alphas[caption], expected[1], 1e-5)


def test_its_gradients_are_those_of_the_equations(decoder, features, tokens):
    parameters = dict(decoder.named_parameters())
    weights = torch.randn(6, 5, 16 + 6, generator=torch.manual_seed(3))

    def gradients(outputs):
        value = (torch.cat(outputs, dim=-1) * weights).sum()
        return torch.autograd.grad(value, list(parameters.values()))

    by_hand = [caption_by_hand(parameters, features[n // 2], tokens[n]) for n in range(6)]
    expected = gradients([torch.stack(part) for part in zip(*by_hand, strict=True)])
    for actual, other in zip(gradients(decoder(features, tokens)), expected, strict=True):
        assert_close_to(actual, other, 1e-4)


def test_captions_share_their_images_features(decoder, features, tokens):
    shared = decoder(features, tokens)
    repeated = decoder(features.repeat_interleave(2, dim=0), tokens)
    for one, other in zip(shared, repeated, strict=True):
        assert_close_to(one, other, 1e-5)


def test_alphas_sum_to_1_and_are_not_even(decoder, features, tokens):
    _, alphas = decoder(features, tokens)
    assert (alphas >= 0).all()
    assert_close(alphas.sum(dim=-1), torch.ones(6, 5))
    assert ((alphas - 1 / 6).abs() > 0.1).any()


def test_later_tokens_change_nothing_before_them(decoder, features, tokens):
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 16
    (logits, alphas), (other_logits, other_alphas) = (
        decoder(features, words) for words in (tokens, changed)
    )
    assert torch.equal(logits[:, :3], other_logits[:, :3])
    assert torch.equal(alphas[:, :4], other_alphas[:, :4])
    assert not torch.equal(logits[:, 3], other_logits[:, 3])
    assert not torch.equal(alphas[:, 4], other_alphas[:, 4])


def test_dropout_acts_in_training_alone(decoder, features, tokens):
    assert torch.equal(decoder(features, tokens)[0], decoder(features, tokens)[0])
    decoder.train()
    assert not torch.equal(decoder(features, tokens)[0], decoder(features, tokens)[0])
    decoder.dropout.p = 0.0
    assert torch.equal(decoder(features, tokens)[0], decoder.eval()(features, tokens)[0])


def test_attention_is_summed_up_in_float32_when_features_are_not(decoder, features, tokens):
    decoder.bfloat16()
    _, alphas = decoder(features.bfloat16(), tokens)
    assert alphas.dtype == torch.float32
    assert_close(alphas.sum(dim=-1), torch.ones(6, 5))


# Both together -----------------------------------------------------------------------------------


def test_pixels_or_their_features_give_the_same(network, images, tokens):
    with torch.no_grad():
        from_pixels = network(images, tokens[:4])
        from_features = network(network.encoder(images), tokens[:4])
    for one, other in zip(from_pixels, from_features, strict=True):
        assert torch.equal(one, other)


def test_the_gradient_reaches_every_parameter(network, images, tokens):
    network = deepcopy(network).train()
    logits, alphas = network(images, tokens[:4])
    weights = torch.randn(logits.shape, generator=torch.manual_seed(3))
    ((logits * weights).sum() + alphas.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocabulary_size": 0},
        {"embedding_dim": 0},
        {"attention_dim": -1},
        {"decoder_dim": 0},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
    ],
)
def test_sizes_out_of_range_are_refused_by_name(sizes):
    with pytest.raises(ValueError, match=next(iter(sizes))):
        ModelConfig(**{"vocabulary_size": 10, **sizes})


def test_the_config_sets_the_sizes():
    decoder = Decoder(ModelConfig(11, embedding_dim=3, attention_dim=5, decoder_dim=7))
    assert decoder.embedding.weight.shape == (11, 3)
    assert decoder.attention.key.weight.shape == (5, 2048)
    assert decoder.lstm.weight_hh.shape == (28, 7)
    assert decoder.vocabulary.weight.shape == (11, 3)


def test_the_config_chooses_the_resnet():
    with torch.device("meta"):
        network = CaptioningModel(ModelConfig(11, stride_in_1x1=True))
    assert network.encoder.stages.layer2[0].conv1.stride == (2, 2)
