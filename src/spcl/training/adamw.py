"""AdamW with warm-up and a cosine or stepped rate, as a part: kind ``adamw``.

Reference: Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019. Weight decay is taken from the
weights, not added to the gradient as Adam of the paper does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from spcl.errors import require
from spcl.training.adam import AdamSettings

if TYPE_CHECKING:
    from spcl.training.learning_rates import Schedule
    from spcl.training.parts import BuildContext, Optimisation

STEPS_OF_A_LONG_RUN = 1000
"""Steps from which ``short_run_factor`` does not apply."""


@dataclass(frozen=True)
class ScheduledSettings(AdamSettings):
    """An optimiser whose rate follows the epochs of the run."""

    schedule: Schedule = "cosine"
    """Rate over the epochs: cosine, to a hundredth; step, to a tenth every step_size epochs; constant."""
    warmup_epochs: int = 0
    """Epochs in which the rate rises to its full value."""
    layer_decay: float = 1.0
    """Factor of the rate from a stage of the trunk to the one below it; 1: one rate for all."""

    random_weights_factor: float = 1.0
    """Factor of the learning rate where the network starts from random weights, which must move farther."""
    short_run_factor: float = 1.0
    """Factor of the learning rate in a run of fewer than 1,000 steps, where the rate of a long run changes too little;
    of this and the factor for random weights the larger one counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("random_weights_factor", "short_run_factor"):
            require(0 < getattr(self, name) < inf, name, getattr(self, name), "a positive, finite number")
        require(self.schedule in ("cosine", "step", "constant"), "schedule", self.schedule, "cosine, step or constant")
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "0 or more")
        require(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "above 0 and at most 1")

    def rate(self, context: BuildContext) -> float:
        """Give the learning rate of a run."""
        random = self.random_weights_factor if context.starts_random else None
        short = self.short_run_factor if context.steps < STEPS_OF_A_LONG_RUN else None
        return self.lr * max((factor for factor in (random, short) if factor is not None), default=1.0)


@dataclass(frozen=True)
class AdamWSettings(ScheduledSettings):
    """AdamW and its schedule."""

    decoupled: bool = True
    """Whether weight decay is decoupled from the gradient (AdamW); false: Adam with this kind's schedules."""

    def build(self, context: BuildContext) -> Optimisation:
        """AdamW over the encoder's trained weights, and its schedule."""
        import torch

        from spcl.training.learning_rates import RateOverEpochs, rate_groups
        from spcl.training.parts import Optimisation

        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        optimizer = kind(
            rate_groups(context.encoder, lr=self.rate(context), layer_decay=self.layer_decay),
            lr=self.rate(context),
            weight_decay=self.weight_decay,
            fused=context.runtime.device.type in ("cpu", "cuda"),
        )
        rates = RateOverEpochs(self.schedule, context.epochs, self.warmup_epochs, self.step_size)
        return Optimisation(optimizer, rates.scheduler(optimizer))
