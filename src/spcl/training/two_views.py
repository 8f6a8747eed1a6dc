"""A contrastive loss between two views of an un-clustered image, as a part: kind ``two-views`` of the losses.

With ``f`` and ``g`` the features of two augmented views of an image, ``c`` its class, ``m_j`` the class means of the
memory and ``t`` the temperature, for each of the two views::

    L = -log( exp(f g / t) / (exp(f g / t) + sum over j other than c of exp(f m_j / t)) )

The other view is the positive, in place of the image's row; the gradient flows into both views. An image in a cluster,
a source image and an image that is in the batch once have a loss of 0, so that the term counts by the share of views
of un-clustered images. The sampler of kind ``two-views`` draws un-clustered images twice.

Paper: Chen et al., *A Simple Framework for Contrastive Learning of Visual Representations*, ICML 2020, equation 1
(two views as positives); He et al., *Momentum Contrast*, CVPR 2020, equation 1 (negatives from a memory, here its
classes): the loss of an image does not depend on how a batch is cut over processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.errors import require
from spcl.training.several_positives import require_whole_memory

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class TwoViewsSettings:
    """The contrastive loss between two views of an un-clustered image."""

    temperature: float = 0.05
    """Divides the similarities in the loss."""
    weight: float = 0.5
    """Weight of this term in the sum of all terms."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")
        require(0 <= self.weight < inf, "weight", self.weight, "a finite number, 0 or more")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term.

        Raises:
            InputError: If the memory is sharded over the processes.
        """
        require_whole_memory(context, "two-views")
        return TwoViews("two-views", self.weight, self.temperature, context.slots.num_source_classes)


@dataclass(frozen=True)
class TwoViews:
    """The term for a memory with ``labels``, ``class_means`` and ``class_sizes``, whole in each process."""

    name: str
    weight: float
    temperature: float
    num_source_classes: int

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        memory: Any = step.memory
        device = step.features.device
        first = first_views(step.slots, self.num_source_classes)
        here, other = torch.cat([first, first + 1]), torch.cat([first + 1, first])
        slots = step.slots[here].to(device, non_blocking=True)
        here, other = here.to(device, non_blocking=True), other.to(device, non_blocking=True)
        with torch.autocast(device_type=device.type, enabled=False):
            features = step.features.float()
            views, classes, sizes = features[here], memory.labels[slots], memory.class_sizes
            agreement = torch.linalg.vecdot(views, features[other]) / self.temperature
            logits = (views @ memory.class_means.T / self.temperature).masked_fill(sizes == 0, -torch.inf)
            logits = logits.scatter(1, classes.unsqueeze(1), agreement.unsqueeze(1))
            losses = F.cross_entropy(logits, classes, reduction="none") * (sizes[classes] == 1)
            return torch.zeros(len(features), device=device).index_copy(0, here, losses)


def first_views(slots: Tensor, num_source_classes: int) -> Tensor:
    """Find the images of the target that are in a batch twice, one after the other.

    Args:
        slots: ``[B]`` int64 on the host, the memory row of each image.
        num_source_classes: Number of memory rows of the source; they come first and are left out.

    Returns:
        ``[P]`` int64, the place of the first view of each pair; the second one follows it. No image is in two pairs.
    """
    places = torch.arange(len(slots))
    starts = torch.ones(len(slots), dtype=torch.bool)
    starts[1:] = slots[1:] != slots[:-1]
    in_run = places - torch.where(starts, places, 0).cummax(dim=0).values
    has_next = torch.zeros(len(slots), dtype=torch.bool)
    has_next[:-1] = ~starts[1:]
    return (has_next & (in_run % 2 == 0) & (slots >= num_source_classes)).nonzero()[:, 0]
