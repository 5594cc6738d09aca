"""What training minimises: each part on its own, as a ``Term``; ``objective`` puts them together.

Dimensions: B photographs, N captions, T steps, L locations, V vocabulary, W detected words,
O classes.
"""

import torch
from torch import Tensor
from torch.nn import functional

from captioning.training.terms import Term

# Before anything is learned, a location shows a given word with odds of e^-5: of a thousand words,
# a photograph has about ten.
_PRIOR = -5.0
_SMALLEST = 1e-6  # probability whose logarithm is still taken


def token_cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float = 0.0
) -> Term:
    """Mean cross-entropy of logits (..., V) against targets (...), without padding.

    In nats per token. Label smoothing: Szegedy et al. (2016), section 7.
    """
    total = functional.cross_entropy(
        logits.flatten(0, -2).float(),
        targets.flatten(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    return Term(total, (targets != ignore_index).sum())


def attention_entropy(alphas: Tensor, mask: Tensor) -> Term:
    """Mean entropy of attention (N, T, L) over the steps of mask (N, T), in nats."""
    entropy = -(alphas * alphas.clamp(min=_SMALLEST).log()).sum(dim=-1)  # (N, T)
    return _mean_where(entropy, mask)


def detection_loss(scores: Tensor, present: Tensor) -> Term:
    """Cross-entropy of which words the captions of a photograph have, in nats per photograph.

    Scores (B, L, W) are logits, less a prior, of each location showing each word; a photograph
    shows a word if any location does (noisy-OR multiple-instance learning, Fang et al., CVPR 2015,
    "From captions to visual concepts and back", section 3). ``present`` (B, W) is 1 or 0.
    """
    absent = -functional.softplus(scores.float() + _PRIOR).sum(dim=1)  # (B, W), log(1 - p)
    shown = -torch.expm1(absent.clamp(max=-_SMALLEST))
    likelihood = present * shown.clamp(min=_SMALLEST).log() + (1 - present) * absent
    return Term(-likelihood.sum(), len(likelihood))


def guidance_loss(alphas: Tensor, scores: Tensor, mask: Tensor) -> Term:
    """Cross-entropy of attention against where the next word was detected, in nats.

    Attention (N, T, L) should be where ``scores`` (N, T, L) of the word to come say that it is
    shown, at the steps of mask (N, T): what it asks for is the next word (Prophet Attention, Liu et
    al., NeurIPS 2020), and where that is comes from captions alone (POS-SCAN, Zhou et al., CVPR
    2020). No gradient reaches the scores.
    """
    shown = functional.logsigmoid(scores.detach().float() + _PRIOR)
    # In proportion to the square of the probability, to favour the surest places.
    target = torch.softmax(2 * shown, dim=-1)
    missed = -(target * alphas.clamp(min=_SMALLEST).log()).sum(dim=-1)  # (N, T)
    return _mean_where(missed, mask)


def distillation_loss(logits: Tensor, teacher: Tensor) -> Term:
    """How far class probabilities have moved from the first network's, in nats.

    The Kullback-Leibler divergence of logits (B, O) from the teacher's log-probabilities (B, O):
    learning without forgetting (Li and Hoiem, 2016), at temperature 1.
    """
    student = functional.log_softmax(logits.float(), dim=-1)
    total = functional.kl_div(student, teacher.float(), log_target=True, reduction="sum")
    return Term(total, len(logits))


def self_critical_loss(
    log_probabilities: Tensor, mask: Tensor, rewards: Tensor, samples: int
) -> Term:
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
    return Term(-weighted.sum(), mask.sum())


def _mean_where(values: Tensor, mask: Tensor) -> Term:
    return Term((values * mask).sum(), mask.sum())
