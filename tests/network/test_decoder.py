"""The decoder agrees with its equations, written out one by one."""

import math
from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from captioning.network.config import ModelConfig
from captioning.network.decoder import Decoder, Output


@pytest.fixture
def decoder(network):
    """A copy in eval mode, for a test to change."""
    return deepcopy(network.decoder)


@pytest.fixture(scope="module")
def features():
    return 8 * torch.randn(3, 6, 2048, generator=torch.manual_seed(1)).relu()  # (B, L, C)


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(1, 16, (6, 5), generator=torch.manual_seed(2))  # (N, T)


def assert_close_to(actual, expected, tolerance):
    """Equal up to ``tolerance`` of the largest value."""
    largest = float(expected.detach().abs().max())
    assert_close(actual, expected, rtol=0, atol=tolerance * largest)


def affine(state, name, x):
    bias = state.get(f"{name}.bias")
    return state[f"{name}.weight"] @ x + (0 if bias is None else bias)


def offers_by_hand(state, features):
    """The five likeliest nouns of features (L, C): pairs of an id and a log-probability."""
    exponentials = torch.exp(affine(state, "classifier.linear", sum(features) / len(features)))
    chances = {}  # classes of the same noun count together
    nouns = state["classifier.nouns"].tolist()
    for noun, chance in zip(nouns, exponentials / exponentials.sum(), strict=True):
        chances[noun] = chances.get(noun, 0) + chance
    likeliest = sorted(chances, key=lambda noun: -chances[noun].item())[:5]
    return [(noun, torch.log(chances[noun].clamp(min=1e-6))) for noun in likeliest]


def copies_by_hand(state, hidden, offers):
    """The score of copying each noun, after a hidden state."""
    query = affine(state, "copy.query", hidden)
    for noun, confidence in offers:
        inner = affine(state, "copy.noun", state["embedding.weight"][noun])
        key = torch.tanh(inner + affine(state, "copy.sure", confidence.view(1)))
        trust = affine(state, "copy.trust", confidence.view(1))[0]
        yield query @ key / math.sqrt(len(key)) + trust


def caption_by_hand(state, features, tokens):
    """Logits (T, V) and alphas (T, L) of one caption; features (L, C), the equations one by one.

    Equation numbers are those of Show, Attend and Tell. The hidden state that its equations ask
    with is joined by the word that was read; CopyNet's equation 4 adds up writing and copying.
    """
    hidden = cell = torch.zeros(state["lstm.weight_hh"].shape[1])
    offers = offers_by_hand(state, features)
    logits, alphas = [], []
    for token in tokens.tolist():
        word = state["embedding.weight"][token]
        asking = torch.cat([hidden, word])
        query = affine(state, "attention.query", asking)
        exponentials = []
        for annotation in features:  # eq. 4, with the additive f_att of Bahdanau et al.
            inner = torch.tanh(affine(state, "attention.key", annotation) + query)
            exponentials.append(torch.exp(affine(state, "attention.score", inner)[0]))
        alpha = [value / sum(exponentials) for value in exponentials]  # eq. 5
        context = sum(a * annotation for a, annotation in zip(alpha, features, strict=True))  # 13
        context = torch.sigmoid(affine(state, "gate", asking)) * context  # section 4.2.1
        gates = (
            state["lstm.weight_ih"] @ torch.cat([word, context])
            + state["lstm.bias_ih"]
            + state["lstm.weight_hh"] @ hidden
            + state["lstm.bias_hh"]
        )  # eq. 1, in PyTorch's order: input, forget, candidate, output
        enter, forget, candidate, leave = gates.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)  # eq. 2
        hidden = torch.sigmoid(leave) * torch.tanh(cell)  # eq. 3
        output = word + affine(state, "output_hidden", hidden)
        output = output + affine(state, "output_context", context)  # eq. 7
        chances = list(torch.exp(affine(state, "vocabulary", torch.tanh(output))))
        copies = copies_by_hand(state, hidden, offers)
        for (noun, _), score in zip(offers, copies, strict=True):
            chances[noun] = chances[noun] + torch.exp(score)
        logits.append(torch.log(torch.stack(chances)))
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
    state = {**parameters, **dict(decoder.named_buffers())}
    weights = torch.randn(6, 5, 16 + 6, generator=torch.manual_seed(3))

    def gradients(outputs):
        value = (torch.cat(outputs, dim=-1) * weights).sum()
        return torch.autograd.grad(value, list(parameters.values()))

    by_hand = [caption_by_hand(state, features[n // 2], tokens[n]) for n in range(6)]
    expected = gradients([torch.stack(part) for part in zip(*by_hand, strict=True)])
    for actual, other in zip(gradients(decoder(features, tokens)), expected, strict=True):
        assert_close_to(actual, other, 1e-4)


def test_the_state_begins_empty_whatever_the_photograph(decoder, features):
    _, state = decoder.start(features, captions_per_image=2)
    assert [part.shape for part in state] == [(6, 40)] * 2
    assert not any(part.any() for part in state)


def test_the_attention_to_a_word_depends_on_the_word_read_last(decoder, features, tokens):
    """And on that alone where nothing was said before: the state is empty."""
    other = tokens.clone()
    other[:, 0] = (other[:, 0] + 1) % 16
    alphas, changed = (decoder(features, words)[1][:, 0] for words in (tokens, other))
    assert ((alphas - changed).abs().amax(dim=1) > 1e-3).all()


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


# Copying ----------------------------------------------------------------------------------------


def probabilities(decoder, output, nouns):
    return decoder.logits(output, nouns).softmax(dim=-1)


def test_copying_raises_the_offered_nouns_and_lowers_the_rest_alike(decoder):
    """CopyNet: p(w) is proportional to exp(written) plus the sum of exp(copy)."""
    random = torch.manual_seed(4)
    nouns = torch.tensor([[9, 4, 15], [5, 12, 6]])  # (B, K)
    vector, copies = torch.randn(4, 2, 24, generator=random), torch.randn(4, 2, 3, generator=random)
    written = decoder.vocabulary(vector).exp()  # (N, T, V)
    weights = written.clone()
    for caption in range(4):
        for place, noun in enumerate(nouns[caption // 2].tolist()):
            weights[caption, :, noun] += copies[caption, :, place].exp()
    expected = weights / weights.sum(dim=-1, keepdim=True)
    assert_close(probabilities(decoder, Output(vector, copies), nouns), expected)
    one_step = probabilities(decoder, Output(vector[:, 1], copies[:, 1]), nouns)
    assert_close(one_step, expected[:, 1])


def test_logits_at_some_steps_are_those_of_all_steps(decoder, features, tokens):
    memory, state = decoder.start(features, captions_per_image=2)
    outputs, alphas = decoder.unroll(memory, state, tokens)
    logits, expected = decoder(features, tokens)
    assert torch.equal(alphas, expected)
    mask = torch.rand(6, 5, generator=torch.manual_seed(6)) < 0.5
    assert 0 < mask.sum() < 30
    assert_close_to(decoder.logits_at(outputs, memory, mask), logits[mask], 1e-6)


def test_a_score_of_minus_infinity_copies_nothing(decoder):
    random = torch.manual_seed(5)
    vector, nouns = torch.randn(2, 24, generator=random), torch.tensor([[9, 4], [5, 12]])
    never = torch.full((2, 2), -torch.inf)
    assert_close(decoder.logits(Output(vector, never), nouns), decoder.vocabulary(vector))


def test_a_word_is_the_likelier_the_surer_the_classifier_is(decoder, features):
    nouns = torch.tensor([[6, 8]] * 3)
    with torch.no_grad():
        decoder.copy.sure.weight.zero_()  # what is left is the trust in the classifier
    chances = []
    for confidence in (-9.0, -3.0, -0.1):
        sure = torch.full((3, 2), -4.0)
        sure[:, 0] = confidence
        memory = decoder.remember(features, nouns, sure)
        output, _, _ = decoder.step(torch.ones(3).long(), memory, decoder.blank_state(features, 3))
        chances.append(probabilities(decoder, output, nouns)[:, 6])
    assert (chances[0] < chances[1]).all()
    assert (chances[1] < chances[2]).all()


def test_the_memory_of_some_images_is_a_part_of_that_of_all(decoder, features):
    memory, _ = decoder.start(features)
    assert [part.shape[0] for part in memory] == [3] * 5
    some, _ = decoder.start(features[[2, 0]])
    for part, expected in zip(memory.take(torch.tensor([2, 0])), some, strict=True):
        assert_close(part, expected)


def test_the_score_of_a_word_is_what_a_location_adds_to_its_logit(decoder, features):
    words = torch.tensor([7, 4, 12])
    scores = decoder.word_scores(features, words)
    assert scores.shape == (3, 6, 3)
    vectors, context = decoder.vocabulary.weight, decoder.output_context.weight
    for image in range(3):
        for location in range(6):
            added = context @ features[image, location]
            expected = torch.stack([vectors[word] @ added for word in words])
            assert_close(scores[image, location], expected, rtol=1e-4, atol=1e-3)
    of_each = torch.tensor([[7, 4], [12, 12], [5, 7]])  # (B, W)
    own = decoder.word_scores(features, of_each)
    for image in range(3):
        assert_close(own[image], decoder.word_scores(features, of_each[image])[image])


# The rest ---------------------------------------------------------------------------------------


def test_later_tokens_change_nothing_before_them(decoder, features, tokens):
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 16
    (logits, alphas), (other_logits, other_alphas) = (
        decoder(features, words) for words in (tokens, changed)
    )
    assert torch.equal(logits[:, :3], other_logits[:, :3])
    assert torch.equal(alphas[:, :3], other_alphas[:, :3])
    assert not torch.equal(logits[:, 3], other_logits[:, 3])
    # Attention asks after the word is read.
    assert not torch.equal(alphas[:, 3], other_alphas[:, 3])


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
    sizes = {"embedding_dim": 3, "attention_dim": 5, "decoder_dim": 7, "classes": 9}
    decoder = Decoder(ModelConfig(11, **sizes))
    assert decoder.embedding.weight.shape == (11, 3)
    assert decoder.attention.key.weight.shape == (5, 2048)
    assert decoder.lstm.weight_hh.shape == (28, 7)
    assert decoder.vocabulary.weight.shape == (11, 3)
    assert decoder.classifier.linear.weight.shape == (9, 2048)
    assert decoder.classifier.nouns.shape == (9,)
    assert decoder.copy.noun.weight.shape == (5, 3)
    assert decoder.copy.query.weight.shape == (5, 7)
