"""Labels from the rows of the memory, as in the paper: kind ``memory`` of label features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.training.parts import BuildContext, FeatureSource, Memory


@dataclass(frozen=True)
class MemoryRowsSettings:
    """Pseudo labels are computed from the memory's rows of the target images, without another pass over the images."""

    def build(self, context: BuildContext) -> FeatureSource:
        """Build the source for the memory of the context."""
        return MemoryRows(context.memory, context.slots.num_source_classes)


@dataclass(frozen=True)
class MemoryRows:
    """The target's rows of a memory."""

    memory: Memory
    num_source_classes: int

    def features(self) -> Tensor:
        """``[N, D]``: a view of a whole memory, a copy of a sharded one."""
        return self.memory.rows()[self.num_source_classes :]
