"""What training minimises: cross-entropy of the words, and the doubly stochastic penalty."""

from torch import Tensor
from torch.nn import functional


def token_cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of logits (N, T, V) against targets (N, T), padding left out.

    In nats a token. Label smoothing: Szegedy et al. (2016), section 7.
    """
    return functional.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def doubly_stochastic_penalty(alphas: Tensor, mask: Tensor) -> Tensor:
    """Ask every caption to look everywhere in the end: ``(1 - sum over t of alpha)^2``.

    Xu et al. (2015), section 4.2.1, eq. 14, as a mean over locations and captions, so that its
    size depends neither on the grid nor on the batch. Alphas (N, T, L) and mask (N, T), True at
    real steps: padding is left out, or it would count as attention, and so are captions that are
    padding alone.
    """
    received = (alphas * mask.unsqueeze(-1)).sum(dim=1)  # (N, L)
    errors = (1 - received).square().mean(dim=1)  # (N,)
    real = mask.any(dim=1)  # (N,)
    return (errors * real).sum() / real.sum().clamp(min=1)
