"""A memory with one entry for each cluster, as a part: kind ``cluster``.

Source classes, clusters and un-clustered images are entries of one softmax, as in the hybrid memory, but the entry of a
class is a unit vector ``c`` that moves by itself, not the mean of its rows. It starts each epoch as the normalised mean
of the rows of its class. After a step, for each class in the batch::

    momentum   for each image of the class, in batch order: c <- normalise(m c + (1 - m) f)
    mean       c <- normalise(m c + (1 - m) mean of the images' features)
    hardest    c <- normalise(m c + (1 - m) f),  f the image with the least similarity to c

Every entry of a class moves as often as its images are drawn, so that all entries are equally new. Rows move as in the
hybrid memory, because labels may be computed from them. The entries start from extracted features where label features
are of kind ``extracted-into-memory``.

A step does not wait for the device: which images belong to which class is computed on the host.

Paper: Dai et al., *Cluster Contrast for Unsupervised Person Re-Identification*, ACCV 2022: the loss against cluster
entries (ClusterNCE) and the momentum rule. Reference: its authors' ``clustercontrast/models/cm.py``, ``CM`` (momentum)
and ``CM_Hard`` (hardest); both leave un-clustered images out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.errors import require
from spcl.selfpaced.hybrid_memory import HybridMemory, checked_batch, in_turns, require_classes

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
        # A copy of the labels that stays on the host.
        self._host_labels = torch.arange(num_slots)

    @torch.no_grad()
    def relabel(self, labels: Tensor) -> None:
        """Give each row its class, ``[K]`` int from 0; entries start as the normalised means of the rows."""
        super().relabel(labels)
        self._host_labels = self.labels.cpu()
        F.normalize(self.class_means, dim=1, out=self.class_means)

    @torch.no_grad()
    def update(self, inputs: Tensor, slots: Tensor) -> None:
        """Move the rows and the entries of the batch.

        Args:
            inputs: ``[B, D]`` features of the batch, of unit length.
            slots: ``[B]`` int64, the memory rows of the batch, on the host.
        """
        require_classes(self.class_sizes)
        inputs, slots = checked_batch(inputs, slots, tuple(self.features.shape))
        if not len(slots):
            return
        inputs = inputs.detach().to(self.features.dtype)
        self._move_in_turns(self.features, slots, inputs)
        classes = self._host_labels[slots]
        if self.rule == "momentum":
            self._move_in_turns(self.class_means, classes, inputs)
            return
        present, positions, is_used = _images_of_each(classes)
        towards = self._targets(inputs, present, positions, is_used)
        self._move(self.class_means, self._on_device(present), towards)

    def _targets(self, inputs: Tensor, present: Tensor, positions: Tensor, is_used: Tensor) -> Tensor:
        """Compute what each entry moves towards, ``[P, D]``; ``positions`` and ``is_used``: ``[P, M]``."""
        images = inputs[self._on_device(positions)]
        used = self._on_device(is_used)
        if self.rule == "mean":
            return (images * used.unsqueeze(2)).sum(dim=1) / used.sum(dim=1, keepdim=True)
        similarity = torch.linalg.vecdot(images, self.class_means[self._on_device(present)].unsqueeze(1))
        hardest = similarity.masked_fill(~used, torch.inf).argmin(dim=1)
        return images[torch.arange(len(images), device=images.device), hardest]

    def _move_in_turns(self, vectors: Tensor, numbers: Tensor, inputs: Tensor) -> None:
        """Move vectors towards each of their inputs, in batch order; ``numbers`` are on the host."""
        for positions, at in in_turns(numbers):
            self._move(vectors, self._on_device(at), inputs[self._on_device(positions)])

    def _move(self, vectors: Tensor, at: Tensor, towards: Tensor) -> None:
        """Move some vectors; each place occurs once."""
        vectors[at] = F.normalize(self.momentum * vectors[at] + (1.0 - self.momentum) * towards, dim=1)

    def _on_device(self, values: Tensor) -> Tensor:
        return values.to(self.features.device, non_blocking=True)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):  # type: ignore[no-untyped-def]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[no-untyped-call]
        saved: Any = state_dict.get(prefix + "labels")
        if saved is not None:
            self._host_labels = saved.detach().cpu().clone()


def _images_of_each(classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the images of each class of a batch, on the host.

    Args:
        classes: ``[B]`` int64, B at least 1.

    Returns:
        The P different classes ``[P]``; the batch positions of the images of each ``[P, M]``, in batch order; whether
        a position is used ``[P, M]``: M is the largest number of images of a class.
    """
    present, numbers, sizes = torch.unique(classes, return_inverse=True, return_counts=True)
    order = torch.argsort(numbers, stable=True)
    places = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[numbers[order]]
    positions = torch.zeros(len(present), int(sizes.max()), dtype=torch.int64)
    positions[numbers[order], places] = order
    return present, positions, torch.arange(positions.shape[1]) < sizes.unsqueeze(1)
