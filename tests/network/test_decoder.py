"""The decoder agrees with the equations of Show, Attend and Tell, written out one by one."""

from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from captioning.network.config import ModelConfig
from captioning.network.decoder import Decoder


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
        context = sum(a * annotation for a, annotation in zip(alpha, features, strict=True))  # 13
        context = torch.sigmoid(affine("gate", hidden)) * context  # section 4.2.1
        gates = (
            state["lstm.weight_ih"] @ torch.cat([word, context])
            + state["lstm.bias_ih"]
            + state["lstm.weight_hh"] @ hidden
            + state["lstm.bias_hh"]
        )  # eq. 1, in PyTorch's order: input, forget, candidate, output
        enter, forget, candidate, leave = gates.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)  # eq. 2
        hidden = torch.sigmoid(leave) * torch.tanh(cell)  # eq. 3
        output = word + affine("output_hidden", hidden) + affine("output_context", context)  # 7
        logits.append(affine("vocabulary", torch.tanh(output)))
        alphas.append(torch.stack(alpha))
    return torch.stack(logits), torch.stack(alphas)


def test_logits_and_alphas_are_those_of_the_equations(decoder, features, tokens):
    logits, alphas = decoder(features, tokens)
    assert logits.shape == (6, 5, 16)
    assert alphas.shape == (6, 5, 6)
    for caption in range(6):  # two captions an image
        expected = caption_by_hand(decoder.state_dict(), features[caption // 2], tokens[caption])
        assert_close_to(logits[caption], expected[0], 1e-5)
        assert_close_to(alphas[caption], expected[1], 1e-5)


def test_gradients_are_those_of_the_equations(decoder, features, tokens):
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


def test_alphas_sum_to_1_and_are_not_uniform(decoder, features, tokens):
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


def test_dropout_acts_only_in_training(decoder, features, tokens):
    assert torch.equal(decoder(features, tokens)[0], decoder(features, tokens)[0])
    decoder.train()
    assert not torch.equal(decoder(features, tokens)[0], decoder(features, tokens)[0])
    decoder.dropout.p = 0.0
    assert torch.equal(decoder(features, tokens)[0], decoder.eval()(features, tokens)[0])


def test_alphas_are_float32_when_features_are_not(decoder, features, tokens):
    decoder.bfloat16()
    _, alphas = decoder(features.bfloat16(), tokens)
    assert alphas.dtype == torch.float32
    assert_close(alphas.sum(dim=-1), torch.ones(6, 5))


def test_the_config_sets_the_sizes():
    decoder = Decoder(ModelConfig(11, embedding_dim=3, attention_dim=5, decoder_dim=7))
    assert decoder.embedding.weight.shape == (11, 3)
    assert decoder.attention.key.weight.shape == (5, 2048)
    assert decoder.lstm.weight_hh.shape == (28, 7)
    assert decoder.vocabulary.weight.shape == (11, 3)
