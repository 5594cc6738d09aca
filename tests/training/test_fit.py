"""The loop over epochs: what it records, which epoch it keeps, and how it resumes."""

import math
import signal
from dataclasses import replace

import pytest
import torch

from captioning.network.saved_network import load_plain
from captioning.training.fit import Run, Task, fit
from captioning.training.resume import Progress, ResumeError, ResumeFile
from captioning.training.train import NonFiniteLossError, learning_rate_factor
from tests.training.small import (
    CONFIG,
    SIZES,
    caption_loss,
    equal,
    sampler,
    small_model,
    weights_of,
)


class Saved:
    """Stands for a checkpoint, without a ResNet."""

    def __init__(self, network, figures):
        self.content = {"weights": weights_of(network), "figures": dict(figures)}


@pytest.fixture
def run(tmp_path, monkeypatch):
    def save(saved, path):
        torch.save(saved.content, path)

    monkeypatch.setattr("captioning.training.fit.save_checkpoint", save)
    return Run(tmp_path / "best.pth", tmp_path / "resume.pth", Saved, lambda records: None)


def fit_small(network, run, config=CONFIG, figures=None, **options):
    """Train on three batches per epoch; ``figures`` are the scores of the epochs."""
    scores = iter(figures or range(100))
    task = Task(
        batches=sampler,
        steps=3,
        score=lambda network: {"CIDEr-D": float(next(scores))},
        rank=lambda figures: (figures["CIDEr-D"],),
        loss_function=caption_loss,
    )
    return fit(network, replace(task, **options), config, run)


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
        torch.rand(5)  # other random numbers in between make no difference
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


def test_the_best_epoch_is_the_one_of_the_highest_rank(run):
    fit_small(small_model(), run, figures=[3, 1, 2, 4], rank=lambda figures: (-figures["CIDEr-D"],))
    assert torch.load(run.best)["figures"] == {"CIDEr-D": 1.0}


def test_a_tie_is_broken_by_the_next_part_of_the_rank(run):
    ranks = {6: (1, 9), 7: (2, 1), 8: (2, 5), 9: (2, 3)}
    fit_small(small_model(), run, figures=list(ranks), rank=lambda f: ranks[f["CIDEr-D"]])
    assert torch.load(run.best)["figures"] == {"CIDEr-D": 8}


@pytest.mark.parametrize(
    ("figures", "patience", "epochs"),
    [([1, 3, 2, 2, 9], 2, 4), ([3, 2, 9, 9, 9], 1, 2), ([3, 2, 4, 3, 9], 2, 5), ([2, 2, 9], 1, 2)],
)
def test_training_stops_when_patience_runs_out_and_stays_stopped(run, figures, patience, epochs):
    config = replace(CONFIG, epochs=5, patience=patience)
    network = small_model()
    assert len(fit_small(network, run, config, figures)) == epochs
    again = small_model()
    assert len(fit_small(again, run, config, batches=None)) == epochs
    assert equal(weights_of(again), weights_of(network))


class Interrupted(Exception):
    pass


def interrupt(run, where):
    """Train and raise in epoch 2: while training, scoring or reporting."""

    def broken_batches(epoch, done):
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
        fit_small(small_model(), replace(run, report=report), batches=broken_batches, score=score)


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
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    run, tmp_path, where, save_every, whole, steps
):
    """``whole`` epochs and ``steps`` steps of the next one are not repeated."""
    figures = [3, 1, 2, 5]
    run = replace(run, save_every=save_every)
    uninterrupted = small_model()
    other = replace(run, best=tmp_path / "other.pth", resume=tmp_path / "other.resume.pth")
    expected = fit_small(uninterrupted, other, figures=figures)

    interrupt(run, where)
    seen = []
    resumed = small_model(seed=99)  # the file holds all that it needs
    records = fit_small(
        resumed,
        run,
        figures=figures[whole:],
        batches=lambda epoch, done: seen.append((epoch, done)) or sampler(epoch, done),
    )
    assert seen == [(whole + 1, steps), *((epoch, 0) for epoch in range(whole + 2, 5))]
    assert without_time(records) == without_time(expected)
    assert equal(weights_of(resumed), weights_of(uninterrupted))
    assert equal(torch.load(run.best)["weights"], torch.load(other.best)["weights"])


@pytest.fixture
def ctrl_c():
    """Python's own handling of Ctrl-C, even where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_after_the_step_with_everything_saved(run, capsys, ctrl_c):
    figures = [3, 1, 2, 5]
    uninterrupted = small_model()
    other = replace(run, best=run.best.with_name("b"), resume=run.best.with_name("r"))
    fit_small(uninterrupted, other, figures=figures)

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
        batches=lambda epoch, done: taken.append(3 - done) or sampler(epoch, done),
    )
    assert taken == [1, 3, 3]
    assert equal(weights_of(resumed), weights_of(uninterrupted))


def test_a_second_ctrl_c_stops_at_once(run, ctrl_c):
    def pressed_twice(network, batch, config):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("training continued")

    with pytest.raises(KeyboardInterrupt):
        fit_small(small_model(), run, loss_function=pressed_twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_ctrl_c_is_ignored_training_continues(run, ctrl_c):
    def pressed(network, batch, config):
        signal.raise_signal(signal.SIGINT)
        return caption_loss(network, batch, config)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert len(fit_small(small_model(), run, loss_function=pressed)) == 4


def test_a_time_between_saves_that_is_not_a_number_is_refused(run):
    with pytest.raises(ValueError, match="time between saves"):
        fit_small(small_model(), replace(run, save_every=math.nan))


def test_a_finished_run_is_not_trained_again_but_can_be_made_longer(run):
    fit_small(small_model(), run)
    assert len(fit_small(small_model(), run, batches=None)) == 4
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


@pytest.mark.parametrize(
    ("before", "now", "program"), [(1, 2, "python"), (3, 1, "torchrun --nproc-per-node 3")]
)
def test_a_resume_file_of_another_number_of_processes_says_how_to_go_on(
    tmp_path, before, now, program
):
    path, parts = tmp_path / "resume.pth", {"layer": torch.nn.Linear(2, 2)}
    settings = {"seed": 1, "processes": before}
    ResumeFile(path, parts, settings, 300).save(Progress())
    with pytest.raises(ResumeError, match=f"go on with {program} main.py, or start over"):
        ResumeFile(path, parts, {**settings, "processes": now}, 300).restore()
    for other in ({"seed": 2, "processes": now}, {"seed": 1}):  # an older version wrote no number
        with pytest.raises(ResumeError, match="damaged or belongs to another recipe"):
            ResumeFile(path, parts, other, 300).restore()


def test_each_step_draws_by_itself_whatever_was_drawn_before(run):
    """So the random state needs not be saved."""
    drawn = []

    def loss_function(network, batch, config):
        drawn.append(torch.rand(1).item())
        torch.rand(len(drawn))
        return caption_loss(network, batch, config)

    fit_small(small_model(), run, replace(CONFIG, epochs=1), loss_function=loss_function)
    run.resume.unlink()
    fit_small(small_model(), run, replace(CONFIG, epochs=1), loss_function=loss_function)
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn[:3])) == 3


def test_the_schedule_ends_at_zero_with_the_last_step(run):
    records = fit_small(small_model(), run)
    rates = [record["learning_rate"] for record in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert rates[0] == pytest.approx(0.01 * learning_rate_factor(3, 12, CONFIG.warmup))


# Numbers that are none --------------------------------------------------------------------------


def finite(path):
    saved = load_plain(path)
    return all(value.isfinite().all() for value in saved["network"].values())


@pytest.mark.parametrize("every", [0.0, 300.0])
def test_weights_that_no_checkpoint_can_hold_are_not_saved(run, every):
    """Half a million does not fit float16: the file would hold infinity."""

    def exploding(network, batch, config):
        exploding.steps += 1
        if exploding.steps == 5:
            with torch.no_grad():
                network.decoder.embedding.weight[4, 0] = 5e5
        return caption_loss(network, batch, config)

    exploding.steps = 0
    with pytest.raises(NonFiniteLossError, match=r"embedding\.weight .* by step [56] .*--learning"):
        fit_small(small_model(), replace(run, save_every=every), loss_function=exploding)
    assert finite(run.resume)
    assert len(fit_small(small_model(), run)) == 4  # from the last good state
    assert finite(run.resume)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_keeps_the_epoch_before(run, bad):
    network, losses = small_model(), iter([1.0, bad])
    task = Task(
        batches=sampler,
        steps=3,
        score=lambda network: {"CIDEr-D": 1.0, "loss": next(losses)},
        rank=lambda figures: (figures["CIDEr-D"], -figures["loss"]),
        loss_function=caption_loss,
    )
    with pytest.raises(NonFiniteLossError, match=rf"became {bad} after epoch 2, step 6"):
        fit(network, task, CONFIG, run)
    assert torch.load(run.best)["figures"]["loss"] == 1.0
    assert len(load_plain(run.resume)["records"]) == 1
