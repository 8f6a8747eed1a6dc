"""The unified contrastive loss as a part: kind ``contrastive``."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from spcl.errors import require

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class ContrastiveSettings:
    """The unified contrastive loss."""

    temperature: float = 0.05
    """Number by which the similarities in the loss are divided."""
    weight: float = 1.0
    """Weight of this term in the sum of all terms."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")
        require(0 <= self.weight < inf, "weight", self.weight, "a finite number, 0 or more")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term."""
        return ContrastiveTerm("contrastive", self.weight, self.temperature)


@dataclass(frozen=True)
class ContrastiveTerm:
    """Equation 1 of the paper against the class means of a memory, whole or sharded."""

    name: str
    weight: float
    temperature: float

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        return against_class_means(step.features, step.slots, step.memory, self.temperature)


def against_class_means(features: Tensor, slots: Tensor, memory: Any, temperature: float) -> Tensor:
    """Compute ``contrastive_loss`` for a whole or sharded memory: ``labels``, ``class_means`` and ``class_sizes``."""
    from spcl.selfpaced.contrastive_loss import contrastive_loss
    from spcl.selfpaced.sharded_memory import ShardedMemory, sharded_contrastive_loss

    if isinstance(memory, ShardedMemory):
        return sharded_contrastive_loss(features, slots, memory, temperature=temperature)
    return contrastive_loss(features, slots, memory, temperature=temperature)
