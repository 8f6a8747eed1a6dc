"""Learning rates over the epochs of a run and over the depth of a network, for the optimiser kinds.

Over epochs (e from 0, E epochs, W of them warm-up)::

    warm-up   e < W:  lr * (e + 1) / (W + 1)
    cosine    lr * (least + (1 - least) * (1 + cos(pi * (e - W) / (E - W))) / 2)
    step      lr * 0.1 ^ floor(e / step_size)
    constant  lr

Reference: Loshchilov and Hutter, ICLR 2017 (cosine); Goyal et al., 2017 (warm-up). Over depth: the rate of a stage is
``lr * layer_decay ^ (stages above it)``, Clark et al., ICLR 2020 (ELECTRA): the first stages of a pretrained trunk
change least. A trunk's stages are its numbered blocks (``layer1``, ``stages.2``, ``blocks.11``); what comes before them
(a stem, patches and positions of a transformer) is the lowest stage, what comes after them the highest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Schedule = Literal["cosine", "step", "constant"]

_NUMBERED = re.compile(r"(?:layer|stages\.|blocks\.|layers\.)(\d+)\.")


@dataclass(frozen=True)
class RateOverEpochs:
    """The factor of the learning rate in each epoch.

    Attributes:
        schedule: Shape of the rate after the warm-up.
        epochs: Number of epochs of the run.
        warmup_epochs: Epochs in which the rate rises to its full value.
        step_size: Epochs after which the rate falls to a tenth, for ``step``.
        least: Share of the rate that is left at the end, for ``cosine``.
    """

    schedule: Schedule
    epochs: int
    warmup_epochs: int = 0
    step_size: int = 20
    least: float = 0.01

    def __call__(self, epoch: int) -> float:
        """Give the factor in an epoch, from 0."""
        if epoch < self.warmup_epochs:
            return (epoch + 1) / (self.warmup_epochs + 1)
        if self.schedule == "step":
            return float(0.1 ** (epoch // self.step_size))
        if self.schedule == "constant":
            return 1.0
        done = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
        return self.least + (1 - self.least) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Give a scheduler that advances once an epoch."""
        # A function, not this object: a scheduler saves the fields of an object, and a resumed run may be longer.
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: self(epoch))


def rate_groups(network: nn.Module, *, lr: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Give the trained parameters of a network as groups for an optimiser, one for each learning rate.

    Args:
        network: A network whose trunk is its attribute ``trunk``; other parameters are above the trunk.
        lr: Learning rate of the highest stage.
        layer_decay: Factor of the rate from a stage to the one below it; 1: one rate for all.

    Returns:
        Groups with ``params`` and ``lr``, the highest stage first.
    """
    named = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    if layer_decay == 1:
        return [{"params": [value for _, value in named], "lr": lr}]
    stages = _stages([name for name, _ in named])
    top = max(stages, default=0)
    groups: dict[int, list[nn.Parameter]] = {}
    for stage, (_, value) in zip(stages, named, strict=True):
        groups.setdefault(stage, []).append(value)
    return [
        {"params": groups[stage], "lr": lr * layer_decay ** (top - stage)} for stage in sorted(groups, reverse=True)
    ]


def _stages(names: Iterable[str]) -> list[int]:
    """The stage of each parameter, ascending with depth: numbered blocks keep their order."""
    places: list[tuple[int, int]] = []
    for name in names:
        places.append(_place(name, is_above=bool(places) and places[-1][0] > 0))
    numbers = {place: at for at, place in enumerate(sorted(set(places)))}
    return [numbers[place] for place in places]


def _place(name: str, *, is_above: bool) -> tuple[int, int]:
    """The place of a parameter from below: the part of the network, and the number of its block.

    Args:
        name: Name of the parameter. Networks register their parts in the order of use.
        is_above: Whether the parameter before it was in a numbered block, or above them.
    """
    if not name.startswith("trunk."):
        return (2, 0)
    if ".patch_embed." in name:
        # It may be a network of its own, with stages.
        return (0, 0)
    # timm numbers the blocks inside a stage, too: the first number is the stage's.
    found = _NUMBERED.search(name)
    if found is not None:
        return (1, int(found[1]))
    return (2, 0) if is_above else (0, 0)
