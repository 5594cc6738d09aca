"""The losses equal loops written from their definitions."""

import math

import pytest
import torch

from captioning.training import losses as terms
from tests.training.small import mean_of

attention_entropy = mean_of(terms.attention_entropy)
detection_loss = mean_of(terms.detection_loss)
distillation_loss = mean_of(terms.distillation_loss)
guidance_loss = mean_of(terms.guidance_loss)
self_critical_loss = mean_of(terms.self_critical_loss)
token_cross_entropy = mean_of(terms.token_cross_entropy)

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


# The attention's entropy -------------------------------------------------------------------------


def test_entropy_is_the_mean_over_real_steps(alphas, mask):
    entropies = [
        -sum(a * math.log(a) for a in alphas[row, step].tolist())
        for row, length in enumerate(LENGTHS)
        for step in range(length)
    ]
    expected = sum(entropies) / sum(LENGTHS)
    assert attention_entropy(alphas, mask).item() == pytest.approx(expected, rel=1e-5)


def test_entropy_is_largest_where_attention_is_even_and_zero_at_a_single_location():
    mask = torch.ones(1, 4, dtype=torch.bool)
    even = torch.full((1, 4, 7), 1 / 7)
    assert attention_entropy(even, mask).item() == pytest.approx(math.log(7), rel=1e-5)
    assert float(attention_entropy(torch.eye(4).unsqueeze(0), mask)) == 0


def test_the_gradient_of_entropy_is_finite_where_no_attention_is():
    alphas = torch.eye(4).unsqueeze(0).requires_grad_()
    attention_entropy(alphas, torch.ones(1, 4, dtype=torch.bool)).backward()
    assert alphas.grad.isfinite().all()


# Words that the photograph shows -----------------------------------------------------------------


def chance(score):
    """That a location shows a word: before anything is learned, with odds of e^-5."""
    return 1 / (1 + math.exp(5 - score))


def test_detection_is_a_noisy_or_over_the_locations():
    scores = 6 * torch.randn(3, 4, 5, generator=torch.manual_seed(3))  # (B, L, W)
    present = (torch.rand(3, 5, generator=torch.manual_seed(4)) < 0.4).float()
    losses = []
    for photograph in range(3):
        likelihood = 1.0
        for word in range(5):
            absent = math.prod(1 - chance(s) for s in scores[photograph, :, word].tolist())
            likelihood *= 1 - absent if present[photograph, word] else absent
        losses.append(-math.log(likelihood))
    assert 0 < present.sum() < 15
    expected = sum(losses) / 3
    assert detection_loss(scores, present).item() == pytest.approx(expected, rel=1e-4)


def test_a_word_is_detected_where_its_best_location_is_and_nowhere_else():
    """The gradient of a word that is there goes to where it is likeliest; absent, to all."""
    scores = torch.tensor([[[9.0], [2.0], [-3.0]]], requires_grad=True)  # (1, L, 1)
    detection_loss(scores, torch.zeros(1, 1)).backward()
    assert (scores.grad > 0).all()
    scores = torch.tensor([[[4.0], [2.0], [-3.0]]], requires_grad=True)
    detection_loss(scores, torch.ones(1, 1)).backward()
    raised = -scores.grad.flatten()
    assert (raised > 0).all()
    assert raised[0] > raised[1] > raised[2]


@pytest.mark.parametrize("score", [-1e4, -100.0, 0.0, 100.0, 1e4])
@pytest.mark.parametrize("present", [0.0, 1.0])
def test_detection_is_finite_whatever_the_scores(score, present):
    scores = torch.full((1, 3, 2), score, requires_grad=True)
    loss = detection_loss(scores, torch.full((1, 2), present))
    loss.backward()
    assert loss.isfinite()
    assert loss >= 0
    assert scores.grad.isfinite().all()


def test_without_words_to_detect_there_is_no_loss():
    assert float(detection_loss(torch.zeros(2, 3, 0), torch.zeros(2, 0))) == 0


# Attention led by detection ----------------------------------------------------------------------


@pytest.fixture
def shown():
    return 4 * torch.randn(3, 5, 4, generator=torch.manual_seed(5))  # (N, T, L)


def test_guidance_is_the_cross_entropy_with_where_the_word_was_detected(alphas, shown, mask):
    losses = []
    for row, length in enumerate(LENGTHS):
        for step in range(length):
            weights = [chance(score) ** 2 for score in shown[row, step].tolist()]
            pairs = zip(weights, alphas[row, step].tolist(), strict=True)
            losses.append(-sum(w / sum(weights) * math.log(alpha) for w, alpha in pairs))
    expected = sum(losses) / sum(LENGTHS)
    assert guidance_loss(alphas, shown, mask).item() == pytest.approx(expected, rel=1e-5)


def test_guidance_moves_attention_to_where_the_word_was_detected_and_not_the_scores(shown, mask):
    free = torch.zeros(3, 5, 4, requires_grad=True)
    optimizer, scores = torch.optim.Adam([free], lr=0.2), shown.requires_grad_()
    for _ in range(200):
        optimizer.zero_grad()
        guidance_loss(free.softmax(dim=-1), scores, mask).backward()
        optimizer.step()
    assert scores.grad is None
    target = torch.tensor([[chance(s) ** 2 for s in row] for row in shown.flatten(0, 1).tolist()])
    target = (target / target.sum(dim=1, keepdim=True)).view(3, 5, 4)
    learned = free.detach().softmax(dim=-1)
    torch.testing.assert_close(learned[mask], target[mask], rtol=0, atol=0.02)
    torch.testing.assert_close(learned[~mask], torch.full_like(learned[~mask], 0.25))


@pytest.mark.parametrize("score", [-300.0, 300.0])
def test_guidance_is_finite_whatever_the_scores(alphas, mask, score):
    """A word that is detected nowhere leads nowhere in particular."""
    loss = guidance_loss(alphas, torch.full((3, 5, 4), score), mask)
    even = -alphas.log().mean(dim=-1)[mask].mean()
    assert loss.item() == pytest.approx(even.item(), rel=1e-4)


def test_guidance_is_finite_where_no_attention_is(mask):
    alphas = torch.eye(5)[:, :4].expand(3, 5, 4).clone().requires_grad_()
    loss = guidance_loss(alphas, torch.zeros(3, 5, 4), mask)
    loss.backward()
    assert loss.isfinite()
    assert alphas.grad.isfinite().all()


# Padding -----------------------------------------------------------------------------------------


def entropy(alphas, mask):
    return attention_entropy(alphas, mask)


def guidance(alphas, mask):
    """Guided by scores that depend on the step alone."""
    steps = torch.arange(alphas.shape[1]).view(1, -1, 1)
    return guidance_loss(alphas, torch.sin(steps + torch.arange(4.0)).expand_as(alphas), mask)


on_attention = pytest.mark.parametrize("loss", [entropy, guidance])


@on_attention
def test_padding_steps_change_no_loss_of_attention(alphas, mask, loss):
    value = loss(alphas, mask).item()
    other = torch.where(mask.unsqueeze(-1), alphas, torch.rand_like(alphas))
    assert loss(other, mask).item() == pytest.approx(value)
    longer = torch.cat([alphas, torch.rand(3, 2, 4)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(3, 2, dtype=torch.bool)], dim=1)
    assert loss(longer, longer_mask).item() == pytest.approx(value)


@on_attention
def test_captions_of_nothing_but_padding_do_not_count(alphas, mask, loss):
    value = loss(alphas, mask).item()
    more = torch.cat([alphas, torch.rand(2, 5, 4)])
    more_mask = torch.cat([mask, torch.zeros(2, 5, dtype=torch.bool)])
    assert loss(more, more_mask).item() == pytest.approx(value)


@on_attention
def test_gradients_are_finite_and_reach_only_real_steps(alphas, mask, loss):
    mask[1] = False  # a caption of nothing but padding
    loss(alphas, mask).backward()
    assert alphas.grad.isfinite().all()
    assert torch.equal(alphas.grad.abs().sum(dim=-1) > 0, mask)


@on_attention
def test_a_batch_of_nothing_but_padding_costs_nothing_and_has_a_finite_gradient(alphas, loss):
    value = loss(alphas, torch.zeros(3, 5, dtype=torch.bool))
    value.backward()
    assert value.item() == 0
    assert torch.equal(alphas.grad, torch.zeros_like(alphas))


# Distillation ------------------------------------------------------------------------------------


def test_distillation_is_the_divergence_from_the_teacher():
    logits = torch.randn(3, 6, generator=torch.manual_seed(6))
    teacher = torch.randn(3, 6, generator=torch.manual_seed(7)).log_softmax(dim=-1)
    divergences = []
    for row, told in zip(logits.tolist(), teacher.tolist(), strict=True):
        total = sum(math.exp(logit) for logit in row)
        pairs = zip(row, told, strict=True)
        divergences.append(
            sum(math.exp(t) * (t - math.log(math.exp(logit) / total)) for logit, t in pairs)
        )
    loss = distillation_loss(logits, teacher)
    assert loss.item() == pytest.approx(sum(divergences) / 3, rel=1e-4)
    assert min(divergences) > 0


def test_distillation_is_zero_where_the_probabilities_are_the_teachers():
    logits = torch.randn(2, 5, generator=torch.manual_seed(8))
    teacher = (logits + 3).log_softmax(dim=-1)  # the same, whatever is added to all logits
    assert distillation_loss(logits, teacher).item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_in_float16_teaches_in_float32():
    logits = torch.randn(2, 5, generator=torch.manual_seed(9))
    teacher = torch.randn(2, 5, generator=torch.manual_seed(10)).log_softmax(dim=-1)
    loss = distillation_loss(logits.half(), teacher.half())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(distillation_loss(logits, teacher).item(), rel=0.01)


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
