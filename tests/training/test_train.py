"""Training: its settings, the schedule, the optimiser, one step and one epoch."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.dataset import Batch, Item, batches
from captioning.data.vocab import END, START
from captioning.network.config import ModelConfig
from captioning.network.model import CaptioningModel
from captioning.training.terms import Term
from captioning.training.train import (
    NonFiniteLossError,
    Optimization,
    interpolate_weights,
    learning_rate_factor,
    make_optimizer,
    resolve_precision,
    train_one_epoch,
)
from tests.training.small import (
    CONFIG,
    EVERYTHING,
    SIZES,
    as_terms,
    caption_loss,
    changed,
    equal,
    make_batch,
    sampler,
    small_model,
    weights_of,
)

# The learning rate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)]
)
def test_the_learning_rate_rises_linearly_and_falls_along_a_cosine(step, factor):
    assert learning_rate_factor(step, 100, 0.1) == pytest.approx(factor)


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(1, 300), st.floats(0, 0.99))
def test_the_learning_rate_rises_to_its_peak_and_then_falls(total, warmup):
    factors = [learning_rate_factor(step, total, warmup) for step in range(total)]
    top = factors.index(1.0)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert min(factors) > 0
    assert max(factors) == 1


# TrainConfig ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("patience", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("clip_norm", 0.0),
        ("encoder_learning_rate", -1e-5),
        ("weight_decay", -0.1),
        *((name, -0.1) for name in ("entropy", "guidance", "detection", "distillation")),
        *((name, math.nan) for name in ("entropy", "guidance", "detection", "distillation")),
        ("naming", -0.1),
        ("other_manners", -0.1),
        ("other_manners", 1.5),
        ("other_manners", math.nan),
        ("captions_per_photo", -1),
        ("train_size", -1),
        ("frozen_layers", -1),
        ("frozen_layers", 5),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("label_smoothing", 1.0),
        ("label_smoothing", math.nan),
        ("precision", "float8"),
        ("samples", 1),
        ("samples", -2),
        ("cross_entropy", -0.1),
        ("crop", 0.0),
        ("crop", 1.5),
        ("flip", 2.0),
        ("jitter", -0.1),
        ("seed", 2**32 + 1),
        ("seed", -(2**32) - 1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        replace(CONFIG, **{field: value})


@pytest.mark.parametrize("seed", [2**32, -(2**32)])
def test_the_largest_seeds_fit_the_random_generators(seed):
    seed_of_epoch = replace(CONFIG, seed=seed).seed * 1000 + 999
    torch.manual_seed(seed_of_epoch)
    items = [Item(torch.zeros(3), [[START, 5, END]])] * 3
    assert len(list(batches(items, 2, seed_of_epoch))) == 2


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_blend_lies_on_the_line_between_two_networks(share):
    first, second = (small_model(seed).state_dict() for seed in (0, 1))
    made = interpolate_weights(first, second, share)
    assert set(made) == set(first)
    for name, value in made.items():
        expected = [
            (1 - share) * a + share * b
            for a, b in zip(
                first[name].flatten().tolist(), second[name].flatten().tolist(), strict=True
            )
        ]
        assert value.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert changed(first, made) == (set() if share == 0 else changed(first, second))


def test_whole_numbers_are_not_blended():
    """Such as the ids of the classes' nouns, which float16 could not hold."""
    nouns = 1001 * torch.arange(9)
    first, second = ({"nouns": nouns, "weight": torch.full((2,), x)} for x in (0.0, 1.0))
    made = interpolate_weights(first, second, 0.25)
    assert made["nouns"].dtype == torch.long
    assert torch.equal(made["nouns"], nouns)
    assert made["weight"].tolist() == [0.25, 0.25]


def test_weights_that_two_networks_share_stay_exactly_equal():
    half = {"weight": torch.randn(50).half()}
    assert torch.equal(interpolate_weights(half, half, 0.1)["weight"].half(), half["weight"])


# One epoch --------------------------------------------------------------------------------------


def epoch_of(network, config, batches, loss_function=caption_loss):
    optimizer = make_optimizer(network, config)
    optimization = Optimization(optimizer, LambdaLR(optimizer, lambda step: 1.0))
    return train_one_epoch(network, batches, optimization, config, loss_function)


def of_encoder(name):
    """Whether a weight is the encoder's, whose the classifier of its features is too."""
    return name.startswith(("encoder.", "decoder.classifier."))


def test_a_frozen_encoder_does_not_change_while_the_decoder_learns():
    network = small_model()
    before = weights_of(network)
    epoch_of(network, CONFIG, [make_batch(0, (3, 8, 8))])
    moved = changed(before, weights_of(network))
    assert moved == {name for name, _ in network.named_parameters() if not of_encoder(name)}
    assert not network.encoder.training


def test_an_encoder_with_a_learning_rate_learns():
    network = small_model()
    before = weights_of(network)
    epoch_of(network, replace(CONFIG, encoder_learning_rate=1e-4), [make_batch(0, (3, 8, 8))])
    assert changed(before, weights_of(network)) == dict(network.named_parameters()).keys()


def test_the_resnet_is_frozen_or_tuned_as_a_whole(network):
    """The real encoder: all its convolutions learn or none, and its statistics never do."""
    copy = CaptioningModel(network.config)
    copy.load_state_dict(network.state_dict())
    batch = Batch(torch.randn(1, 3, 64, 64), *make_batch(0)[1:])
    before = weights_of(copy)
    epoch_of(copy, CONFIG, [batch])
    assert not any(map(of_encoder, changed(before, weights_of(copy))))
    before = weights_of(copy)
    epoch_of(copy, replace(CONFIG, encoder_learning_rate=1e-4), [batch])
    moved = set(filter(of_encoder, changed(before, weights_of(copy))))
    convolutions = {f"encoder.{name}" for name, _ in copy.encoder.named_parameters()}
    assert len(convolutions) == 53  # of a ResNet-50
    classifier = {f"decoder.classifier.linear.{name}" for name in ("weight", "bias")}
    assert moved == convolutions | classifier
    before = weights_of(copy)
    epoch_of(copy, replace(CONFIG, encoder_learning_rate=1e-4, frozen_layers=2), [batch])
    moved = set(filter(of_encoder, changed(before, weights_of(copy))))
    late = ("encoder.stages.layer3.", "encoder.stages.layer4.")
    assert moved == {name for name in convolutions if name.startswith(late)} | classifier


def test_the_mean_loss_of_the_steps_is_returned():
    losses = iter([1.0, 2.0, 6.0])

    def loss_function(network, batch, config):
        return as_terms(network.decoder.vocabulary.bias.sum() * 0 + next(losses))

    assert epoch_of(small_model(), CONFIG, sampler(0), loss_function) == 3.0


def test_the_network_learns_captions_that_differ_only_by_their_photographs():
    network = small_model(config=ModelConfig(9, 32, 32, 32, dropout=0.0))
    config = replace(CONFIG, learning_rate=0.003, label_smoothing=0.0)
    # One caption of four words per photograph; they differ from the first word on.
    both = make_batch(0)
    batch = both._replace(inputs=both.inputs[::2], targets=both.targets[::2])
    assert batch.targets[0, 0] != batch.targets[1, 0]
    epoch_of(network, config, [batch] * 120)
    blind = math.log(2) / 4  # a loss that the captions alone allow
    assert epoch_of(network, config, [batch]) < blind


def test_a_gradient_that_is_not_a_number_stops_before_the_step():
    network = small_model()
    before = weights_of(network)

    def loss_function(network, batch, config):
        bias = network.decoder.vocabulary.bias
        worthless = 0 * (bias - bias.detach()).sqrt().sum()
        return [*caption_loss(network, batch, config), Term(worthless)]

    with pytest.raises(NonFiniteLossError, match="at step 1"):
        epoch_of(network, CONFIG, sampler(0), loss_function)
    assert equal(before, weights_of(network))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(bad):
    network = small_model()
    after_first = {}

    def loss_function(network, batch, config):
        terms = caption_loss(network, batch, config)
        if not after_first and loss_function.calls:
            after_first.update(weights_of(network))
            terms = [term.times(bad) for term in terms]
        loss_function.calls += 1
        return terms

    loss_function.calls = 0
    with pytest.raises(NonFiniteLossError, match=r"at step 2 with learning rate 1\.00e-02"):
        epoch_of(network, CONFIG, sampler(0), loss_function)
    assert loss_function.calls == 2
    assert equal(after_first, weights_of(network))
    assert not equal(after_first, weights_of(small_model()))


def test_matrices_decay_and_biases_do_not():
    network = small_model()
    config = replace(CONFIG, weight_decay=0.5, learning_rate=0.1, encoder_learning_rate=0.01)
    before = weights_of(network)

    def no_gradient(network, batch, config):
        return as_terms(0 * sum(parameter.sum() for parameter in network.parameters()))

    epoch_of(network, config, [make_batch(0)], no_gradient)
    for name, value in network.named_parameters():
        rate = 0.01 if of_encoder(name) else 0.1
        factor = 1 if name.endswith(("bias", "bias_ih", "bias_hh")) else 1 - rate * 0.5
        torch.testing.assert_close(value, before[name] * factor, msg=name)


def test_gradients_are_clipped_to_their_norm():
    network = small_model()
    config = replace(CONFIG, clip_norm=0.01)

    def large(network, batch, config):
        return [term.times(1000) for term in caption_loss(network, batch, config)]

    epoch_of(network, config, [make_batch(0)], large)
    gradients = [p.grad for name, p in network.named_parameters() if not of_encoder(name)]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert norm == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING], ids=["cross-entropy", "everything"])
def test_bfloat16_trains_like_float32_and_keeps_weights_in_float32(config):
    losses = {}
    for precision in ("float32", "bfloat16"):
        network = small_model(config=replace(SIZES, dropout=0.0))
        before = weights_of(network)
        losses[precision] = epoch_of(network, replace(config, precision=precision), sampler(0))
        assert changed(before, weights_of(network))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize(
    ("capability", "precision"),
    [("AVX512", "bfloat16"), ("AVX2", "float32"), ("DEFAULT", "float32"), ("SVE256", "float32")],
)
def test_auto_is_bfloat16_only_where_the_processor_computes_in_it(
    monkeypatch, capability, precision
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert resolve_precision(replace(CONFIG, precision="auto"), "cpu").precision == precision
    for chosen in ("float32", "bfloat16"):
        assert resolve_precision(replace(CONFIG, precision=chosen), "cpu").precision == chosen
