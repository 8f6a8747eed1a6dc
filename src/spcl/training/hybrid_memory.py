"""The hybrid memory as a part: kind ``hybrid``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.runtime import Runtime
    from spcl.training.parts import BuildContext, Memory

_MEMORY_SHARE = 0.3
"""Share of a device's memory above which the hybrid memory is sharded."""


@dataclass(frozen=True)
class HybridMemorySettings:
    """The hybrid memory."""

    momentum: float = 0.2
    """Share of the old feature when a memory row is updated."""
    placement: Literal["auto", "replicated", "sharded"] = "auto"
    """Hybrid memory of several processes: a copy on each (replicated), a part on each (sharded); auto: by its size."""

    def __post_init__(self) -> None:
        require(0 <= self.momentum <= 1, "momentum", self.momentum, "a share from 0 to 1")

    def build(self, context: BuildContext) -> Memory:
        """Build a memory of the context's layout, whole or sharded over the processes."""
        from spcl.selfpaced.hybrid_memory import HybridMemory
        from spcl.selfpaced.sharded_memory import ShardedMemory

        num_slots, dim, runtime = len(context.slots), context.feature_dim, context.runtime
        if self.is_spread(num_slots, dim, runtime):
            return ShardedMemory(num_slots, dim, runtime=runtime, momentum=self.momentum)
        return HybridMemory(num_slots, dim, momentum=self.momentum).to(runtime.device)

    def is_spread(self, num_slots: int, dim: int, runtime: Runtime) -> bool:
        """Whether a memory of ``num_slots`` rows of length ``dim`` is sharded over the processes."""
        if self.placement != "auto":
            return self.placement == "sharded"
        # Rows and, in the worst case, as many class means, with room for a copy of either.
        is_large = 4 * num_slots * dim * 4 > _MEMORY_SHARE * runtime.device_memory()
        return is_large and runtime.num_processes > 1
