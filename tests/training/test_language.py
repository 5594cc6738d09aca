"""The language model: what it is offered to copy, its loss, and what it trains on."""

import math
from collections import Counter
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from captioning.data.data_sets import DataSets
from captioning.data.dataset import batches
from captioning.data.vocab import END, PAD, START, Vocabulary
from captioning.network.config import ENCODER_CHANNELS, OFFERED, ModelConfig
from captioning.training.config import TrainConfig
from captioning.training.language import (
    LanguageLoss,
    LanguageStage,
    TextDataset,
    imagine,
    text_loss,
)
from captioning.training.train import make_optimization, train_one_epoch
from tests.training.small import SIZES, VOCABULARY, WORDS, cost, small_model, weights_of

TEXT = [["a", "dog"], ["a", "man", "runs"], ["a", "ball"], ["runs"], ["a", "dog", "runs"]]


# The captions ------------------------------------------------------------------------------------


def test_captions_without_photographs_have_an_empty_place_for_one():
    dataset = TextDataset(TEXT, VOCABULARY, 2)
    assert len(dataset) == 5
    assert dataset[1].captions == [[START, 4, 7]]  # cut, as those of photographs are
    assert dataset[3].captions == [[START, 8, END]]
    for index in range(5):
        assert dataset[index].visual.shape == (1, ENCODER_CHANNELS)
        assert not dataset[index].visual.any()


def test_a_batch_has_one_caption_for_each_empty_photograph():
    (batch,) = batches(TextDataset(TEXT, VOCABULARY, None), 5)
    assert len(batch.visual) == len(batch.inputs) == 5
    assert batch.targets[1].tolist() == [4, 7, 8, END]


# What is offered ---------------------------------------------------------------------------------

NOUNS = torch.arange(10, 40)  # of a vocabulary of 40


def offered(targets, times=1):
    """What is imagined for each of ``times`` copies of a caption."""
    torch.manual_seed(1)
    return imagine(torch.tensor([targets] * times), NOUNS)


def test_nouns_and_their_log_probabilities_are_offered_as_a_classifier_would():
    words, confidence = offered([4, 12, 5, 30, END, PAD], times=500)
    assert words.shape == confidence.shape == (500, OFFERED)
    assert torch.isin(words, NOUNS).all()
    assert_close(confidence.exp().sum(dim=1), torch.ones(500))
    assert (confidence.diff(dim=1) <= 0).all()  # the likeliest first
    likeliest = confidence[:, 0].exp()
    assert likeliest.min() < 0.4  # sometimes it is hardly sure
    assert likeliest.max() > 0.95  # sometimes it is


@pytest.mark.parametrize(
    "caption", [[12], [4, 12, 5, 30, END], [12, 12], [12, 30, 12, 30, 12], [11, 12, 13, 14], [4, 5]]
)
def test_no_noun_is_offered_twice(caption):
    words, _ = offered(caption, times=500)
    assert all(len(set(row)) == OFFERED for row in words.tolist())


def test_what_is_imagined_for_a_caption_does_not_depend_on_the_others():
    captions, seeds = torch.tensor([[12, END], [30, END], [4, 12]]), torch.tensor([3, 1, 2])
    together = imagine(captions, NOUNS, seeds)
    for row in range(3):
        alone = imagine(captions[row : row + 1], NOUNS, seeds[row : row + 1])
        for part, whole in zip(alone, together, strict=True):
            assert torch.equal(part[0], whole[row])
    again = imagine(captions, NOUNS, seeds + 1)
    assert not torch.equal(again[1], together[1])


def test_a_noun_of_the_caption_is_usually_seen_and_seldom_another():
    words, _ = offered([4, 12, 5, END, PAD], times=4000)
    seen = (words == 12).any(dim=1).float().mean()
    # In four of five cases it is seen; else it may be among the others by chance.
    chance = OFFERED / len(NOUNS)
    assert float(seen) == pytest.approx(0.8 + 0.2 * chance, abs=0.03)
    others = Counter(words[words != 12].tolist())
    assert set(others) == set(NOUNS.tolist()) - {12}
    assert max(others.values()) < 1.5 * min(others.values())


def test_the_classifier_is_surer_of_what_the_caption_names():
    words, confidence = offered([4, 12, 5, END, PAD], times=4000)
    named = words == 12
    assert float(confidence[named].mean()) > float(confidence[~named].mean()) + 1
    first = named[:, 0][named.any(dim=1)].float().mean()
    assert 0.4 < float(first) < 0.95  # the likeliest is often the right one, not always


def test_at_most_two_nouns_of_a_caption_are_seen_and_any_two_of_them():
    caption = [11, 12, 13, 14]
    words, _ = offered(caption, times=4000)
    count = torch.isin(words, torch.tensor(caption)).sum(dim=1).float().mean()
    # Those that are seen, and those that are there by chance.
    assert float(count) < 2 * 0.8 + OFFERED * len(caption) / len(NOUNS)
    each = [float((words == noun).any(dim=1).float().mean()) for noun in caption]
    assert max(each) - min(each) < 0.05


def test_words_that_are_no_nouns_are_never_offered_nor_is_padding():
    words, _ = offered([4, 5, 6, END, PAD], times=500)
    assert not torch.isin(words, torch.tensor([4, 5, 6, END, PAD])).any()
    nouns = torch.tensor([PAD, 10, 11, 12, 13, 14, 15])  # of classes that have no name yet
    torch.manual_seed(2)
    words, confidence = imagine(torch.tensor([[4, END, PAD, PAD]] * 300), nouns)
    favoured = confidence[words == PAD].mean() - confidence[words != PAD].mean()
    assert abs(float(favoured)) < 0.5  # the padding of a caption says nothing of what it names


# The loss ----------------------------------------------------------------------------------------


@pytest.fixture
def network():
    return small_model().eval()


def whole_batch():
    (batch,) = batches(TextDataset(TEXT, VOCABULARY, None), 5)
    return batch


def shut(network):
    """Let the network copy nothing."""
    with torch.no_grad():
        network.decoder.copy.query.weight.zero_()
        network.decoder.copy.query.bias.zero_()
        network.decoder.copy.trust.weight.zero_()
        network.decoder.copy.trust.bias.fill_(-60.0)
    return network


@torch.no_grad()
def written_loss(network, batch):
    """The loss per token of captions that are written alone, without a photograph."""
    decoder, losses = network.decoder, []
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        hidden = cell = torch.zeros(1, SIZES.decoder_dim)
        for last, target in zip(inputs, targets, strict=True):
            if target == PAD:
                continue
            embedded = decoder.embedding.weight[last].unsqueeze(0)
            seen = torch.cat([embedded, torch.zeros(1, ENCODER_CHANNELS)], dim=1)
            hidden, cell = torch.nn.LSTMCell.forward(decoder.lstm, seen, (hidden, cell))
            vector = torch.tanh(decoder.output_hidden(hidden) + embedded)
            losses.append(-float(decoder.vocabulary(vector).log_softmax(dim=-1)[0, target]))
    return sum(losses) / len(losses)


def test_without_copies_the_loss_is_that_of_a_language_model(network):
    expected = written_loss(shut(network), whole_batch())
    config = TrainConfig(1, 5, 0.1, label_smoothing=0.0)
    loss = cost(LanguageLoss()(network, whole_batch(), config))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert text_loss(network, [whole_batch()]) == pytest.approx(expected, rel=1e-4)


def test_the_loss_on_held_out_captions_offers_nothing_to_copy(network):
    """Whatever the gate: a noun that is not there is all but impossible."""
    network.decoder.copy.query.weight.data.zero_()
    network.decoder.copy.query.bias.data.zero_()
    expected = written_loss(network, whole_batch())
    assert text_loss(network, [whole_batch()]) == pytest.approx(expected, rel=1e-3)


def test_the_held_out_loss_is_a_mean_over_tokens_and_not_over_batches(network):
    dataset = TextDataset(TEXT, VOCABULARY, None)
    together, apart = (text_loss(network, batches(dataset, size)) for size in (5, 2))
    assert apart == pytest.approx(together, rel=1e-5)
    assert text_loss(network, []) == 0


def test_the_decoder_learns_to_copy_what_it_is_offered():
    """Captions "a <noun>": which noun it is, only the offer tells."""
    nouns = range(5, 15)
    vocabulary = Vocabulary((*VOCABULARY.words, *(f"thing{n}" for n in range(6))))
    network = small_model(config=ModelConfig(15, 16, 16, 24, dropout=0.0, classes=10))
    network.decoder.classifier.name_classes(nouns)
    text = [["a", vocabulary.words[noun]] for noun in nouns] * 30
    config = TrainConfig(8, 20, 0.01, label_smoothing=0.0)
    optimization = make_optimization(network, config, 8 * 15)
    dataset = TextDataset(text, vocabulary, None)
    losses = [
        train_one_epoch(network, batches(dataset, 20, epoch), optimization, config, LanguageLoss())
        for epoch in range(8)
    ]
    guess = math.log(len(nouns)) / 3  # a loss that the text alone allows
    assert losses[-1] < 0.8 * guess

    @torch.no_grad()
    def chance(noun, others, sure):
        """Of a noun after "a", with what else is offered."""
        words = torch.tensor([[noun, *others]])
        rest = (1 - sure) / len(others)
        confidence = torch.tensor([[sure, *[rest] * len(others)]]).log()
        decoder = network.eval().decoder
        nothing = torch.zeros(1, 1, ENCODER_CHANNELS)
        memory = decoder.remember(nothing, words, confidence)
        logits, _ = decoder.write(
            memory, decoder.blank_state(nothing, 1), torch.tensor([[START, 4]])
        )
        return float(logits[0, 1].softmax(dim=-1)[noun])

    for noun in nouns:
        others = [other for other in nouns if other != noun][:4]
        assert chance(noun, others, 0.9) > 3 / len(nouns)
        assert chance(noun, others, 0.9) > chance(noun, others, 0.05)


def test_text_teaches_nothing_about_photographs():
    network = small_model()
    before = weights_of(network)
    config = TrainConfig(1, 5, 0.01, weight_decay=0.0)
    optimization = make_optimization(network, config, 1)
    train_one_epoch(network, [whole_batch()], optimization, config, LanguageLoss())
    after = weights_of(network)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"decoder.embedding.weight", "decoder.copy.query.weight"} <= moved
    assert not any(name.startswith(("encoder.", "decoder.classifier.")) for name in moved)
    assert "decoder.output_context.weight" not in moved


# The stage ---------------------------------------------------------------------------------------


def stage_of(text, batch_size=8):
    """A stage of this text, without a network."""
    stage = object.__new__(LanguageStage)
    stage.sets = DataSets((), tuple(text))
    stage.recipe = SimpleNamespace(caption_words=20)
    stage.start = SimpleNamespace(vocabulary=VOCABULARY)
    stage.config = TrainConfig(2, batch_size, 0.1, seed=3)
    return stage


def captions_of(loader):
    """The captions of batches as tuples of ids."""
    rows = [row for batch in loader for row in batch.inputs.tolist()]
    return [tuple(token for token in row[1:] if token not in (PAD, END)) for row in rows]


@pytest.fixture
def numbered():
    """120 captions, all different."""

    def digits(number):
        return [WORDS[number // 5**place % 5] for place in range(3)]

    return [digits(number) for number in range(120)]


def test_every_fiftieth_caption_is_held_out(numbered):
    task = stage_of(numbered).task()
    encoded = [tuple(VOCABULARY.encode(tokens)) for tokens in numbered]
    trained = captions_of(task.batches(1, 0))
    held_out = {encoded[index] for index in (0, 50, 100)}
    assert len(trained) == 117
    assert set(trained) == set(encoded) - held_out
    assert task.steps == len(list(task.batches(1, 0))) == 15
    network = small_model().eval()
    dataset = TextDataset([numbered[index] for index in (0, 50, 100)], VOCABULARY, 20)
    expected = text_loss(network, batches(dataset, 8))
    assert task.score(network) == {"loss": pytest.approx(expected)}


def test_each_epoch_has_an_order_of_its_own_and_can_be_resumed(numbered):
    task = stage_of(numbered).task()
    first, second = ([captions_of([b]) for b in task.batches(epoch, 0)] for epoch in (1, 2))
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second))
    assert [captions_of([batch]) for batch in task.batches(1, 4)] == first[4:]


def test_captions_of_a_batch_are_of_similar_length():
    text = [["dog"] * (1 + index * 7 % 19) for index in range(400)]
    padding = [
        int((batch.targets == PAD).sum()) / batch.targets.numel()
        for batch in stage_of(text).task().batches(1, 0)
    ]
    assert sum(padding) / len(padding) < 0.1  # of shuffled captions it is nearly a half


def test_the_epoch_of_the_lowest_loss_is_the_best(numbered):
    task = stage_of(numbered).task()
    assert task.rank({"loss": 2.0}) > task.rank({"loss": 2.5})
    assert isinstance(task.loss_function, LanguageLoss)
