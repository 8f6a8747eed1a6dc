"""Pooling of a feature map ``[B, C, h, w]`` to one vector ``[B, C]`` for each image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragePooling(nn.Module):
    """The mean over all places, as in the paper."""

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, C, h, w]`` to ``[B, C]``."""
        return maps.mean(dim=(2, 3))


class GeneralisedMeanPooling(nn.Module):
    """GeM: the power mean over all places with a learnt exponent (Radenovic et al., TPAMI 2019).

    Args:
        exponent: Initial exponent; 1 is the average, large values approach the maximum.
        least: Lower bound that values are clamped to, so that the power has a gradient.
    """

    def __init__(self, exponent: float = 3.0, least: float = 1e-6) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))
        self.least = least

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, C, h, w]`` to ``[B, C]``, in float32: powers overflow in half precision."""
        powers = maps.float().clamp(min=self.least).pow(self.exponent)
        return powers.mean(dim=(2, 3)).pow(1.0 / self.exponent).to(maps.dtype)
