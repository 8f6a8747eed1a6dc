"""A teacher that is the exponential moving average (EMA) of the encoder, as a part: kind ``ema``.

Reference: Tarvainen and Valpola, NeurIPS 2017 (mean teacher).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.training.parts import BuildContext, Teacher


@dataclass(frozen=True)
class EmaTeacherSettings:
    """A teacher that follows the encoder; it is evaluated and saved instead of the encoder."""

    momentum: float = 0.999
    """Share of the old weights when the teacher follows; a step moves it by 1 - momentum."""

    def __post_init__(self) -> None:
        require(0 <= self.momentum <= 1, "momentum", self.momentum, "a share from 0 to 1")

    def build(self, context: BuildContext) -> Teacher:
        """Build a teacher with the initial weights of the encoder."""
        return EmaTeacher(context.encoder, self.momentum)


class EmaTeacher:
    """The moving average of an encoder's weights and of its batch-norm statistics.

    Attributes:
        network: The average, in evaluation mode, without gradients.
        momentum: Share of the old value in a step.
    """

    def __init__(self, encoder: EncoderNetwork, momentum: float) -> None:
        self.network = copy.deepcopy(encoder).eval().requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def follow(self, encoder: nn.Module) -> None:
        """``teacher <- momentum * teacher + (1 - momentum) * encoder``; integers are copied."""
        old, new = self.network.state_dict(), encoder.state_dict()
        averaged = [name for name, value in old.items() if value.is_floating_point()]
        if averaged:
            # All tensors in one call: on a GPU, a few kernels instead of one for each.
            torch._foreach_lerp_([old[name] for name in averaged], [new[name] for name in averaged], 1 - self.momentum)
        for name in old.keys() - set(averaged):
            old[name].copy_(new[name])

    def state_dict(self) -> dict[str, Any]:
        """Give the weights."""
        return dict(self.network.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore weights from ``state_dict``."""
        self.network.load_state_dict(state)
