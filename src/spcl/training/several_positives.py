"""A contrastive loss against the rows of the memory, with several positives: kind ``several-positives`` of the losses.

With ``s_j`` the similarity of an image with row j of the memory, ``Y`` the rows of the image's class, ``P`` the chosen
ones of them, and ``t`` the temperature::

    L = -1/|P| sum over p in P of log( exp(s_p / t) / (sum over j in P or not in Y of exp(s_j / t)) )

``P`` is all of ``Y``, or the k rows of ``Y`` with the smallest similarity (hardest) or the largest (easiest). Rows of
``Y`` that are not chosen are in neither sum. A source class and an un-clustered image have one row: there the loss is
that of one positive.

Paper: Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020, equation 2, with the rows of a memory in place of
the images of a batch; Hu et al., *Hard-Sample Guided Hybrid Contrast Learning*, IC-NIDC 2021, for a loss against hard
instances beside one against centroids.

The similarities ``[B, K]`` are computed once; the gradient is computed with the loss and takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from spcl.errors import InputError, require
from spcl.selfpaced.sharded_memory import ShardedMemory

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, LossTerm, StepInputs

Choice = Literal["all", "hardest", "easiest"]


@dataclass(frozen=True)
class SeveralPositivesSettings:
    """The contrastive loss against the rows of the memory, with several positives."""

    temperature: float = 0.05
    """Divides the similarities in the loss."""
    weight: float = 1.0
    """Weight of this term in the sum of all terms."""
    positives: Choice = "all"
    """Rows of the image's class that are positives: all, or the least (hardest) or most (easiest) similar ones."""
    num_positives: int = 4
    """Number of positives, where not all are taken."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")
        require(0 <= self.weight < inf, "weight", self.weight, "a finite number, 0 or more")
        choices = ("all", "hardest", "easiest")
        require(self.positives in choices, "positives", self.positives, ", ".join(choices))
        require(self.num_positives >= 1, "num_positives", self.num_positives, "a whole number of at least 1")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term.

        Raises:
            InputError: If the memory is sharded over the processes.
        """
        require_whole_memory(context, "several-positives")
        return SeveralPositives("several-positives", self.weight, self.temperature, self.positives, self.num_positives)


def require_whole_memory(context: BuildContext, kind: str) -> None:
    """Raise an ``InputError`` if the memory is sharded, for a kind of loss that reads all of it."""
    if isinstance(context.memory, ShardedMemory):
        raise InputError(
            f"the loss {kind} reads the whole memory, and each process has a part of it; give memory.placement = "
            '"replicated", or take another loss',
            code="memory-is-sharded",
        )


@dataclass(frozen=True)
class SeveralPositives:
    """The term for a memory that is whole in each process: ``rows()`` and ``labels``."""

    name: str
    weight: float
    temperature: float
    positives: Choice
    num_positives: int

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        rows, labels = step.memory.rows(), step.memory.labels
        classes = labels[step.slots.to(labels.device, non_blocking=True)]
        losses: Tensor = _LossOfRows.apply(step.features, classes, rows, labels, self)
        return losses


class _Chosen(NamedTuple):
    """The positives: their mean similarity ``[B]``, and for some rows ``at`` of each image its share of the mean."""

    mean: Tensor
    at: Tensor
    share: Tensor


class _LossOfRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, classes: Tensor, rows: Tensor, labels: Tensor, term: SeveralPositives
    ) -> Tensor:
        with torch.autocast(device_type=inputs.device.type, enabled=False):
            logits = inputs.float() @ rows.T
            logits.div_(term.temperature)
            is_positive = labels == classes.unsqueeze(1)
            if term.positives == "all":
                share = is_positive / is_positive.sum(dim=1, keepdim=True)
                mean = torch.linalg.vecdot(logits, share)
                highest, total = _to_softmax(logits)
                logits.sub_(share)
            else:
                chosen = _choose(logits, is_positive, min(term.num_positives, len(rows)), term.positives)
                mean = chosen.mean
                highest, total = _to_softmax(logits)
                logits.scatter_(1, chosen.at, logits.gather(1, chosen.at) - chosen.share)
            gradient = logits @ rows / term.temperature
            losses: Tensor = total.log() + highest - mean
        ctx.save_for_backward(gradient.to(inputs.dtype))
        return losses

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return outputs[0].unsqueeze(1) * gradient, None, None, None, None


def _choose(logits: Tensor, is_positive: Tensor, count: int, which: Choice) -> _Chosen:
    """Choose up to ``count`` positives of each image; the other rows of its class get a logit of minus infinity."""
    worst = torch.inf if which == "hardest" else -torch.inf
    found, at = logits.masked_fill(~is_positive, worst).topk(count, dim=1, largest=which == "easiest")
    # A class with fewer rows than ``count``: the further places are rows of other classes.
    is_row = is_positive.gather(1, at)
    others = logits.gather(1, at)
    logits.masked_fill_(is_positive, -torch.inf)
    logits.scatter_(1, at, others)
    share = is_row / is_row.sum(dim=1, keepdim=True)
    return _Chosen((found.masked_fill(~is_row, 0) * share).sum(dim=1), at, share)


def _to_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Turn logits ``[B, K]`` into their softmax, in place; give the largest logit and the sum of the rest, ``[B]``."""
    highest = logits.amax(dim=1)
    total = logits.sub_(highest.unsqueeze(1)).exp_().sum(dim=1)
    logits.div_(total.unsqueeze(1))
    return highest, total
