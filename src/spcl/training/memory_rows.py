"""Labels from the memory's own rows, as the paper makes them: kind ``memory`` of label features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.training.parts import BuildContext, FeatureSource, Memory


@dataclass(frozen=True)
class MemoryRowsSettings:
    """Labels are made from the memory's rows of the target images: no further pass over the images."""

    def build(self, context: BuildContext) -> FeatureSource:
        """The source, for the memory that is built already."""
        return MemoryRows(context.memory, context.slots.num_source_classes)


@dataclass(frozen=True)
class MemoryRows:
    """The target's rows of a memory."""

    memory: Memory
    num_source_classes: int

    def features(self) -> Tensor:
        """``[N, D]``: a view where the memory is whole, a copy where it is spread over processes."""
        return self.memory.rows()[self.num_source_classes :]
