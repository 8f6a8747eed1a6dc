"""What survives a stop: everything the next step depends on, in one object and in one file.

Batches and augmentations are functions of (seed, epoch, iteration), so the two counters are the sampler's position;
the other state is the network, the optimiser and its schedule, the memory with this epoch's labels, the frozen
independence threshold, the network's random generators, and what the run has reported so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from spcl.runtime import Runtime
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory


@dataclass
class RunState:
    """The state of a training run.

    Attributes:
        network: The encoder as the training step calls it: compiled, distributed over processes; the same weights.
        loss: Of encoded images against the memory.
        epoch: The epoch in progress, from 0; the number of finished ones when ``iteration`` is 0.
        iteration: Steps already made in this epoch; its labels are in ``memory`` when this is above 0.
        independence_threshold: Frozen by the first epoch that had clusters; None before.
        label_settings: eps, k1 and k2, frozen by the first epoch where they are suggested; None where they are given.
        row: What this epoch has to report so far.
        history: The rows of the finished epochs.
        best_mean_ap: The best evaluation so far, a fraction; None before the first.
        best_epoch: The epoch it was reached in, from 1.
    """

    encoder: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    memory: HybridMemory | ShardedMemory
    runtime: Runtime
    network: nn.Module
    loss: Callable[..., Tensor] = contrastive_loss
    epoch: int = 0
    iteration: int = 0
    independence_threshold: float | None = None
    label_settings: dict[str, Any] | None = None
    row: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_mean_ap: float | None = None
    best_epoch: int = 0

    _PLAIN = (
        "epoch",
        "iteration",
        "independence_threshold",
        "label_settings",
        "row",
        "history",
        "best_mean_ap",
        "best_epoch",
    )
    _STATEFUL = ("encoder", "optimizer", "scheduler", "memory", "runtime")

    def state_dict(self) -> dict[str, Any]:
        """Everything, as tensors and plain values that safe loading accepts."""
        state = {name: getattr(self, name) for name in self._PLAIN}
        return state | {name: getattr(self, name).state_dict() for name in self._STATEFUL}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        for name in self._STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        for name in self._PLAIN:
            # A state of an earlier version lacks what came later: it keeps what a new one has.
            setattr(self, name, state.get(name, getattr(self, name)))
