"""The losses equal loops written from their definitions."""

import math

import pytest
import torch

from captioning.training.losses import (
    doubly_stochastic_penalty,
    self_critical_loss,
    token_cross_entropy,
)

PAD = 0
LENGTHS = (4, 1, 3)  # of three captions, padded to five tokens


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(3, 5, 6, requires_grad=True)  # (N, T, V)


@pytest.fixture
def targets():
    targets = torch.randint(1, 6, (3, 5), generator=torch.manual_seed(1))
    for row, length in zip(targets, LENGTHS, strict=True):
        row[length:] = PAD
    return targets


@pytest.fixture
def alphas():
    torch.manual_seed(2)
    return torch.randn(3, 5, 4).softmax(dim=-1).requires_grad_()  # (N, T, L)


@pytest.fixture
def mask(targets):
    return targets != PAD


def negative_log_probabilities(logits, row, step):
    values = [math.exp(value) for value in logits[row, step].tolist()]
    return [-math.log(value / sum(values)) for value in values]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_mean_over_real_tokens(logits, targets, smoothing):
    losses = []
    for row, length in enumerate(LENGTHS):
        for step in range(length):
            surprise = negative_log_probabilities(logits, row, step)
            hit, even = surprise[int(targets[row, step])], sum(surprise) / len(surprise)
            losses.append((1 - smoothing) * hit + smoothing * even)
    loss = token_cross_entropy(logits, targets, PAD, smoothing)
    assert loss.item() == pytest.approx(sum(losses) / sum(LENGTHS), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_of_padding_change_no_loss_and_get_no_gradient(logits, targets, mask, smoothing):
    loss = token_cross_entropy(logits, targets, PAD, smoothing)
    loss.backward()
    moves = logits.grad.abs().sum(dim=-1) > 0  # (N, T)
    assert torch.equal(moves, mask)
    other = torch.where(mask.unsqueeze(-1), logits, 7 * torch.randn_like(logits))
    assert token_cross_entropy(other, targets, PAD, smoothing).item() == pytest.approx(loss.item())


def test_cross_entropy_of_bfloat16_logits_is_computed_in_float32(logits, targets):
    half = logits.detach().bfloat16()
    loss = token_cross_entropy(half, targets, PAD)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(token_cross_entropy(half.float(), targets, PAD)))


def test_penalty_by_hand():
    alphas = torch.tensor(
        [
            [[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]],  # the last step is padding
            [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]],
        ]
    )
    mask = torch.tensor([[True, True, False], [True, True, True]])
    first = ((1 - 1.25) ** 2 + (1 - 0.75) ** 2) / 2
    second = ((1 - 3) ** 2 + (1 - 0) ** 2) / 2
    expected = (first + second) / 2
    assert doubly_stochastic_penalty(alphas, mask).item() == pytest.approx(expected)


def test_penalty_is_zero_where_every_location_was_attended_to_once():
    alphas = torch.eye(4).unsqueeze(0)  # (1, T, L)
    assert float(doubly_stochastic_penalty(alphas, torch.ones(1, 4, dtype=torch.bool))) == 0


def test_padding_steps_change_no_penalty(alphas, mask):
    penalty = doubly_stochastic_penalty(alphas, mask).item()
    other = torch.where(mask.unsqueeze(-1), alphas, torch.rand_like(alphas))
    assert doubly_stochastic_penalty(other, mask).item() == pytest.approx(penalty)
    longer = torch.cat([alphas, torch.rand(3, 2, 4)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(3, 2, dtype=torch.bool)], dim=1)
    assert doubly_stochastic_penalty(longer, longer_mask).item() == pytest.approx(penalty)


def test_captions_of_nothing_but_padding_do_not_count(alphas, mask):
    penalty = doubly_stochastic_penalty(alphas, mask).item()
    more = torch.cat([alphas, torch.rand(2, 5, 4)])
    more_mask = torch.cat([mask, torch.zeros(2, 5, dtype=torch.bool)])
    assert doubly_stochastic_penalty(more, more_mask).item() == pytest.approx(penalty)


def test_gradients_are_finite_and_reach_only_real_steps(alphas, mask):
    mask[1] = False  # a caption of nothing but padding
    doubly_stochastic_penalty(alphas, mask).backward()
    assert alphas.grad.isfinite().all()
    assert torch.equal(alphas.grad.abs().sum(dim=-1) > 0, mask)


def test_a_batch_of_nothing_but_padding_has_no_penalty_and_a_finite_gradient(alphas):
    penalty = doubly_stochastic_penalty(alphas, torch.zeros(3, 5, dtype=torch.bool))
    penalty.backward()
    assert penalty.item() == 0
    assert torch.equal(alphas.grad, torch.zeros_like(alphas))


# The self-critical loss ---------------------------------------------------------------------------


def test_self_critical_loss_by_hand():
    log_probabilities = torch.tensor([[-1.0, -2.0], [-3.0, 9.0], [-1.0, -1.0], [-2.0, -4.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
    rewards = torch.tensor([1.0, 0.0, 0.5, 0.5])
    # Two images of two samples; the second image's have equal rewards, so they teach nothing.
    expected = -(1.0 * (-1 - 2) + (0.0 - 1.0) * -3) / 7
    loss = self_critical_loss(log_probabilities, mask, rewards, samples=2)
    assert loss.item() == pytest.approx(expected)


def test_padding_gets_no_gradient_and_a_better_caption_becomes_more_likely():
    log_probabilities = torch.full((3, 2), -1.0, requires_grad=True)
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    self_critical_loss(log_probabilities, mask, torch.tensor([3.0, 0.0, 0.0]), 3).backward()
    grad = log_probabilities.grad
    assert grad[1, 1] == 0
    assert (grad[0] < 0).all()  # gradient descent raises these
    assert (grad[[1, 2, 2], [0, 0, 1]] > 0).all()


@pytest.mark.parametrize("shift", [0.0, 5.0, -3.0])
def test_a_reward_that_all_samples_of_an_image_share_changes_nothing(shift):
    torch.manual_seed(0)
    log_probabilities, rewards = torch.randn(6, 4), torch.rand(6)
    mask = torch.ones(6, 4, dtype=torch.bool)
    moved = rewards + torch.tensor([shift] * 3 + [0.0] * 3)
    losses = [self_critical_loss(log_probabilities, mask, r, 3).item() for r in (rewards, moved)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_expected_gradient_is_that_of_the_expected_reward():
    """Enumerate every pair of samples of a tiny policy, weighted by its probability."""
    logits = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    gains = torch.tensor([1.0, 0.2, 0.5])
    (logits.softmax(0) * gains).sum().backward()
    expected = logits.grad.clone()
    mean = torch.zeros(3)
    for first in range(3):
        for second in range(3):
            logits.grad = None
            log_probabilities = logits.log_softmax(0)[[first, second]].unsqueeze(1)
            mask = torch.ones(2, 1, dtype=torch.bool)
            self_critical_loss(log_probabilities, mask, gains[[first, second]], 2).backward()
            probability = logits.softmax(0)[[first, second]].prod().detach()
            mean -= probability * logits.grad
    assert torch.allclose(mean, expected, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1])
def test_one_sample_has_nothing_to_be_compared_with(samples):
    with pytest.raises(ValueError, match="at least 2 samples"):
        self_critical_loss(torch.zeros(2, 1), torch.ones(2, 1), torch.zeros(2), samples)
