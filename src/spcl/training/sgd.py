"""Stochastic gradient descent with Nesterov's momentum, as a part: kind ``sgd``.

Reference: Sutskever et al., *On the importance of initialization and momentum in deep learning*, ICML 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spcl.errors import require
from spcl.training.adamw import ScheduledSettings

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, Optimisation


@dataclass(frozen=True)
class SgdSettings(ScheduledSettings):
    """SGD and its schedule."""

    lr: float = 0.05
    """Learning rate of SGD; a hundred times Adam's is usual."""
    momentum: float = 0.9
    """Share of the last step's direction in this step's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.momentum < 1, "momentum", self.momentum, "above 0 and below 1")

    def build(self, context: BuildContext) -> Optimisation:
        """SGD over the encoder's trained weights, and its schedule."""
        import torch

        from spcl.training.learning_rates import RateOverEpochs, rate_groups
        from spcl.training.parts import Optimisation

        optimizer = torch.optim.SGD(
            rate_groups(context.encoder, lr=self.rate(context), layer_decay=self.layer_decay),
            lr=self.rate(context),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=True,
        )
        rates = RateOverEpochs(self.schedule, context.epochs, self.warmup_epochs, self.step_size)
        return Optimisation(optimizer, rates.scheduler(optimizer))
