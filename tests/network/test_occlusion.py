"""Hidden locations against a slow way: features replaced, one word and one mask at a time."""

from copy import deepcopy

import pytest
import torch
from torch.testing import assert_close

from captioning.data.vocab import PAD, START
from captioning.network.decoder import State
from captioning.network.fast import to_half_precision
from captioning.network.occlusion import Words, drops, follow
from tests.network.altered import see

CAPTIONS = torch.tensor([[4, 6, 8, 9], [5, 12, PAD, PAD], [4, 5, 8, PAD]])  # (B, T)


@pytest.fixture(scope="module", params=["float32", "float16"])
def decoder(request, network):
    return network.decoder if request.param == "float32" else to_half_precision(network.decoder)


@pytest.fixture(scope="module")
def features():
    return 8 * torch.randn(3, 9, 2048, generator=torch.manual_seed(1)).relu()  # (B, L, C)


@pytest.fixture(scope="module")
def masks():
    """Seven ways to hide locations: one, several, none, all, and random ones (M, L)."""
    masks = torch.rand(7, 9, generator=torch.manual_seed(2)) < 0.4
    masks[0], masks[1] = False, True
    masks[2] = torch.arange(9) == 4
    return masks


def follow_all(decoder, features, captions=CAPTIONS):
    with torch.no_grad():
        memory, state = decoder.start(features)
        return memory, follow(decoder, memory, state, captions, captions != PAD)


@torch.no_grad()
def log_probability(decoder, features, tokens, mask, normalise=True):
    """Of the last of ``tokens``, before which alone a mask (L,) hides features (L, C).

    Without ``normalise`` only its logit.
    """
    features = features.unsqueeze(0)
    memory, state = decoder.start(features)
    *before, last = [START, *tokens[:-1]]
    for token in before:
        _, _, state = decoder.step(torch.tensor([token]), memory, state)
    altered = torch.where(mask.unsqueeze(-1), features.mean(dim=1), features)
    seen = see(decoder, features, altered)
    output, _, _ = decoder.step(torch.tensor([last]), seen, state)
    logits = decoder.logits(output, seen.nouns)[0]
    return float((logits.log_softmax(-1) if normalise else logits)[tokens[-1]])


def slow_drops(decoder, features, masks, normalise=True):
    """Per photograph, word and mask, in the order of ``follow``: step by step."""
    rows = []
    for step in range(CAPTIONS.shape[1]):
        for own, caption in zip(features, CAPTIONS.tolist(), strict=True):
            if caption[step] == PAD:
                continue
            tokens = caption[: step + 1]
            nothing = torch.zeros(9, dtype=torch.bool)
            whole, *hidden = (
                log_probability(decoder, own, tokens, mask, normalise) for mask in (nothing, *masks)
            )
            rows.append([whole - one for one in hidden])
    return torch.tensor(rows)


def test_words_are_followed_with_the_state_before_them(decoder, features):
    memory, words = follow_all(decoder, features)
    assert words.photograph.tolist() == [0, 1, 2, 0, 1, 2, 0, 2, 0]
    assert words.word.tolist() == [4, 5, 4, 6, 12, 5, 8, 8, 9]
    assert words.last.tolist() == [START] * 3 + [4, 5, 4, 6, 5, 8]
    with torch.no_grad():
        for row in range(len(words.word)):
            one = Words(*(column[row : row + 1] for column in words))
            own = memory.take(one.photograph)
            output, alphas, _ = decoder.step(one.last, own, State(one.hidden, one.cell))
            logits = decoder.logits(output, own.nouns)[0]
            assert_close(logits[one.word], one.score, atol=2e-3, rtol=0)
            said = logits.log_softmax(-1)[one.word]
            assert_close(said, one.score - one.competition, atol=2e-3, rtol=0)
            assert_close(alphas, one.alphas, atol=1e-3, rtol=0)


def test_each_drop_equals_that_of_the_slow_way(decoder, features, masks):
    memory, words = follow_all(decoder, features)
    with torch.no_grad():
        lost = drops(decoder, memory, words, masks)
    assert lost.shape == (9, 7)
    expected = slow_drops(decoder, features, masks)
    assert expected.abs().max() > 0.3  # there is something to compare
    assert_close(lost, expected, atol=4e-3, rtol=0)


@pytest.mark.parametrize("competition", [0.0, 0.5])
def test_without_competition_a_word_loses_its_own_score(decoder, features, masks, competition):
    memory, words = follow_all(decoder, features)
    with torch.no_grad():
        lost = drops(decoder, memory, words, masks, competition)
        probability = drops(decoder, memory, words, masks)
    expected = slow_drops(decoder, features, masks, normalise=False)
    assert (expected - probability).abs().max() > 0.1  # the other words matter
    expected = competition * probability + (1 - competition) * expected
    assert_close(lost, expected, atol=4e-3, rtol=0)


def test_a_copied_word_loses_what_the_classifier_is_less_sure_of(network, features, masks):
    """A word that is copied alone, by a decoder that reads nothing else of the photograph."""
    decoder = deepcopy(network.decoder)
    with torch.no_grad():
        decoder.copy.query.weight.zero_()
        decoder.copy.query.bias.zero_()
        decoder.copy.trust.weight.fill_(1.0)
        decoder.copy.trust.bias.fill_(30.0)  # what is written does not count any more
        memory, state = decoder.start(features)
        captions = memory.nouns[:, :1]  # (B, 1), the likeliest noun
        words = follow(decoder, memory, state, captions, captions != PAD)
        lost = drops(decoder, memory, words, masks, competition=0.0)
        for photograph, mask in ((p, m) for p in range(3) for m in range(7)):
            own = features[photograph : photograph + 1]
            altered = torch.where(masks[mask].unsqueeze(-1), own.mean(dim=1), own)
            seen = see(decoder, own, altered)
            expected = memory.confidence[photograph, 0] - seen.confidence[0, 0]
            assert_close(lost[photograph, mask], expected, atol=2e-4, rtol=0)
    assert lost.abs().max() > 0.1  # there is something to compare
    assert_close(lost[:, 1], torch.zeros(3), atol=2e-4, rtol=0)  # the mean stays the mean


def test_nothing_is_lost_where_nothing_is_hidden(decoder, features, masks):
    memory, words = follow_all(decoder, features)
    with torch.no_grad():
        lost = drops(decoder, memory, words, masks)
    assert_close(lost[:, 0], torch.zeros(9), atol=2e-3, rtol=0)


def test_each_word_may_have_its_own_masks(decoder, features, masks):
    memory, words = follow_all(decoder, features)
    own = torch.stack([masks.roll(row, dims=0) for row in range(9)])  # (R, M, L)
    with torch.no_grad():
        lost, together = drops(decoder, memory, words, own), drops(decoder, memory, words, masks)
    for row in range(9):
        assert_close(lost[row], together[row].roll(row), atol=1e-4, rtol=0)


def test_many_words_are_computed_in_parts(decoder, features, masks, monkeypatch):
    memory, words = follow_all(decoder, features)
    with torch.no_grad():
        together = drops(decoder, memory, words, masks)
        monkeypatch.setattr("captioning.network.occlusion._AT_ONCE", 1)
        assert_close(drops(decoder, memory, words, masks), together, atol=1e-4, rtol=0)


def test_several_contexts_of_a_word_are_read_as_each_alone(decoder):
    random = torch.manual_seed(3)
    contexts = torch.randn(2, 5, 2048, generator=random)
    state = State(*(torch.randn(2, 40, generator=random) for _ in range(2)))
    with torch.no_grad():
        embedded = decoder.embedding(torch.tensor([4, 9]))  # (N, E)
        vectors, new = decoder.read(embedded, contexts.flatten(0, 1), state)
        for number in range(5):
            alone, own = decoder.read(embedded, contexts[:, number], state)
            assert_close(vectors.view(2, 5, -1)[:, number], alone, atol=1e-4, rtol=0)
            for part, expected in zip(new, own, strict=True):
                assert_close(part.view(2, 5, -1)[:, number], expected, atol=1e-4, rtol=0)
