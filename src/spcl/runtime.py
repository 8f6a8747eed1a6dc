"""The only file that knows devices and precision, over Accelerate.

Everything above asks this for the device, runs the network under ``autocast`` and hands losses to ``backward``; the
same code then runs on a CPU, one NVIDIA GPU or Apple's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from spcl.errors import InputError

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class Runtime:
    """Device and precision of a run.

    Attributes:
        device: Where the network and the memory live.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the network's forward and backward pass.
    """

    def __init__(self, device: str = "auto", precision: str = "fp32") -> None:
        """Choose the device.

        Args:
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            precision: ``fp32``, ``bf16`` or ``fp16``.

        Raises:
            InputError: If the device is not there, or cannot work in this precision.
        """
        self.device = _available_device(device)
        self.precision = precision
        if precision not in _MIXED:
            raise InputError(f"precision is {precision!r}; expected one of {', '.join(_MIXED)}")
        if precision == "fp16" and self.device.type == "cpu":
            raise InputError("precision fp16 needs a GPU; on a CPU use fp32 or bf16")
        # Accelerate keeps one state per process and refuses a second precision: each run starts afresh.
        AcceleratorState._reset_state()
        self._accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision=_MIXED[precision])
        if self._accelerator.num_processes > 1:
            raise InputError(
                f"started as {self._accelerator.num_processes} processes, and training runs in one: "
                "start it without torchrun or accelerate launch"
            )
        self._scaler = torch.amp.GradScaler("cuda") if precision == "fp16" else None

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "fp32")

    def step(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Backward pass and optimiser step, scaled where half precision needs it."""
        optimizer.zero_grad(set_to_none=True)
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the state of the network's random generators and the loss scale."""
        state: dict[str, Any] = {"cpu_generator": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state(self.device)
        if self._scaler is not None:
            state["loss_scale"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        torch.set_rng_state(state["cpu_generator"])
        if self.device.type == "cuda" and "cuda_generator" in state:
            torch.cuda.set_rng_state(state["cuda_generator"], self.device)
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
        raise InputError(f"device is {name!r}; expected auto, cpu, cuda, cuda:N or mps") from error
    there: dict[str, Callable[[], bool]] = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in there or not there[device.type]():
        raise InputError(f"device {name!r} is not there; use --device auto or --device cpu")
    return device


def product_speed(device: torch.device, size: int = 2048, depth: int = 2048) -> float:
    """Multiplications and additions a second of a plain float32 matrix product; takes a fraction of a second."""
    # No random numbers: a run's own must not depend on a measurement.
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
