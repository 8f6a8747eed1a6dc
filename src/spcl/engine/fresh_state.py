"""The state that a run begins with: optimiser, schedule and memory for an encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import nn

from spcl.engine.state import RunState
from spcl.nn.encoder import Encoder
from spcl.runtime import Runtime
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory, sharded_contrastive_loss

_MEMORY_SHARE = 0.3
"""The share of a device's memory above which the hybrid memory is spread over several."""

MemoryKind = Literal["auto", "replicated", "sharded"]


def fresh_state(
    encoder: Encoder,
    num_slots: int,
    runtime: Runtime,
    *,
    lr: float,
    weight_decay: float,
    step_size: int,
    momentum: float,
    memory_kind: MemoryKind = "auto",
    compiled: bool = False,
) -> RunState:
    """A state before the first step.

    Args:
        encoder: Moved to the runtime's device.
        num_slots: K, rows of the memory.
        runtime: Device, precision, processes.
        lr: Adam's learning rate.
        weight_decay: Adam's.
        step_size: Epochs after which the learning rate falls to a tenth.
        momentum: Of the memory.
        memory_kind: Whole on each process, a part on each, or by size.
        compiled: Whether the training step runs the compiled network.
    """
    # Before the optimiser takes its parameters. Channels last: up to twice as fast, on a CPU too.
    encoder = encoder.to(runtime.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(
        [parameter for parameter in encoder.parameters() if parameter.requires_grad],
        lr=lr,
        weight_decay=weight_decay,
        fused=runtime.device.type in ("cpu", "cuda"),
    )
    network = cast(nn.Module, torch.compile(encoder)) if compiled else encoder
    memory, loss = _memory(memory_kind, num_slots, encoder.feature_dim, momentum, runtime)
    return RunState(
        encoder=encoder,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size, gamma=0.1),
        memory=memory,
        runtime=runtime,
        network=runtime.distribute(network),
        loss=loss,
    )


def is_spread(kind: MemoryKind, num_slots: int, dim: int, runtime: Runtime) -> bool:
    """Whether each process holds a part of the hybrid memory, or the whole."""
    if kind != "auto":
        return kind == "sharded"
    # Rows and, in the worst case, as many class means, with room for a copy of either.
    is_large = 4 * num_slots * dim * 4 > _MEMORY_SHARE * runtime.device_memory()
    return is_large and runtime.num_processes > 1


def _memory(
    kind: MemoryKind, num_slots: int, dim: int, momentum: float, runtime: Runtime
) -> tuple[HybridMemory | ShardedMemory, Callable[..., Any]]:
    if is_spread(kind, num_slots, dim, runtime):
        return ShardedMemory(num_slots, dim, runtime=runtime, momentum=momentum), sharded_contrastive_loss
    return HybridMemory(num_slots, dim, momentum=momentum).to(runtime.device), contrastive_loss
