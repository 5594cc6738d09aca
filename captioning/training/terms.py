"""The terms of a loss: each a mean, over what all processes of a training have of a batch.

The mean of the processes' means would be another number wherever one has more words than another.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from captioning import processes
from captioning.data.dataset import Batch
from captioning.network.model import CaptioningModel
from captioning.training.config import TrainConfig


@dataclass(frozen=True, eq=False)
class Term:
    """A part of a loss: ``weight`` times the mean of ``count`` values that add up to ``total``."""

    total: Tensor
    count: Tensor | int = 1
    weight: float = 1.0

    @property
    def mean(self) -> Tensor:
        """The mean alone, of this process; 0 of no values."""
        return self.total / max(1, int(self.count))

    def times(self, weight: float) -> "Term":
        """The same term with another ``weight`` beside the one that it has."""
        return replace(self, weight=weight * self.weight)


# The terms of one batch's loss: as many, with the same weights, in every process.
LossFunction: TypeAlias = Callable[[CaptioningModel, Batch, TrainConfig], Sequence[Term]]


class Sums(NamedTuple):
    """The K terms of a batch: their totals, counts and weights (K,) each."""

    totals: Tensor
    counts: Tensor
    weights: Tensor


class Costs(nn.Module):
    """What a batch costs a network: a module, so that gradients of all processes are added up."""

    def __init__(
        self, network: CaptioningModel, loss_function: LossFunction, config: TrainConfig
    ) -> None:
        super().__init__()
        self.network, self.loss_function, self.config = network, loss_function, config

    def forward(self, batch: Batch) -> Sums:
        """The terms of this process's part of a batch; all 0 if that does not count."""
        terms = self.loss_function(self.network, batch, self.config)
        totals = torch.stack([term.total for term in terms]) * int(batch.counts)
        counts = torch.stack([torch.as_tensor(term.count).to(totals) for term in terms])
        counts = counts * int(batch.counts)
        return Sums(totals, counts, totals.new_tensor([term.weight for term in terms]))


def costs_of(
    network: CaptioningModel, loss_function: LossFunction, config: TrainConfig
) -> nn.Module:
    """``Costs``, whose backward pass gives every process the mean of all gradients.

    A parameter that no process uses keeps no gradient, as in a single process, or it would decay.
    That the unused ones are looked for also fixes the order in which gradients are added, so that a
    resumed run adds as an uninterrupted one: PyTorch would change it after the first step.
    """
    costs = Costs(network, loss_function, config)
    if processes.count() == 1:
        return costs
    group = processes.gradient_group(network.decoder.embedding.weight.device.type)
    warnings.filterwarnings("ignore", "Grad strides do not match")  # it costs a copy
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of the second flag
        return DistributedDataParallel(
            costs, process_group=group, broadcast_buffers=False, find_unused_parameters=True
        )


def loss_of(sums: Sums) -> tuple[Tensor, float]:
    """The loss of a batch: to differentiate in this process, and its value over all of them."""
    together = processes.total(torch.stack([sums.totals.detach(), sums.counts]).double())
    totals, counts = together  # (K,) each
    scale = sums.weights.double().cpu() / counts.clamp(min=1)  # (K,)
    # As many times, because the gradients of the processes will be averaged.
    loss = (sums.totals * scale.to(sums.totals)).sum() * processes.count()
    return loss, float((totals * scale).sum())
