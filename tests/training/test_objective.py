"""The loss of a batch of captions: its parts, written out one by one, and their weights."""

import math
from dataclasses import replace

import pytest
import torch

from captioning.data.dataset import Batch
from captioning.data.vocab import END, PAD, START
from captioning.training import objective
from captioning.training.objective import CaptionLoss
from tests.training.small import (
    CONFIG,
    EVERYTHING,
    SIZES,
    VOCABULARY,
    caption_loss,
    cost,
    make_batch,
    small_model,
)

FUNCTION_WORD, CONTENT = 4, (5, 6, 7, 8)
NOTHING = replace(CONFIG, label_smoothing=0.0)
PARTS = ("entropy", "guidance", "detection", "distillation")


@pytest.fixture(scope="module")
def network():
    """Whose words are detected here and there, and whose attention is not even."""
    network = small_model(config=replace(SIZES, dropout=0.0)).eval()
    with torch.no_grad():
        network.decoder.output_context.weight.mul_(20)
        network.decoder.attention.score.weight.mul_(5)
    return network


@pytest.fixture(scope="module")
def batch():
    """Two photographs with two captions each, and what a teacher says of them."""
    teacher = torch.randn(2, SIZES.classes, generator=torch.manual_seed(1)).log_softmax(dim=-1)
    return make_batch(0)._replace(classes=teacher)


def loss_of(network, batch, loss=caption_loss, **weights):
    with torch.no_grad():
        return float(cost(loss(network, batch, replace(NOTHING, **weights))))


def real_steps(batch):
    """Caption, step and target of each one that is not padding."""
    for row, targets in enumerate(batch.targets.tolist()):
        for step, target in enumerate(targets):
            if target != PAD:
                yield row, step, target


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def scores_by_hand(network, features, word):
    """How much each location (L, C) speaks for a word."""
    vector = network.decoder.vocabulary.weight[word]
    context = network.decoder.output_context.weight
    return [float(vector @ (context @ feature)) for feature in features]


def chance(score):
    return 1 / (1 + math.exp(5 - score))


@torch.no_grad()
def part_by_hand(name, network, batch):
    """The entropy, guidance, detection or distillation of a batch, from its definition."""
    _, alphas = network(batch.visual, batch.inputs)
    photographs = range(len(batch.visual))
    if name == "entropy":
        steps = [alphas[row, step].tolist() for row, step, _ in real_steps(batch)]
        return mean(-sum(a * math.log(a) for a in alpha) for alpha in steps)
    if name == "guidance":
        missed = []
        for row, step, word in real_steps(batch):
            if word in CONTENT:
                scores = scores_by_hand(network, batch.visual[row // 2], word)
                shown = [chance(score) ** 2 for score in scores]
                pairs = zip(shown, alphas[row, step].tolist(), strict=True)
                missed.append(-sum(s / sum(shown) * math.log(alpha) for s, alpha in pairs))
        return mean(missed)
    if name == "detection":
        losses = []
        for image in photographs:
            said = set(batch.targets[2 * image : 2 * image + 2].flatten().tolist())
            for word in CONTENT:
                scores = scores_by_hand(network, batch.visual[image], word)
                absent = math.prod(1 - chance(score) for score in scores)
                losses.append(-math.log(1 - absent if word in said else absent))
        return sum(losses) / len(photographs)
    linear = network.decoder.classifier.linear
    divergences = []
    for image in photographs:
        logits = linear.weight @ batch.visual[image].mean(dim=0) + linear.bias
        student, teacher = logits.softmax(dim=0).tolist(), batch.classes[image].exp().tolist()
        pairs = zip(student, teacher, strict=True)
        divergences.append(sum(t * math.log(t / s) for s, t in pairs))
    return mean(divergences)


def test_without_further_parts_it_is_the_cross_entropy_of_the_words(network, batch):
    with torch.no_grad():
        logits, _ = network(batch.visual, batch.inputs)
    surprise = [-float(logits[n, t].log_softmax(dim=0)[word]) for n, t, word in real_steps(batch)]
    assert loss_of(network, batch) == pytest.approx(mean(surprise), rel=1e-4)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_each_part_is_added_with_its_weight(network, batch, name, weight):
    part = part_by_hand(name, network, batch)
    assert part > 0.05
    added = loss_of(network, batch, **{name: weight}) - loss_of(network, batch)
    assert added == pytest.approx(weight * part, rel=1e-3)


def test_all_parts_add_up(network, batch):
    weights = {name: getattr(EVERYTHING, name) for name in PARTS}
    parts = [weights[name] * part_by_hand(name, network, batch) for name in PARTS]
    expected = loss_of(network, batch) + sum(parts)
    assert loss_of(network, batch, **weights) == pytest.approx(expected, rel=1e-4)


def test_pixels_cost_the_same_as_their_features(network, batch):
    """The encoder runs once, in front of all parts."""
    pixels = torch.randn(2, 3, 8, 8, generator=torch.manual_seed(3))
    with torch.no_grad():
        features = network.encoder(pixels)
        costs = [
            float(cost(caption_loss(network, batch._replace(visual=visual), EVERYTHING)))
            for visual in (pixels, features)
        ]
    assert costs[0] == costs[1]


def test_without_a_teacher_nothing_is_distilled(network, batch):
    alone = batch._replace(classes=None)
    assert loss_of(network, alone, distillation=9.0) == loss_of(network, alone)


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING], ids=["cross-entropy", "everything"])
def test_padding_does_not_change_the_loss(network, batch, config):
    padding = torch.full((4, 3), PAD)
    longer = batch._replace(
        inputs=torch.cat([batch.inputs, padding], dim=1),
        targets=torch.cat([batch.targets, padding], dim=1),
    )
    with_empty = batch._replace(
        **{
            # A photograph with fewer captions than others has empty ones.
            name: torch.cat([part.view(2, 2, -1), torch.full((2, 1, 4), PAD)], dim=1).flatten(0, 1)
            for name, part in (("inputs", batch.inputs), ("targets", batch.targets))
        }
    )
    with torch.no_grad():
        expected = cost(caption_loss(network, batch, config))
        for other in (longer, with_empty):
            torch.testing.assert_close(cost(caption_loss(network, other, config)), expected)


def test_guidance_teaches_the_attention_and_not_the_detector():
    network = small_model(config=replace(SIZES, dropout=0.0))
    batch = make_batch(0)
    config = replace(NOTHING, guidance=1.0)
    features = network.features(batch.visual)
    _, alphas = network(features, batch.inputs)
    cost(caption_loss.attention_terms(network, batch, features, alphas, config)).backward()
    gradients = {name: p.grad for name, p in network.decoder.named_parameters()}
    for name in ("attention.key.weight", "attention.query.weight", "attention.score.weight"):
        assert gradients[name].abs().sum() > 0
    for name in ("output_context.weight", "vocabulary.weight"):
        assert gradients[name] is None or not gradients[name].any()


# Which words are detected and guided -------------------------------------------------------------


def test_special_tokens_and_function_words_are_neither_guided_nor_detected(network, batch):
    assert caption_loss.content.tolist() == [word in CONTENT for word in range(9)]
    assert sorted(caption_loss.detected.tolist()) == list(CONTENT)
    silent = torch.full_like(batch.targets, FUNCTION_WORD)
    silent[:, -1] = END
    nothing = batch._replace(targets=silent)
    assert loss_of(network, nothing, guidance=1.0) == loss_of(network, nothing)


def captions_of(*words):
    """A photograph of one caption for each word."""
    return [[START, word, END] for word in words]


def test_words_of_fewer_than_ten_photographs_are_not_detected():
    photographs = [captions_of(5, 5)] * 9 + [captions_of(6)] * 10 + [captions_of(7, 7, 7, 7)] * 4
    assert CaptionLoss(VOCABULARY, photographs).detected.tolist() == [6]


def test_the_most_frequent_words_are_detected_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(objective, "_DETECTED", 2)
    counts = {5: 11, 6: 13, 7: 10, FUNCTION_WORD: 20, 8: 12}
    photographs = [captions_of(word) for word, count in counts.items() for _ in range(count)]
    assert CaptionLoss(VOCABULARY, photographs).detected.tolist() == [6, 8]


def test_where_no_word_is_frequent_nothing_is_detected_and_training_goes_on(network, batch):
    for photographs in ([], [captions_of(5)] * 3):
        loss = CaptionLoss(VOCABULARY, photographs)
        assert loss_of(network, batch, loss, detection=1.0) == loss_of(network, batch)


def test_one_caption_per_photograph_is_enough(network, batch):
    one = Batch(batch.visual, batch.inputs[::2], batch.targets[::2], batch.classes)
    assert math.isfinite(loss_of(network, one, **dict.fromkeys(PARTS, 1.0)))
