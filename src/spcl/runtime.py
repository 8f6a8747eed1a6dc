"""The only file that knows devices, precision and processes, over Accelerate.

Everything above asks this for the device, runs the network under ``autocast``, hands losses to ``step`` and shares work
among processes; the same code then runs on a CPU, one GPU or several processes (``torchrun``, ``accelerate launch``).
With one process every collective is the identity.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from spcl.errors import InputError

T = TypeVar("T")

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime:
    """Device, precision and processes of a run.

    Attributes:
        device: Where the network and the memory live.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the network's forward and backward pass.
        num_processes: That share the run.
        rank: Which of them this is, from 0.
    """

    def __init__(self, device: str = "auto", precision: str = "fp32") -> None:
        """Choose the device and join the other processes, if there are any.

        Args:
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
            precision: ``fp32``, ``bf16`` or ``fp16``.

        Raises:
            InputError: If the device is not there, or cannot work in this precision.
        """
        chosen = _available_device(device)
        self.precision = precision
        if precision not in _MIXED:
            raise InputError(f"precision is {precision!r}; expected one of {', '.join(_MIXED)}")
        if precision == "fp16" and chosen.type == "cpu":
            raise InputError("precision fp16 needs a GPU; on a CPU use fp32 or bf16")
        # Accelerate keeps one state per process and refuses a second precision: each run starts afresh.
        AcceleratorState._reset_state()
        self._accelerator = Accelerator(
            cpu=chosen.type == "cpu",
            mixed_precision=_MIXED[precision],
            # The network's buffers are statistics of each process's own images; ``average`` brings them together.
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
        )
        self.num_processes: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        # Several processes: each has a device of its own, which Accelerate has chosen.
        self.device: torch.device = self._accelerator.device if self.num_processes > 1 else chosen
        # Arrays on the host travel over gloo, whatever the devices use.
        self._host_group: dist.ProcessGroup | None = None
        if self.num_processes > 1:
            self._host_group = dist.new_group(backend="gloo")  # type: ignore[assignment]
        self._scaler = torch.amp.GradScaler("cuda") if precision == "fp16" else None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def device_memory(self) -> int:
        """Bytes of memory of this process's device; on the host, its share of what is there."""
        if self.device.type == "cuda":
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        return int(psutil.virtual_memory().total) // self.num_processes

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs."""
        return torch.autocast(self.device.type, dtype=_DTYPES[self.precision], enabled=self.precision != "fp32")

    def distribute(self, network: nn.Module) -> nn.Module:
        """The network as the training step calls it: gradients are averaged over the processes."""
        if self.num_processes == 1:
            return network
        wrapped: nn.Module = self._accelerator.prepare_model(network, device_placement=False)
        return wrapped

    def step(self, losses: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Backward pass of each loss (they add up) and one optimiser step, scaled where half precision needs it.

        Args:
            losses: Computed as they are asked for: the next forward pass comes after the backward pass before it.
            optimizer: Of the network's parameters.
        """
        optimizer.zero_grad(set_to_none=True)
        for loss in losses:
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def without_sync(self, network: nn.Module, when: bool) -> AbstractContextManager[Any]:
        """A context in which gradients stay in this process: for all but the last part of a batch."""
        if not when or self.num_processes == 1:
            return nullcontext()
        context: AbstractContextManager[Any] = self._accelerator.no_sync(network)
        return context

    # --- sharing work among processes --------------------------------------------------------------------------

    def part(self, count: int, rank: int | None = None) -> range:
        """Which of ``count`` things are a process's (None: this one's): consecutive, nearly equal parts."""
        own = self.rank if rank is None else rank
        return range(count * own // self.num_processes, count * (own + 1) // self.num_processes)

    def gather_parts(self, own: Tensor, count: int) -> Tensor:
        """All ``count`` rows from each process's ``part`` of them, on every process, in order.

        Args:
            own: ``[len(part(count)), ...]`` on the host or on the device.
            count: Rows in all.
        """
        if self.num_processes == 1:
            return own
        whole = torch.empty((count, *own.shape[1:]), dtype=own.dtype, device=own.device)
        mine = self.part(count)
        whole[mine.start : mine.stop] = own
        for rank in range(self.num_processes):
            theirs = self.part(count, rank)
            if len(theirs):
                dist.broadcast(whole[theirs.start : theirs.stop], src=rank, group=self._group(own))
        return whole

    def gather_equal(self, own: Tensor) -> Tensor:
        """``[processes, ...]``: the same-shaped tensor of every process, in order, without gradients."""
        own = own.detach().contiguous()
        if self.num_processes == 1:
            return own.unsqueeze(0)
        whole = [torch.empty_like(own) for _ in range(self.num_processes)]
        dist.all_gather(whole, own, group=self._group(own))
        return torch.stack(whole)

    def sum(self, own: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.num_processes > 1:
            dist.all_reduce(own, group=self._group(own))
        return own

    def largest(self, own: Tensor) -> Tensor:
        """The element-wise maximum over all processes, in place."""
        if self.num_processes > 1:
            dist.all_reduce(own, op=dist.ReduceOp.MAX, group=self._group(own))
        return own

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""
        if self.num_processes == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        self.sum(flat).div_(self.num_processes)
        for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(mean.view_as(tensor))

    def on_main(self, call: Callable[[], T]) -> T:
        """Call in the main process alone; its result, or its ``InputError``, reaches every process."""
        if self.num_processes == 1:
            return call()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = call()
            except InputError as error:
                outcome[1] = str(error)
        dist.broadcast_object_list(outcome, src=0, group=self._host_group)
        if outcome[1] is not None:
            told = InputError(outcome[1])
            told.is_shared = True
            raise told
        return outcome[0]  # type: ignore[no-any-return]

    def gather_objects(self, own: T) -> list[T]:
        """The object of every process, in order."""
        if self.num_processes == 1:
            return [own]
        objects: list[Any] = [None] * self.num_processes
        dist.all_gather_object(objects, own, group=self._host_group)
        return objects

    def _group(self, tensor: Tensor) -> dist.ProcessGroup | None:
        return self._host_group if tensor.device.type == "cpu" else None

    # --- what survives a stop ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the state of the network's random generators and the loss scale."""
        own: dict[str, Any] = {"cpu_generator": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda_generator"] = torch.cuda.get_rng_state(self.device)
        state: dict[str, Any] = {"generators": self.gather_objects(own)}
        if self._scaler is not None:
            state["loss_scale"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; with another number of processes, generators go on as they are."""
        if len(state["generators"]) == self.num_processes:
            own = state["generators"][self.rank]
            torch.set_rng_state(own["cpu_generator"])
            if self.device.type == "cuda" and "cuda_generator" in own:
                torch.cuda.set_rng_state(own["cuda_generator"], self.device)
        if self._scaler is not None and "loss_scale" in state:
            self._scaler.load_state_dict(state["loss_scale"])


def is_main_process() -> bool:
    """Whether this process prints: known from the environment, before anything is set up."""
    return os.environ.get("RANK", "0") == "0"


def lost_another_process(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    gone = re.search(
        r"closed by peer|reset by peer|broken pipe|connection refused|timed out", str(error), re.IGNORECASE
    )
    return isinstance(error, RuntimeError) and (isinstance(error, dist.DistBackendError) or gone is not None)


def end_processes() -> None:
    """Leave the group of processes, if there is one: for the end of a program."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


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
