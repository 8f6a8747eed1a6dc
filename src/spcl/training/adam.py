"""Adam with a learning rate that falls in steps, as a part: kind ``adam``."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, Optimisation


@dataclass(frozen=True)
class AdamSettings:
    """The optimiser and its schedule."""

    lr: float = 0.00035
    """Learning rate of Adam; 0: the weights do not change, as a test of everything else."""
    weight_decay: float = 5e-4
    """Weight decay of Adam."""
    step_size: int = 20
    """Number of epochs after which the learning rate is divided by 10."""

    def __post_init__(self) -> None:
        require(0 <= self.lr < inf, "lr", self.lr, "a finite number, 0 or more")
        require(0 <= self.weight_decay < inf, "weight_decay", self.weight_decay, "a finite number, 0 or more")
        require(self.step_size >= 1, "step_size", self.step_size, "at least 1")

    def build(self, context: BuildContext) -> Optimisation:
        """Build Adam over the encoder's trained weights, and its schedule."""
        import torch

        from spcl.training.parts import Optimisation

        optimizer = torch.optim.Adam(
            [parameter for parameter in context.encoder.parameters() if parameter.requires_grad],
            lr=self.lr,
            weight_decay=self.weight_decay,
            fused=context.runtime.device.type in ("cpu", "cuda"),
        )
        return Optimisation(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, self.step_size, gamma=0.1))
