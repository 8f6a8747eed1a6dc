"""A contrastive loss with soft labels carried over epochs: kind ``cluster-consensus`` of the losses.

Pseudo labels of one epoch are noisy, and clusters of two epochs have no common numbers. The overlap of the classes of
two epochs says which class a class of the epoch before has become. With ``A_i`` a target class of the epoch before and
``B_j`` one of this epoch, as sets of images::

    C_ij = |A_i and B_j| / |A_i or B_j|, then each row is divided by its sum                       (consensus)
    y_t(x) = c onehot(class of x) + (1 - c) y_(t-1)(x) C                                           (soft label of x)
    L(x) = - sum over classes j of y_t(x)_j log( exp(f m_j / t) / sum over k of exp(f m_k / t) )

``c`` is the certainty of the labels of an epoch, ``m_j`` the class means of the memory, of unit length where
``normalised``, ``t`` the temperature. Soft labels of the first epoch, and those of source images, are onehot. So an
image that changes its cluster is drawn to both, and one whose cluster is stable to its cluster alone. Each soft label
keeps its ``most_classes`` largest shares, that of its own class among them, and none of a class that holds an image
known to show another object.

Paper: Zhang, Ge, Qiao and Li, *Refining Pseudo Labels with Clustering Consensus over Generations for Unsupervised
Object Re-identification*, CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spcl.errors import require
from spcl.training.several_positives import require_whole_memory

if TYPE_CHECKING:
    from spcl.pairs.constraints import PairConstraints
    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class ClusterConsensusSettings:
    """The contrastive loss with soft labels that the clusters of earlier epochs refine."""

    temperature: float = 0.05
    """Divides the similarities in the loss."""
    weight: float = 1.0
    """Weight of this term in the sum of all terms."""
    certainty: float = 0.9
    """Share of an epoch's own label in a soft label, above 0; 1: no soft labels."""
    normalised: bool = True
    """Whether class means have unit length in the loss."""
    most_classes: int = 8
    """Largest number of classes in a soft label."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")
        require(0 <= self.weight < inf, "weight", self.weight, "a finite number, 0 or more")
        require(0 < self.certainty <= 1, "certainty", self.certainty, "a share above 0, at most 1")
        require(self.most_classes >= 1, "most_classes", self.most_classes, "a whole number of at least 1")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term.

        Raises:
            InputError: If the memory is sharded over the processes.
        """
        require_whole_memory(context, "cluster-consensus")
        return ClusterConsensus(
            self, context.slots.num_source_classes, context.runtime.device, context.target.constraints()
        )


class ClusterConsensus:
    """The term for a memory with ``class_means`` and ``class_sizes``, whole in each process.

    Attributes:
        name: Name in reports.
        weight: Factor of the term in the sum.
        labels: ``[N]`` int64, the target's labels of the epoch; None before the first.
        classes: ``[K, M]`` int64 on the device, the classes in the soft label of each memory row, its own class first;
            unused places repeat it.
        shares: ``[K, M]`` float32 on the device, the share of each of them; 0 in unused places.
    """

    name = "cluster-consensus"

    def __init__(
        self,
        settings: ClusterConsensusSettings,
        num_source_classes: int,
        device: torch.device,
        constraints: PairConstraints | None = None,
    ) -> None:
        self.settings, self.weight = settings, settings.weight
        self.labels: NDArray[np.int64] | None = None
        self.classes = torch.zeros(0, settings.most_classes, dtype=torch.int64, device=device)
        self.shares = torch.zeros(0, settings.most_classes, device=device)
        self._num_source, self._device, self._constraints = num_source_classes, device, constraints

    def follow_labels(self, labels: NDArray[np.int64]) -> None:
        """Carry the soft labels over to the target's labels ``[N]`` of a new epoch."""
        before = None
        if self.labels is not None and self.settings.certainty < 1:
            num = self._num_source
            classes, shares = self.classes[num:].cpu().numpy() - num, self.shares[num:].cpu().numpy()
            before = carried_over(classes, shares, self.labels, labels)
        classes, shares = soft_labels(labels, before, self.settings.certainty, self.settings.most_classes)
        if self._constraints is not None:
            classes, shares = without_denied(classes, shares, labels, self._constraints)
        self.labels = labels.copy()
        source = np.arange(self._num_source)
        own = np.zeros((len(source), self.settings.most_classes))
        own[:, :1] = 1
        rows = np.broadcast_to(source[:, None], own.shape)
        self.classes = torch.from_numpy(np.concatenate([rows, classes + self._num_source])).to(self._device)
        self.shares = torch.from_numpy(np.concatenate([own, shares]).astype(np.float32)).to(self._device)

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        memory: Any = step.memory
        slots = step.slots.to(self._device, non_blocking=True)
        with torch.autocast(device_type=step.features.device.type, enabled=False):
            means = F.normalize(memory.class_means, dim=1) if self.settings.normalised else memory.class_means
            logits = step.features.float() @ means.T / self.settings.temperature
            logits = logits.masked_fill(memory.class_sizes == 0, -torch.inf)
            likelihoods = F.log_softmax(logits, dim=1).gather(1, self.classes[slots])
            losses: Tensor = -torch.linalg.vecdot(self.shares[slots], likelihoods)
            return losses

    def state_dict(self) -> dict[str, Any]:
        """Give the labels of the epoch and the soft labels."""
        labels = None if self.labels is None else torch.from_numpy(self.labels)
        return {"labels": labels, "classes": self.classes, "shares": self.shares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore soft labels from ``state_dict``."""
        self.labels = None if state["labels"] is None else state["labels"].clone().numpy()
        self.classes, self.shares = (state[name].to(self._device).clone() for name in ("classes", "shares"))


def carried_over(
    classes: NDArray[np.int64], shares: NDArray[np.floating], before: NDArray[np.int64], now: NDArray[np.int64]
) -> Any:
    """Give the soft labels of the epoch before in classes of this epoch.

    Args:
        classes: ``[N, M]`` int64, classes of the epoch before in the soft label of each image.
        shares: ``[N, M]`` float, the share of each of them.
        before: ``[N]`` int64, labels of the epoch before, from 0 without gaps.
        now: ``[N]`` int64, labels of this epoch, from 0 without gaps.

    Returns:
        ``[N, C]`` float64 SciPy array in CSR format, C the number of classes of this epoch; rows add up to 1.

    Raises:
        ValueError: If a class is not one of the epoch before.

    Cost: O(N M k), k the number of classes of this epoch that one of the epoch before was split into.
    """
    from scipy.sparse import csr_array

    num, width = classes.shape
    if classes.max(initial=0) > before.max(initial=0):
        # SciPy would read outside its arrays.
        raise ValueError(f"class {classes.max()} is none of the {before.max() + 1} classes of the epoch before")
    starts = np.arange(0, num * width + 1, width)
    shape = num, int(before.max(initial=-1)) + 1
    soft = csr_array((shares.astype(np.float64).ravel(), classes.ravel(), starts), shape=shape)
    return soft @ consensus(before, now)


def consensus(before: NDArray[np.int64], now: NDArray[np.int64]) -> Any:
    """Compute the overlap of the classes of two epochs, as a share of each class of the first one.

    Args:
        before: ``[N]`` int64, one labelling, from 0 without gaps.
        now: ``[N]`` int64, the other labelling, from 0 without gaps.

    Returns:
        ``[classes before, classes now]`` float64 SciPy array in CSR format: intersection over union, each row divided
        by its sum.

    Examples:
        >>> consensus(np.array([0, 0, 1]), np.array([0, 0, 1])).toarray().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    from scipy.sparse import csr_array, diags_array

    shape = int(before.max(initial=-1)) + 1, int(now.max(initial=-1)) + 1
    both = csr_array((np.ones(len(now)), (before, now)), shape=shape).tocoo()
    both.sum_duplicates()
    union = np.bincount(before)[both.row] + np.bincount(now)[both.col] - both.data
    overlap = csr_array((both.data / union, (both.row, both.col)), shape=shape)
    return diags_array(1 / overlap.sum(axis=1)) @ overlap


def soft_labels(
    labels: NDArray[np.int64], before: Any, certainty: float, most_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Mix the labels of an epoch with the soft labels that were carried over.

    Args:
        labels: ``[N]`` int64, the labels of the epoch.
        before: ``[N, C]`` SciPy array of ``carried_over``; None: there are none.
        certainty: Share of the labels of the epoch.
        most_classes: M, the largest number of classes in a soft label.

    Returns:
        ``[N, M]`` int64 classes, the image's own first, then by falling share; ``[N, M]`` float64 shares, whose rows
        add up to 1. Unused places have the own class and a share of 0.
    """
    num = len(labels)
    classes = np.repeat(labels[:, None], most_classes, axis=1)
    shares = np.zeros((num, most_classes))
    shares[:, 0] = 1
    if before is None:
        return classes, shares
    rows = np.repeat(np.arange(num), np.diff(before.indptr))
    columns, values = before.indices.astype(np.int64), (1 - certainty) * before.data
    is_own = columns == labels[rows]
    shares[:, 0] = certainty + np.bincount(rows[is_own], weights=values[is_own], minlength=num)
    rows, columns, values = rows[~is_own], columns[~is_own], values[~is_own]
    # By image, then the largest share first; equal shares by class, so that every machine keeps the same ones.
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(num))
    place = 1 + np.arange(len(rows)) - starts[rows]
    kept = place < most_classes
    classes[rows[kept], place[kept]], shares[rows[kept], place[kept]] = columns[kept], values[kept]
    return classes, shares / shares.sum(axis=1, keepdims=True)


def without_denied(
    classes: NDArray[np.int64], shares: NDArray[np.float64], labels: NDArray[np.int64], constraints: PairConstraints
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Take from each soft label the classes that hold an image under a cannot-link with its image.

    Args:
        classes: ``[N, M]`` int64, classes of each soft label, the image's own first.
        shares: ``[N, M]`` float64, the share of each of them; rows add up to 1.
        labels: ``[N]`` int64, the labels of the epoch, which respect the known pairs.
        constraints: Known pairs of the images.

    Returns:
        Classes and shares of the same shapes; what was taken counts for the other classes in their proportions.
    """
    # The class of a node is that of any of its images.
    of_node = np.empty(len(constraints.sizes), dtype=np.int64)
    of_node[constraints.nodes] = labels
    num = int(labels.max(initial=0)) + 1
    first, second = constraints.cannot_link[:, 0], constraints.cannot_link[:, 1]
    denied = np.concatenate([first * num + of_node[second], second * num + of_node[first]])
    is_denied = np.isin(constraints.nodes[:, None] * num + classes, denied)
    kept = np.where(is_denied, 0, shares)
    return np.where(is_denied, labels[:, None], classes), kept / kept.sum(axis=1, keepdims=True)
