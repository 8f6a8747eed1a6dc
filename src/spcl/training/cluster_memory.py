"""A memory with one entry for each cluster, as a part: kind ``cluster``.

Source classes, clusters and un-clustered images are entries of one softmax, as in the hybrid memory, but the entry of a
class is a unit vector ``c`` that moves by itself, not the mean of its rows. It starts each epoch as the normalised mean
of the rows. After a step, for each class in the batch::

    momentum   for each image of the class, in batch order: c <- normalise(m c + (1 - m) f)
    mean       c <- normalise(m c + (1 - m) mean of the images' features)
    hardest    c <- normalise(m c + (1 - m) f),  f the image with the least similarity to c

Every entry of a class moves as often as its images are drawn, so that all entries of a cluster are equally new. Rows
are kept as in the hybrid memory, because labels may be made from them.

Reference: Dai et al., *Cluster Contrast for Unsupervised Person Re-Identification*, ACCV 2022 (momentum; the hardest
member in the authors' code); Hu et al., CVPR 2021 (hard instances).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.errors import require
from spcl.selfpaced.hybrid_memory import HybridMemory, check_batch, in_turns, require_classes

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, Memory

UpdateRule = Literal["momentum", "mean", "hardest"]


@dataclass(frozen=True)
class ClusterMemorySettings:
    """A memory with one entry for each cluster."""

    momentum: float = 0.2
    """Share of the old entry when an entry moves."""
    update: UpdateRule = "momentum"
    """Features that an entry moves towards: each of the batch, their mean, or the one that is least similar."""

    def __post_init__(self) -> None:
        require(0 <= self.momentum <= 1, "momentum", self.momentum, "a share from 0 to 1")
        rules = ("momentum", "mean", "hardest")
        require(self.update in rules, "update", self.update, ", ".join(rules))

    def build(self, context: BuildContext) -> Memory:
        """A memory of the context's layout, whole in each process."""
        memory = ClusterMemory(len(context.slots), context.feature_dim, self.momentum, self.update)
        return memory.to(context.runtime.device)


class ClusterMemory(HybridMemory):
    """Rows of images, and an entry of unit length for each class.

    Attributes:
        class_means: ``[C, D]`` float32, the entries: unit vectors, zero for an empty class.
        rule: Features that an entry moves towards.
    """

    def __init__(self, num_slots: int, dim: int, momentum: float, rule: UpdateRule) -> None:
        super().__init__(num_slots, dim, momentum=momentum)
        self.rule = rule

    @torch.no_grad()
    def relabel(self, labels: Tensor) -> None:
        """Give each row its class, ``[K]`` int from 0; entries start as the normalised means of the rows."""
        super().relabel(labels)
        self.class_means = F.normalize(self.class_means, dim=1)

    @torch.no_grad()
    def update(self, inputs: Tensor, slots: Tensor) -> None:
        """Move the rows and the entries of the batch.

        Args:
            inputs: ``[B, D]`` features of the batch, of unit length.
            slots: ``[B]`` int64, the memory rows of the batch, on the host.
        """
        require_classes(self.class_sizes)
        check_batch(inputs, slots, tuple(self.features.shape))
        device = self.features.device
        inputs = inputs.detach().to(self.features.dtype)
        for positions, rows in in_turns(slots):
            self._move(self.features, rows.to(device), inputs[positions.to(device)])
        classes = self.labels[slots.to(device)]
        if self.rule == "momentum":
            for positions, entries in in_turns(classes.cpu()):
                self._move(self.class_means, entries.to(device), inputs[positions.to(device)])
            return
        present, numbers = torch.unique(classes, return_inverse=True)
        if self.rule == "mean":
            sums = torch.zeros(len(present), inputs.shape[1], device=device).index_add_(0, numbers, inputs)
            towards = sums / torch.bincount(numbers, minlength=len(present)).unsqueeze(1)
        else:
            similarity = (inputs * self.class_means[classes]).sum(dim=1)
            by_similarity = torch.argsort(similarity, stable=True)
            order = by_similarity[torch.argsort(numbers[by_similarity], stable=True)]
            sizes = torch.bincount(numbers, minlength=len(present))
            towards = inputs[order[torch.cumsum(sizes, dim=0) - sizes]]
        self._move(self.class_means, present, towards)

    def _move(self, vectors: Tensor, at: Tensor, towards: Tensor) -> None:
        """Move some vectors; each place occurs once."""
        vectors[at] = F.normalize(self.momentum * vectors[at] + (1.0 - self.momentum) * towards, dim=1)
