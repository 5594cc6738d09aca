"""What training minimises: cross-entropy, the doubly stochastic penalty, the self-critical loss."""

from torch import Tensor
from torch.nn import functional


def token_cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of logits (N, T, V) against targets (N, T), without padding.

    In nats per token. Label smoothing: Szegedy et al. (2016), section 7.
    """
    return functional.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def doubly_stochastic_penalty(alphas: Tensor, mask: Tensor) -> Tensor:
    """Penalise captions that do not attend to every location: ``(1 - sum over t of alpha)^2``.

    Xu et al. (2015), section 4.2.1, eq. 14, as a mean over locations and captions, so that its
    size depends neither on the grid nor on the batch. Alphas (N, T, L) and mask (N, T), True at
    real steps: padding is masked, or it would count as attention, and captions of nothing but
    padding do not count.
    """
    totals = (alphas * mask.unsqueeze(-1)).sum(dim=1)  # (N, L)
    errors = (1 - totals).square().mean(dim=1)  # (N,)
    real = mask.any(dim=1)  # (N,)
    return (errors * real).sum() / real.sum().clamp(min=1)


def self_critical_loss(
    log_probabilities: Tensor, mask: Tensor, rewards: Tensor, samples: int
) -> Tensor:
    """Raise the probability of samples that score above the others of their image, lower the rest.

    Self-critical sequence training (Rennie et al. 2017, eq. 9) with the mean reward of an image's
    other samples as the baseline (Luo 2020, eq. 7): REINFORCE with a baseline that does not depend
    on the sample, so its expectation is the gradient of the expected reward. Log-probabilities
    (N, T) of the sampled tokens, mask (N, T), True at real ones, rewards (N,); the ``samples``
    captions of an image are adjacent. A mean over tokens. Raises ValueError for fewer than two
    samples, which leave nothing to compare with.
    """
    if samples < 2:
        raise ValueError(f"there must be at least 2 samples per image, not {samples}")
    grouped = rewards.view(-1, samples)  # (B, samples)
    others = (grouped.sum(dim=1, keepdim=True) - grouped) / (samples - 1)
    advantages = (grouped - others).flatten()  # (N,)
    weighted = advantages.unsqueeze(1) * log_probabilities * mask  # (N, T)
    return -weighted.sum() / mask.sum().clamp(min=1)
