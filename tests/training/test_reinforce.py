"""Self-critical training: the samples, their probabilities and rewards, and that it learns."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider_scorer import CiderScorer
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.dataset import Batch, draw
from captioning.data.vocab import END, PAD, START, TOKENS, UNK
from captioning.network.classifier import Nouns
from captioning.network.config import ENCODER_CHANNELS, ModelConfig
from captioning.network.decoder import Decoder
from captioning.network.model import CaptioningModel
from captioning.training import reinforce
from captioning.training.config import TrainConfig
from captioning.training.reinforce import SelfCritical, choose, sample
from captioning.training.rewards import naming_rewards
from captioning.training.train import (
    Optimization,
    make_optimizer,
    train_one_epoch,
)
from tests.training.small import caption_loss, cost

WORDS = 5
SIZES = ModelConfig(4 + WORDS, 6, 4, 7, dropout=0.0, classes=WORDS)
NEVER = TOKENS.never


def make_decoder(config=SIZES):
    """Each word is the noun of a class."""
    decoder = Decoder(config)
    decoder.classifier.name_classes(range(4, 4 + WORDS))
    return decoder


def begin(count):
    """The start tokens of as many captions."""
    return torch.full((count,), START)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(1)
    decoder = make_decoder().eval()
    with torch.no_grad():
        for weight in (decoder.embedding.weight, decoder.vocabulary.weight):
            weight.mul_(4)  # words must differ in their probability
    return decoder


@pytest.fixture(scope="module")
def features():
    return torch.rand(3, 4, ENCODER_CHANNELS, generator=torch.manual_seed(2))


def words_of(row):
    return [token for token in row.tolist() if token not in (PAD, END)]


def test_captions_are_drawn_as_decoding_would_write_them(decoder, features):
    torch.manual_seed(0)
    tokens, _ = sample(decoder, features, begin(120), max_words=6, never=NEVER)
    assert tokens.shape[0] == 120
    assert tokens.shape[1] <= 6
    for row in tokens.tolist():
        assert row[0] not in {*NEVER, END}
        length = row.index(END) if END in row else len(row)
        assert not set(NEVER) & set(row[:length])
        assert set(row[length + 1 :]) <= {PAD}
    assert len({tuple(row) for row in tokens.tolist()}) > 20


def test_probabilities_are_those_of_teacher_forcing_without_excluded_tokens(decoder, features):
    torch.manual_seed(3)
    tokens, log_probabilities = sample(decoder, features, begin(12), max_words=6, never=NEVER)
    inputs = torch.cat([torch.full((12, 1), START), tokens[:, :-1]], dim=1)
    logits = decoder(features, inputs)[0].detach()
    for row in range(12):
        for step in range(tokens.shape[1]):
            token = int(tokens[row, step])
            if token == PAD:
                assert log_probabilities[row, step] == 0
                continue
            never = [*NEVER, *([END] if step == 0 else [])]
            allowed = [
                math.exp(v) for i, v in enumerate(logits[row, step].tolist()) if i not in never
            ]
            expected = float(logits[row, step, token]) - math.log(sum(allowed))
            assert float(log_probabilities[row, step].detach()) == pytest.approx(expected, abs=1e-4)


def test_a_caption_is_drawn_as_often_as_it_is_likely(decoder, features):
    torch.manual_seed(4)
    with torch.no_grad():
        tokens, log_probabilities = sample(
            decoder, features[:1], begin(4000), max_words=2, never=NEVER
        )
    counts = Counter(map(tuple, tokens.tolist()))
    likely = {
        tuple(row): float(total.exp())
        for row, total in zip(tokens.tolist(), log_probabilities.sum(dim=1), strict=True)
    }
    assert sum(likely.values()) == pytest.approx(1, abs=0.01)  # nearly all captions were drawn
    for caption, probability in likely.items():
        error = math.sqrt(probability * (1 - probability) / 4000)
        assert abs(counts[caption] / 4000 - probability) < 5 * error + 1e-3


def test_a_token_is_chosen_as_often_as_it_is_likely():
    """Of a fine grid of noise each token gets its share, to the last place of the grid."""
    scores = torch.tensor([3.0, -torch.inf, 0.5, -4.0, 1.0, -torch.inf]).log_softmax(dim=0)
    count = 100_000
    grid = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    chosen = choose(scores.expand(count, -1), grid)
    counts = torch.bincount(chosen, minlength=6)
    assert (counts - count * scores.exp()).abs().max() <= 1
    assert torch.equal(chosen, chosen.sort().values)  # the inverse of the distribution function


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.lists(st.one_of(st.just(-math.inf), st.floats(-40, 40)), min_size=2, max_size=9),
    st.sampled_from([0.0, 5e-324, 1e-17, 0.5, 1 - 2**-24, 1 - 2**-53]),
    st.integers(0, 8),
)
def test_no_impossible_token_is_ever_chosen(scores, noise, place):
    scores[place % len(scores)] = 0.0  # one at least is possible
    row = torch.tensor([scores]).log_softmax(dim=1)
    chosen = int(choose(row, torch.tensor([noise], dtype=torch.float64)))
    assert row[0, chosen].exp() > 0


def test_what_is_drawn_for_a_photograph_does_not_depend_on_the_others(decoder, features):
    def drawn(images):
        seeds = torch.tensor([7, 8, 9])[images]
        noise = draw(seeds, len(images), 2 * 6).view(-1, 6)
        return sample(decoder, features[images], begin(2 * len(images)), 6, NEVER, noise).tokens

    together, apart = drawn([0, 1, 2]), [drawn([image]) for image in (0, 1, 2)]
    for image, alone in enumerate(apart):
        rows = together[2 * image : 2 * image + 2]
        assert torch.equal(rows[:, : alone.shape[1]], alone)
        assert not rows[:, alone.shape[1] :].any()


def test_captions_in_a_manner_begin_with_its_token_and_never_hold_it(decoder, features):
    """The photographs of a batch may have different manners."""
    manner = 4
    starts = torch.tensor([START] * 50 + [manner] * 50 + [START] * 50)
    torch.manual_seed(11)
    tokens, log_probabilities = sample(decoder, features, starts, 6, never=(*NEVER, manner))
    assert not (tokens == manner).any()
    logits = decoder(features, starts.unsqueeze(1))[0].detach()[:, 0]  # (N, V)
    never = [PAD, START, UNK, END, manner]
    scores = logits.index_fill(1, torch.tensor(never), -torch.inf).log_softmax(dim=-1)
    expected = scores.gather(1, tokens[:, :1]).squeeze(1)
    torch.testing.assert_close(log_probabilities[:, 0].detach(), expected)


def test_gradients_reach_decoder_and_features(decoder, features):
    torch.manual_seed(5)
    copy = features.clone().requires_grad_()
    _, log_probabilities = sample(decoder, copy, begin(6), max_words=5, never=NEVER)
    log_probabilities.sum().backward()
    assert copy.grad.isfinite().all()
    assert copy.grad.abs().sum() > 0
    decoder.zero_grad()


CAPTIONS = [
    [[START, 4, 5, END], [START, 4, 6, 5, END]],
    [[START, 7, 8, 8, END]],
    [[START, 4, 8, END], [START, 6, END]],
]
REFERENCES = [[ids[1:] for ids in group] for group in CAPTIONS]
INPUTS = torch.tensor(
    [[1, 4, 5, 2], [1, 4, 6, 5], [1, 7, 8, 8], [0, 0, 0, 0], [1, 4, 8, 2], [1, 6, 2, 0]]
)
TARGETS = torch.tensor(
    [[4, 5, END, PAD], [4, 6, 5, END], [7, 8, 8, END], [PAD] * 4, [4, 8, END, PAD], [6, END, 0, 0]]
)


def rows(tokens):
    """Captions (N, T) as lists without padding."""
    return [[token for token in row if token != PAD] for row in tokens.tolist()]


def test_rewards_are_those_of_pycocoevalcap_with_end_as_a_word():
    drawn = torch.tensor(
        [[4, 5, END], [4, 6, 5], [7, 8, END], [8, END, PAD], [4, 8, END], [5, 5, 5]]
    )
    rewards = SelfCritical(CAPTIONS, 4, caption_loss).rewards(rows(drawn), REFERENCES)
    for turn in range(2):
        theirs = CiderScorer(n=4, sigma=6.0)
        for image, references in enumerate(CAPTIONS):
            caption = [token for token in drawn[2 * image + turn].tolist() if token != PAD]
            texts = [" ".join(map(str, ids[1:])) for ids in references]
            theirs += (" ".join(map(str, caption)), texts)
        _, expected = theirs.compute_score()
        assert rewards[turn::2].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_caption_that_breaks_off_is_rewarded_less_than_one_that_ends():
    scorer = SelfCritical(CAPTIONS, 4, caption_loss)
    drawn = torch.tensor([[4, 5, END], [4, 5, PAD]] + [[7, 8, END]] * 4)
    rewards = scorer.rewards(rows(drawn), REFERENCES)
    assert rewards[0] > rewards[1]


class Features(CaptioningModel):
    """The network without an encoder: its input is features."""

    def __init__(self, config=SIZES):
        torch.nn.Module.__init__(self)
        self.encoder = torch.nn.Identity()
        self.decoder = make_decoder(config)


def test_the_network_learns_from_rewards_alone():
    """Three photographs, each with other captions."""
    torch.manual_seed(1)
    network = Features(ModelConfig(4 + WORDS, 16, 8, 24, dropout=0.0, classes=WORDS))
    photographs = torch.randn(3, 4, ENCODER_CHANNELS)
    batch = Batch(photographs, INPUTS, TARGETS)
    config = TrainConfig(
        epochs=1, batch_size=3, learning_rate=0.005, samples=8, cross_entropy=0.0, warmup=0.0
    )
    loss = SelfCritical(CAPTIONS, 4, caption_loss)

    def mean_rewards():
        torch.manual_seed(7)
        with torch.no_grad():
            tokens, _ = sample(network.decoder, photographs, begin(300), max_words=4, never=NEVER)
        return loss.rewards(rows(tokens), REFERENCES).view(3, -1).mean(dim=1)

    optimizer = make_optimizer(network, config)
    optimization = Optimization(optimizer, LambdaLR(optimizer, lambda step: 1.0))
    before = mean_rewards()
    train_one_epoch(network, [batch] * 180, optimization, config, loss)
    assert (mean_rewards() > 1.8 * before).all()


def test_the_decoder_learns_to_name_what_is_rewarded(monkeypatch):
    """References say nothing of the noun; the reward of naming it outweighs them."""
    torch.manual_seed(2)
    network = Features()
    with torch.no_grad():
        network.decoder.copy.trust.bias -= 5  # it copies next to nothing yet
    nouns = Nouns(torch.tensor([[7], [5], [6]]), torch.tensor([[0.9]] * 3).log())
    monkeypatch.setattr(network.decoder.classifier, "offer", lambda features: nouns)
    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    config = TrainConfig(1, 3, 0.01, samples=5, cross_entropy=0, naming=20.0)
    optimizer = make_optimizer(network, config)
    optimization = Optimization(optimizer, LambdaLR(optimizer, lambda step: 1.0))

    def named():
        with torch.no_grad():
            drawn = sample(network.decoder.eval(), batch.visual, begin(300), 4, NEVER)
        return float(naming_rewards(drawn.tokens, nouns).mean())

    before = named()
    train_one_epoch(
        network, [batch] * 60, optimization, config, SelfCritical(CAPTIONS, 4, caption_loss)
    )
    assert before < 0.6 < 0.7 < named()


def test_the_captions_of_a_photograph_are_sampled_in_their_own_manner(monkeypatch):
    started = []

    def record(decoder, features, starts, max_words, never, noise):
        started.append((starts.tolist(), never))
        return sample(decoder, features, starts, max_words, never, noise)

    monkeypatch.setattr(reinforce, "sample", record)
    inputs = INPUTS.clone()
    inputs[4:, 0] = 8  # the third photograph's captions are in another manner
    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), inputs, TARGETS)
    config = TrainConfig(epochs=1, batch_size=3, learning_rate=0.1, samples=3)
    never = (*NEVER, 8)
    SelfCritical(CAPTIONS, 4, caption_loss, never)(Features(), batch, config)
    assert started == [([START] * 6 + [8] * 3, never)]


def test_sampling_is_without_dropout_and_cross_entropy_with_it():
    torch.manual_seed(10)
    network = Features(replace(SIZES, dropout=0.9)).train()
    seen = []
    network.decoder.dropout.register_forward_hook(lambda part, *_: seen.append(part.training))
    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    config = TrainConfig(epochs=1, batch_size=3, learning_rate=0.1, samples=2)
    SelfCritical(CAPTIONS, 4, caption_loss)(network, batch, config)
    assert seen[0] is False
    assert seen[-1] is True
    assert network.decoder.training


def test_the_loss_of_given_captions_has_the_weight_of_the_settings():
    torch.manual_seed(8)
    network = Features().eval()
    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    losses = []
    for weight in (0.0, 1.0, 3.0):
        torch.manual_seed(9)
        config = TrainConfig(1, 3, 0.1, samples=2, cross_entropy=weight, entropy=0.5)
        loss = cost(SelfCritical(CAPTIONS, 4, caption_loss)(network, batch, config))
        losses.append(float(loss.detach()))
    given = float(cost(caption_loss(network, batch, config)).detach())
    assert losses[1] - losses[0] == pytest.approx(given, rel=1e-4)
    assert losses[2] - losses[0] == pytest.approx(3 * given, rel=1e-4)


def test_without_a_weight_given_captions_cost_nothing():
    def never(network, batch, config):
        raise AssertionError("it was computed")

    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    config = TrainConfig(1, 3, 0.1, samples=2, cross_entropy=0.0)
    assert cost(SelfCritical(CAPTIONS, 4, never)(Features(), batch, config)).isfinite()


def test_the_decoder_learns_not_to_name_what_no_reference_names():
    """Each costs what the settings say, and the other words of the captions stay."""
    torch.manual_seed(3)
    network, missing = Features(), 8

    def unsupported(captions, references):
        assert references == REFERENCES
        return torch.tensor([float(missing in ids) for ids in captions])

    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    config = TrainConfig(1, 3, 0.01, samples=5, cross_entropy=0, hallucination=20.0)
    optimization = Optimization(
        optimizer := make_optimizer(network, config), LambdaLR(optimizer, lambda step: 1.0)
    )
    loss = SelfCritical(CAPTIONS, 4, caption_loss, NEVER, unsupported)

    def share():
        with torch.no_grad():
            drawn = sample(network.decoder.eval(), batch.visual, begin(300), 4, NEVER)
        return float((drawn.tokens == missing).any(dim=1).float().mean())

    before = share()
    train_one_epoch(network, [batch] * 60, optimization, config, loss)
    assert before > 0.2 > 0.05 > share()


def test_a_cost_of_hallucinations_needs_someone_who_counts_them():
    loss = SelfCritical(CAPTIONS, 4, caption_loss, NEVER)
    batch = Batch(torch.rand(3, 4, ENCODER_CHANNELS), INPUTS, TARGETS)
    config = TrainConfig(1, 3, 0.1, samples=2, hallucination=0.5)
    with pytest.raises(ValueError, match="needs the objects that are unsupported"):
        loss(Features(), batch, config)
