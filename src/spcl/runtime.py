"""Devices and precision, handled in this file only; the processes of a run are in ``processes.py``.

Other modules take the device from here, run the network under ``autocast``, give losses to ``backward`` and share work
among processes; the same code then runs on a CPU, one GPU or several processes (``torchrun``, ``accelerate
launch``).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from spcl.errors import InputError
from spcl.processes import Processes, end_processes, lost_another_process

__all__ = ["Runtime", "end_processes", "lost_another_process", "product_speed"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# torch renamed it, and warns of the old name if the new one exists.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)

_ROOM_SHARE = 0.5
"""Largest share of a device's memory that one temporary array may take."""


class Runtime(Processes):
    """Device, precision and processes of a run.

    Attributes:
        device: Device of the network and the memory.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the network's forward and backward pass.
        num_processes, rank, processes_here: Number of processes, rank and processes of this machine, as in
        ``Processes``.
    """

    def __init__(self, device: str = "auto", precision: str = "fp32") -> None:
        """Choose the device and join the other processes, if there are any.

        Args:
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            precision: ``fp32``, ``bf16`` or ``fp16``.

        Raises:
            InputError: If the device does not exist, or does not support this precision.
        """
        chosen = _available_device(device)
        self.precision = precision
        if precision not in _DTYPES:
            raise InputError(
                f"precision is {precision!r}; expected one of {', '.join(_DTYPES)}", code="setting-out-of-range"
            )
        if precision == "fp16" and chosen.type == "cpu":
            raise InputError("precision fp16 needs a GPU; on a CPU use fp32 or bf16", code="precision-not-supported")
        if precision == "fp16" and chosen.type == "mps":
            raise InputError(
                "precision fp16 needs a CUDA GPU, where losses can be scaled; on mps use fp32",
                code="precision-not-supported",
            )
        super().__init__(chosen)
        # All processes must decide in the same way, though their devices may differ.
        self._device_memory = min(self.gather_objects(self._own_memory()))
        self._scaler = torch.amp.GradScaler("cuda") if precision == "fp16" else None

    def device_memory(self) -> int:
        """Bytes of memory of the smallest device of all processes; on the host, of the smallest share of memory."""
        return self._device_memory

    def _own_memory(self) -> int:
        if self.device.type == "cuda":
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        return int(psutil.virtual_memory().total) // self.processes_here

    def has_room(self, num_bytes: int) -> bool:
        """Whether a temporary array of this size fits into the memory of the device with the present ones."""
        return num_bytes <= _ROOM_SHARE * self.device_memory()

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs."""
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32")

    def distribute(self, network: nn.Module) -> nn.Module:
        """Wrap the network for the training step: gradients are averaged over the processes."""
        if self.num_processes == 1:
            return network
        # The network's buffers are statistics of the images of each process; ``average`` joins them.
        kept_apart: dict[str, Any] = {_SYNC_BUFFERS: False}
        return DistributedDataParallel(
            network,
            device_ids=None if self.device.type == "cpu" else [self.device],
            gradient_as_bucket_view=True,
            **kept_apart,
        )

    def own_draws(self) -> AbstractContextManager[None]:
        """A context at whose end torch's global generators are restored."""
        # Seeding reaches the generators of all GPUs.
        devices = list(range(torch.cuda.device_count())) if self.device.type == "cuda" else []
        context: AbstractContextManager[None] = torch.random.fork_rng(devices=devices)
        return context

    def draw_apart(self, seed: int) -> None:
        """Give each process separate random numbers (dropout); the main process keeps its generator.

        A run of one process is not changed. Before this call all processes draw the same numbers: the initial weights.
        """
        if self.rank:
            torch.manual_seed((seed + self.rank) % 2**63)

    def clear_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Clear the gradients of the previous step."""
        optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of a loss, scaled if half precision needs it; gradients of several losses add up."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]

    def optimise(self, optimizer: torch.optim.Optimizer) -> None:
        """Take one step of the optimiser."""
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def without_sync(self, network: nn.Module, when: bool) -> AbstractContextManager[Any]:
        """A context in which gradients are not averaged over processes, for all but the last part of a batch."""
        if not when or not isinstance(network, DistributedDataParallel):
            return nullcontext()
        context: AbstractContextManager[Any] = network.no_sync()
        return context

    # --- state of a stopped run ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Give the state of the network's random generators and the loss scale, for a resumed run."""
        own: dict[str, Any] = {"cpu_generator": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda_generator"] = torch.cuda.get_rng_state(self.device)
        state: dict[str, Any] = {"generators": self.gather_objects(own)}
        if self._scaler is not None:
            state["loss_scale"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a ``state_dict``; with another number of processes, the generators are not restored."""
        if len(state["generators"]) == self.num_processes:
            own = state["generators"][self.rank]
            torch.set_rng_state(own["cpu_generator"])
            if self.device.type == "cuda" and "cuda_generator" in own:
                torch.cuda.set_rng_state(own["cuda_generator"], self.device)
        if self._scaler is not None and "loss_scale" in state:
            self._scaler.load_state_dict(state["loss_scale"])


def _available_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"device is {name!r}; expected auto, cpu, cuda, cuda:N or mps", code="no-such-device"
        ) from error
    there: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in there or not there[device.type]():
        raise InputError(
            f"device {name!r} does not exist on this machine; use --device auto or --device cpu", code="no-such-device"
        )
    return device


def product_speed(device: torch.device, size: int = 2048, depth: int = 2048) -> float:
    """Measure the multiplications and additions per second of a float32 matrix product, in a fraction of a second."""
    # No random numbers are used: those of a run must not depend on a measurement.
    first, second = torch.ones(size, depth, device=device), torch.ones(depth, size, device=device)
    out = torch.empty(size, size, device=device)
    best = float("inf")
    for _ in range(4):  # the first is slower: threads start, pages are touched
        started = time.perf_counter()
        torch.mm(first, second, out=out)
        if device.type != "cpu":
            float(out[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size * size * depth / best
