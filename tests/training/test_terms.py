"""The terms of a loss: their means are PyTorch's, and parts of a batch add up to the whole."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from captioning import processes
from captioning.training import terms
from captioning.training.losses import distillation_loss, token_cross_entropy
from captioning.training.terms import Costs, Sums, Term, loss_of
from tests.training.small import (
    EVERYTHING,
    SIZES,
    as_terms,
    caption_loss,
    cost,
    make_batch,
    small_model,
)

CONFIG = replace(EVERYTHING, label_smoothing=0.1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_cross_entropy_is_pytorchs(smoothing):
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, 9, generator=random)
    targets = torch.randint(0, 9, (5, 4), generator=random)  # some of them padding
    expected = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=0, label_smoothing=smoothing
    )
    term = token_cross_entropy(logits, targets, 0, smoothing)
    torch.testing.assert_close(term.mean, expected)
    assert int(term.count) == int((targets != 0).sum()) < 20


def test_the_mean_divergence_is_pytorchs():
    logits, teacher = torch.randn(2, 3, 8, generator=torch.manual_seed(1)).log_softmax(dim=-1)
    expected = functional.kl_div(logits, teacher, log_target=True, reduction="batchmean")
    torch.testing.assert_close(distillation_loss(logits, teacher).mean, expected)


def test_of_no_values_the_mean_is_zero():
    assert float(Term(torch.tensor(0.0), 0).mean) == 0


def sums_of(network, batch):
    return Costs(network, caption_loss, CONFIG)(batch)


@pytest.fixture
def network():
    return small_model(config=replace(SIZES, dropout=0.0))


@pytest.fixture
def batch():
    """Two photographs of four captions each, of different lengths."""
    teacher = torch.randn(2, SIZES.classes, generator=torch.manual_seed(1)).log_softmax(dim=-1)
    batch = make_batch(0)._replace(classes=teacher)
    targets = batch.targets.clone()
    targets[2:, 2:] = 0
    return batch._replace(targets=targets)


def test_in_one_process_it_is_the_sum_of_the_weighted_means(network, batch):
    expected = cost(caption_loss(network, batch, CONFIG))
    loss, value = loss_of(sums_of(network, batch))
    torch.testing.assert_close(loss, expected)
    assert value == pytest.approx(float(expected.detach()), rel=1e-6)


def half(batch, number):
    """One photograph of two, with its captions."""
    rows = slice(2 * number, 2 * number + 2)
    one = slice(number, number + 1)
    return batch._replace(
        visual=batch.visual[one],
        inputs=batch.inputs[rows],
        targets=batch.targets[rows],
        classes=batch.classes[one],
    )


def gradients(network, loss):
    network.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def split_loss(network, parts, monkeypatch):
    """The value, and the mean gradient, of processes with a part of the batch each."""
    sums = [sums_of(network, part) for part in parts]
    whole = sum(torch.stack([each.totals.detach(), each.counts]).double() for each in sums)
    monkeypatch.setattr(processes, "total", lambda values: whole)
    monkeypatch.setattr(processes, "count", lambda: len(parts))
    losses = [loss_of(each) for each in sums]
    assert len({value for _, value in losses}) == 1
    each = [gradients(network, loss) for loss, _ in losses]
    return losses[0][1], {n: sum(g[n] for g in each) / len(parts) for n in each[0]}


def test_parts_of_a_batch_have_the_loss_and_the_gradient_of_the_whole(network, batch, monkeypatch):
    loss, expected = loss_of(sums_of(network, batch))
    whole = gradients(network, loss)
    value, mean = split_loss(network, [half(batch, 0), half(batch, 1)], monkeypatch)
    assert value == pytest.approx(expected, rel=1e-6)
    assert mean.keys() == whole.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(mean[name], gradient, rtol=1e-4, atol=1e-7)


def test_what_does_not_count_changes_nothing(network, batch, monkeypatch):
    first = half(batch, 0)
    loss, expected = loss_of(sums_of(network, first))
    whole = gradients(network, loss)
    idle = half(batch, 1)._replace(counts=False)
    value, mean = split_loss(network, [first, idle, idle], monkeypatch)
    assert value == pytest.approx(expected, rel=1e-6)
    for name, gradient in whole.items():
        torch.testing.assert_close(mean[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_value_that_is_not_a_number_is_told_to_all():
    bad = torch.tensor([float("nan")])
    _, value = loss_of(Sums(bad, torch.ones(1), torch.ones(1)))
    assert value != value


def test_one_process_needs_no_others(network):
    made = terms.costs_of(network, lambda *_: as_terms(torch.zeros(())), CONFIG)
    assert type(made) is Costs
