"""Slots of the memory: the row of each source class and each target instance.

Paper: section 3.2, the hybrid memory. The first S rows are the source classes, in the order of their labels; the next
N are the target instances, in the order of ``ReIDDataset.train``. Unsupervised learning is the case S = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Slots:
    """The layout of a memory of ``num_source_classes + num_target_instances`` rows."""

    num_source_classes: int
    num_target_instances: int

    def __len__(self) -> int:
        return self.num_source_classes + self.num_target_instances

    def of_source(self, identities: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the memory rows of source images, from their identities ``[...]`` in ``0 .. S - 1``."""
        return identities

    def of_target(self, instances: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the memory rows of target images, from their instance ids ``[...]`` in ``0 .. N - 1``."""
        return self.num_source_classes + instances

    def class_of_each(self, target_labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the class of every memory row, ``[S + N]`` int64: one for each source row, the target's above them.

        Args:
            target_labels: ``[N]`` pseudo labels of the target, contiguous from 0.
        """
        if len(target_labels) != self.num_target_instances:
            raise ValueError(f"{len(target_labels)} target labels for {self.num_target_instances} instances")
        source = np.arange(self.num_source_classes, dtype=np.int64)
        return np.concatenate([source, self.num_source_classes + np.asarray(target_labels, dtype=np.int64)])
