"""Training: the schedule, one step, the loop over epochs, and going on after an interruption.

The networks here have the real decoder and an encoder of one small convolution.
"""

import math
import signal
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from captioning.data.dataset import Batch
from captioning.data.vocab import END, PAD, START
from captioning.network.config import ModelConfig
from captioning.network.decoder import ENCODER_CHANNELS, Decoder
from captioning.network.model import CaptioningModel
from captioning.training.resume import ResumeError
from captioning.training.train import (
    NonFiniteLossError,
    Run,
    TrainConfig,
    caption_loss,
    fit,
    interpolate_weights,
    learning_rate_factor,
    make_optimizer,
    train_one_epoch,
)

SIZES = ModelConfig(9, embedding_dim=5, attention_dim=4, decoder_dim=6, dropout=0.5)
CONFIG = TrainConfig(epochs=4, batch_size=2, learning_rate=0.01, patience=4)
LOCATIONS = 4


class Patches(nn.Module):
    """Pixels (B, 3, 8, 8) to features (B, 4, C)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, ENCODER_CHANNELS, 4, stride=4)

    def forward(self, images):
        return self.conv(images).flatten(2).transpose(1, 2)


class SmallModel(CaptioningModel):
    """The network as it is, but for the encoder."""

    def __init__(self, config):
        nn.Module.__init__(self)
        self.config = config
        self.encoder = Patches()
        self.decoder = Decoder(config)


def small_model(seed=0, config=SIZES):
    torch.manual_seed(seed)
    return SmallModel(config)


def make_batch(seed, visual=(LOCATIONS, ENCODER_CHANNELS)):
    """Two photographs with two captions each."""
    random = torch.Generator().manual_seed(seed)
    words = torch.randint(4, 9, (4, 3), generator=random)
    tokens = torch.cat([torch.full((4, 1), START), words, torch.full((4, 1), END)], dim=1)
    tokens[1, 3:] = torch.tensor([END, PAD])
    return Batch(torch.randn(2, *visual, generator=random), tokens[:, :-1], tokens[:, 1:])


def sampler(epoch, done=0):
    return [make_batch(10 * epoch + step) for step in range(done, 3)]


def weights_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def changed(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


# The learning rate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (100, 0.0)]
)
def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine(step, factor):
    assert learning_rate_factor(step, 100, 0.1) == pytest.approx(factor)


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(1, 300), st.floats(0, 0.99))
def test_the_learning_rate_rises_once_to_its_full_height_and_falls_once(total, warmup):
    factors = [learning_rate_factor(step, total, warmup) for step in range(total)]
    top = factors.index(1.0)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert min(factors) > 0
    assert max(factors) == 1


def test_the_schedule_ends_at_zero_with_the_last_step(run):
    records = fit_small(small_model(), run)
    rates = [record["learning_rate"] for record in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert rates[0] == pytest.approx(0.01 * learning_rate_factor(3, 12, CONFIG.warmup))


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
        ("attention_penalty", -1.0),
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
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        replace(CONFIG, **{field: value})


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


def test_what_two_networks_share_stays_exactly_as_it_is():
    half = {"weight": torch.randn(50).half()}
    assert torch.equal(interpolate_weights(half, half, 0.1)["weight"].half(), half["weight"])


# One epoch --------------------------------------------------------------------------------------


def epoch_of(network, config, batches, loss_function=caption_loss):
    optimizer = make_optimizer(network, config)
    schedule = LambdaLR(optimizer, lambda step: 1.0)
    return train_one_epoch(network, batches, optimizer, schedule, config, loss_function)


def test_a_frozen_encoder_stays_while_the_decoder_learns():
    network = small_model()
    before = weights_of(network)
    epoch_of(network, CONFIG, [make_batch(0, (3, 8, 8))])
    moved = changed(before, weights_of(network))
    assert not any(name.startswith("encoder") for name in moved)
    assert moved == {f"decoder.{name}" for name, _ in network.decoder.named_parameters()}
    assert not network.encoder.training


def test_an_encoder_with_a_learning_rate_learns():
    network = small_model()
    before = weights_of(network)
    epoch_of(network, replace(CONFIG, encoder_learning_rate=1e-4), [make_batch(0, (3, 8, 8))])
    assert {"encoder.conv.weight", "encoder.conv.bias"} <= changed(before, weights_of(network))


def test_the_resnet_is_frozen_and_tuned_as_a_whole(network):
    """The real encoder: all its convolutions learn or none, and its statistics never do."""
    own = CaptioningModel(network.config)
    own.load_state_dict(network.state_dict())
    batch = Batch(torch.randn(1, 3, 64, 64), *make_batch(0)[1:])
    before = weights_of(own)
    epoch_of(own, CONFIG, [batch])
    assert not any(name.startswith("encoder") for name in changed(before, weights_of(own)))
    epoch_of(own, replace(CONFIG, encoder_learning_rate=1e-4), [batch])
    moved = {name for name in changed(before, weights_of(own)) if name.startswith("encoder")}
    assert len(moved) == 53  # the convolutions of a ResNet-50
    assert moved == {f"encoder.{name}" for name, _ in own.encoder.named_parameters()}


def test_the_mean_loss_of_the_steps_is_returned():
    losses = iter([1.0, 2.0, 6.0])

    def loss_function(network, batch, config):
        return network.decoder.vocabulary.bias.sum() * 0 + next(losses)

    assert epoch_of(small_model(), CONFIG, sampler(0), loss_function) == 3.0


def test_the_network_learns_captions_that_only_their_photographs_tell_apart():
    network = small_model(config=ModelConfig(9, 32, 32, 32, dropout=0.0))
    config = replace(CONFIG, learning_rate=0.003, label_smoothing=0.0, attention_penalty=0.0)
    # One caption of four words a photograph, which differ from the first word on.
    batch = Batch(*(tensor[::2] if tensor.ndim == 2 else tensor for tensor in make_batch(0)))
    assert batch.targets[0, 0] != batch.targets[1, 0]
    epoch_of(network, config, [batch] * 80)
    without_looking = math.log(2) / 4
    assert epoch_of(network, config, [batch]) < without_looking


def test_a_gradient_that_is_no_number_stops_before_the_step():
    network = small_model()
    before = weights_of(network)

    def loss_function(network, batch, config):
        bias = network.decoder.vocabulary.bias
        return caption_loss(network, batch, config) + 0 * (bias - bias.detach()).sqrt().sum()

    with pytest.raises(NonFiniteLossError, match="at step 1"):
        epoch_of(network, CONFIG, sampler(0), loss_function)
    assert equal(before, weights_of(network))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_step(bad):
    network = small_model()
    after_first = {}

    def loss_function(network, batch, config):
        loss = caption_loss(network, batch, config)
        if not after_first and loss_function.calls:
            after_first.update(weights_of(network))
            loss = loss * bad
        loss_function.calls += 1
        return loss

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
        return 0 * sum(parameter.sum() for parameter in network.parameters())

    epoch_of(network, config, [make_batch(0)], no_gradient)
    for name, value in network.named_parameters():
        rate = 0.01 if name.startswith("encoder") else 0.1
        factor = 1 if name.endswith(("bias", "bias_ih", "bias_hh")) else 1 - rate * 0.5
        torch.testing.assert_close(value, before[name] * factor, msg=name)


def test_gradients_are_clipped_to_their_norm():
    network = small_model()
    config = replace(CONFIG, clip_norm=0.01)

    def large(network, batch, config):
        return 1000 * caption_loss(network, batch, config)

    epoch_of(network, config, [make_batch(0)], large)
    gradients = [parameter.grad for parameter in network.decoder.parameters()]
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_padding_does_not_change_the_loss():
    network = small_model(config=replace(SIZES, dropout=0.0))
    batch = make_batch(0)
    padding = torch.full((4, 3), PAD)
    longer = Batch(
        batch.visual,
        torch.cat([batch.inputs, padding], dim=1),
        torch.cat([batch.targets, padding], dim=1),
    )
    expected = caption_loss(network, batch, CONFIG)
    torch.testing.assert_close(caption_loss(network, longer, CONFIG), expected)


def test_the_penalty_counts_as_much_as_the_settings_say():
    network = small_model(config=replace(SIZES, dropout=0.0))
    none, one, three = (
        caption_loss(network, make_batch(0), replace(CONFIG, attention_penalty=weight)).item()
        for weight in (0.0, 1.0, 3.0)
    )
    assert one > none
    assert three - none == pytest.approx(3 * (one - none), rel=1e-4)


def test_bfloat16_trains_as_float32_does_and_keeps_weights_in_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        network = small_model(config=replace(SIZES, dropout=0.0))
        config = replace(CONFIG, precision=precision)
        before = weights_of(network)
        losses[precision] = epoch_of(network, config, sampler(0))
        assert changed(before, weights_of(network))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


@pytest.mark.parametrize(
    ("capability", "precision"),
    [("AVX512", "bfloat16"), ("AVX2", "float32"), ("DEFAULT", "float32"), ("SVE256", "float32")],
)
def test_auto_is_bfloat16_only_where_the_processor_is_fast_in_it(
    monkeypatch, capability, precision
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert replace(CONFIG, precision="auto").resolve_precision("cpu").precision == precision
    for chosen in ("float32", "bfloat16"):
        assert replace(CONFIG, precision=chosen).resolve_precision("cpu").precision == chosen


# All epochs -------------------------------------------------------------------------------------


class Saved:
    """What ``Run.checkpoint`` makes, without a ResNet."""

    def __init__(self, network, figures):
        self.content = {"weights": weights_of(network), "figures": dict(figures)}

    def save(self, path):
        torch.save(self.content, path)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "best.pth", tmp_path / "resume.pth", Saved, lambda records: None)


def fit_small(network, run, config=CONFIG, figures=None, **options):
    """Train on three batches an epoch; ``figures`` are what the epochs score."""
    scores = iter(figures or range(100))
    arguments = {
        "sampler": sampler,
        "steps": 3,
        "score": lambda network: {"CIDEr-D": float(next(scores))},
        "rank": lambda figures: (figures["CIDEr-D"],),
        "config": config,
        "run": run,
    }
    return fit(network, **(arguments | options))


def without_time(records):
    return [{**record, "seconds": None} for record in records]


def test_each_epoch_is_recorded_with_what_it_scored(run):
    records = fit_small(small_model(), run, figures=[3, 1, 2, 5])
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert [record["dev"] for record in records] == [{"CIDEr-D": f} for f in (3.0, 1.0, 2.0, 5.0)]
    assert all(math.isfinite(record["train_loss"]) for record in records)


def test_reports_get_all_records_so_far(run):
    seen = []
    fit_small(small_model(), replace(run, report=lambda records: seen.append(len(records))))
    assert seen == [1, 2, 3, 4]


def test_the_network_is_scored_in_eval_mode_and_trained_in_train_mode(run):
    modes = []

    def score(network):
        modes.append(("score", network.decoder.training))
        return {"CIDEr-D": 0.0}

    def loss_function(network, batch, config):
        modes.append(("train", network.decoder.training))
        return caption_loss(network, batch, config)

    config = replace(CONFIG, epochs=2)
    fit_small(small_model(), run, config, score=score, loss_function=loss_function)
    assert modes == [*[("train", True)] * 3, ("score", False)] * 2


def test_the_same_seed_gives_the_same_weights(run):
    networks = [small_model(), small_model(), small_model()]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        fit_small(network, run, replace(CONFIG, epochs=1, seed=seed))
        run.resume.unlink()
        torch.rand(5)  # what others draw in between makes no difference
    first, same, other = map(weights_of, networks)
    assert equal(first, same)
    assert not equal(first, other)


def test_each_epoch_draws_other_random_numbers(run):
    drawn = []

    def loss_function(network, batch, config):
        drawn.append(torch.rand(1).item())
        return caption_loss(network, batch, config)

    fit_small(small_model(), run, loss_function=loss_function)
    assert len(set(drawn)) == len(drawn) == 12


@pytest.mark.parametrize(
    ("figures", "best"),
    [([1, 3, 2, 0], 2), ([5, 3, 2, 4], 1), ([1, 2, 3, 4], 4), ([2, 2, 2, 2], 1)],
)
def test_the_best_epoch_is_kept(run, figures, best):
    states = []

    def report(records):
        states.append(weights_of(network))

    network = small_model()
    fit_small(network, replace(run, report=report), figures=figures)
    kept = torch.load(run.best)
    assert kept["figures"] == {"CIDEr-D": figures[best - 1]}
    assert [equal(kept["weights"], state) for state in states].index(True) == best - 1


def test_the_best_is_the_one_that_rank_puts_highest(run):
    fit_small(small_model(), run, figures=[3, 1, 2, 4], rank=lambda figures: (-figures["CIDEr-D"],))
    assert torch.load(run.best)["figures"] == {"CIDEr-D": 1.0}


def test_a_tie_is_resolved_by_what_rank_says_next(run):
    ranks = {6: (1, 9), 7: (2, 1), 8: (2, 5), 9: (2, 3)}
    fit_small(small_model(), run, figures=list(ranks), rank=lambda f: ranks[f["CIDEr-D"]])
    assert torch.load(run.best)["figures"] == {"CIDEr-D": 8}


@pytest.mark.parametrize(
    ("figures", "patience", "epochs"),
    [([1, 3, 2, 2, 9], 2, 4), ([3, 2, 9, 9, 9], 1, 2), ([3, 2, 4, 3, 9], 2, 5), ([2, 2, 9], 1, 2)],
)
def test_training_stops_when_patience_ends_and_stays_stopped(run, figures, patience, epochs):
    config = replace(CONFIG, epochs=5, patience=patience)
    network = small_model()
    assert len(fit_small(network, run, config, figures)) == epochs
    again = small_model()
    assert len(fit_small(again, run, config, sampler=None)) == epochs
    assert equal(weights_of(again), weights_of(network))


class Interrupted(Exception):
    pass


def interrupt(run, where):
    """Start training and stop it in epoch 2: while training, scoring or reporting."""

    def broken_sampler(epoch, done):
        for step, batch in enumerate(sampler(epoch, done)):
            if where == "training" and (epoch, step) == (2, 1):
                raise Interrupted
            yield batch

    def score(network):
        score.calls += 1
        if where == "scoring" and score.calls == 2:
            raise Interrupted
        return {"CIDEr-D": [3.0, 1.0][score.calls - 1]}

    def report(records):
        if where == "reporting" and len(records) == 2:
            raise Interrupted

    score.calls = 0
    with pytest.raises(Interrupted):
        fit_small(small_model(), replace(run, report=report), sampler=broken_sampler, score=score)


@pytest.mark.parametrize(
    ("where", "save_every", "whole", "steps"),
    [
        ("training", 300, 1, 0),
        ("training", 0, 1, 1),
        ("scoring", 300, 1, 3),
        ("scoring", 0, 1, 3),
        ("reporting", 300, 1, 3),
    ],
)
def test_an_interrupted_run_ends_where_an_unbroken_one_does(
    run, tmp_path, where, save_every, whole, steps
):
    """``whole`` epochs and so many ``steps`` need not be taken again."""
    figures = [3, 1, 2, 5]
    run = replace(run, save_every=save_every)
    unbroken = small_model()
    other = replace(run, best=tmp_path / "other.pth", resume=tmp_path / "other.resume.pth")
    expected = fit_small(unbroken, other, figures=figures)

    interrupt(run, where)
    seen = []
    resumed = small_model(seed=99)  # all that it needs is in the file
    records = fit_small(
        resumed,
        run,
        figures=figures[whole:],
        sampler=lambda epoch, done: seen.append((epoch, done)) or sampler(epoch, done),
    )
    assert seen == [(whole + 1, steps), *((epoch, 0) for epoch in range(whole + 2, 5))]
    assert without_time(records) == without_time(expected)
    assert equal(weights_of(resumed), weights_of(unbroken))
    assert equal(torch.load(run.best)["weights"], torch.load(other.best)["weights"])


@pytest.fixture
def ctrl_c():
    """Ctrl-C as Python has it, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_after_the_step_with_everything_saved(run, capsys, ctrl_c):
    figures = [3, 1, 2, 5]
    unbroken = small_model()
    other = replace(run, best=run.best.with_name("b"), resume=run.best.with_name("r"))
    fit_small(unbroken, other, figures=figures)

    def pressed(network, batch, config):
        loss = caption_loss(network, batch, config)
        pressed.steps += 1
        if pressed.steps == 5:
            signal.raise_signal(signal.SIGINT)
        return loss

    pressed.steps = 0
    with pytest.raises(KeyboardInterrupt):
        fit_small(small_model(), run, figures=figures, loss_function=pressed)
    assert "stopping after this step" in capsys.readouterr().err
    assert len(torch.load(run.resume)["losses"]) == 2
    resumed, taken = small_model(seed=99), []
    fit_small(
        resumed,
        run,
        figures=figures[1:],
        sampler=lambda epoch, done: taken.append(3 - done) or sampler(epoch, done),
    )
    assert taken == [1, 3, 3]
    assert equal(weights_of(resumed), weights_of(unbroken))


def test_a_second_ctrl_c_stops_at_once(run, ctrl_c):
    def pressed_twice(network, batch, config):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        fit_small(small_model(), run, loss_function=pressed_twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_ctrl_c_is_ignored_training_goes_on(run, ctrl_c):
    def pressed(network, batch, config):
        signal.raise_signal(signal.SIGINT)
        return caption_loss(network, batch, config)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert len(fit_small(small_model(), run, loss_function=pressed)) == 4


def test_a_time_between_saves_below_nothing_is_refused(run):
    with pytest.raises(ValueError, match="time between saves"):
        fit_small(small_model(), replace(run, save_every=math.nan))


def test_a_finished_run_is_not_trained_again_but_can_be_made_longer(run):
    fit_small(small_model(), run)
    assert len(fit_small(small_model(), run, sampler=None)) == 4
    assert len(fit_small(small_model(), run, replace(CONFIG, epochs=5))) == 5


def shorten(path):
    path.write_bytes(path.read_bytes()[:1000])


def test_a_resume_file_of_other_weights_or_data_is_refused(run):
    fit_small(small_model(), replace(run, origin="these"), replace(CONFIG, epochs=1))
    with pytest.raises(ResumeError, match=r"resume\.pth.*--restart"):
        fit_small(small_model(), replace(run, origin="others"))


@pytest.mark.parametrize(
    ("config", "sizes", "damage"),
    [
        (replace(CONFIG, learning_rate=0.02), SIZES, None),
        (CONFIG, replace(SIZES, decoder_dim=7), None),
        (CONFIG, replace(SIZES, vocabulary_size=10), None),
        (CONFIG, SIZES, shorten),
    ],
    ids=["other settings", "other network", "other vocabulary", "cut short"],
)
def test_a_resume_file_that_does_not_fit_is_refused(run, config, sizes, damage):
    fit_small(small_model(), run, replace(CONFIG, epochs=1))
    if damage:
        damage(run.resume)
    with pytest.raises(ResumeError, match=r"resume\.pth.*--restart"):
        fit_small(small_model(config=sizes), run, config)
