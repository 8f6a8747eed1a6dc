"""The processes of a run, over Accelerate and torch.distributed: their ranks, and how work and errors are shared.

With one process every collective is the identity, and nothing is set up. Devices and precision are in ``runtime.py``.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from spcl.errors import InputError
from spcl.launched import launched

T = TypeVar("T")

_LONGEST_WAIT = timedelta(hours=24)
"""Longest time that a process waits for the others on the host. One of them may label or re-rank millions of images for
hours. A process that ends is noticed at once by its closed connection."""

_GONE = re.compile(
    r"closed by (remote )?peer|reset by peer|broken pipe|connection (refused|was likely closed)|remote process exit"
    r"|communicator was aborted|tim(ed|ing) out|timeout",
    re.IGNORECASE,
)
"""Text in the errors that gloo, the store or NCCL raise when another process has ended."""


class Processes:
    """The processes of a run.

    Attributes:
        device: Device of this process: the chosen one, or, of several GPUs, the one of its local rank.
        num_processes: Number of processes of the run.
        rank: Rank of this process, from 0.
        processes_here: Number of the run's processes on this machine.
    """

    def __init__(self, chosen: torch.device) -> None:
        """Join the other processes, if there are any.

        Args:
            chosen: The requested device; of several GPUs, each process gets a separate one.

        Raises:
            InputError: If several processes cannot share such a device.
        """
        self.device, self.num_processes, self.rank, self.processes_here = chosen, 1, 0, 1
        # Arrays on the host are sent over gloo, whichever backend the devices use.
        self._host_group: dist.ProcessGroup | None = None
        if not _has_others():
            return
        _require_devices(chosen)
        # One process does not need it, and it takes a tenth of a second to load.
        from accelerate import PartialState

        # Only Accelerate's state of the processes is used: a caller's Accelerator is not changed.
        state = PartialState(cpu=chosen.type == "cpu")
        if state.num_processes == 1 and "LOCAL_RANK" not in os.environ:
            return  # started together, by MPI for example, but independent of each other
        if state.num_processes == 1:
            raise InputError(
                f"several processes cannot share work on {chosen.type}; use CUDA GPUs, or --device cpu",
                code="device-not-shareable",
            )
        self.num_processes, self.rank = int(state.num_processes), int(state.process_index)
        self.processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", self.num_processes))
        self.device = state.device
        self._host_group = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)  # type: ignore[assignment]

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def part(self, count: int, rank: int | None = None) -> range:
        """Give a process's part of ``count`` rows (None: this process): consecutive, nearly equal parts."""
        own = self.rank if rank is None else rank
        return range(count * own // self.num_processes, count * (own + 1) // self.num_processes)

    def gather_parts(self, own: Tensor, count: int) -> Tensor:
        """Gather all ``count`` rows from the ``part`` of each process, on every process, in order.

        Args:
            own: ``[len(part(count)), ...]`` rows of this process, on the host or on the device.
            count: Number of rows.
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

    def gather_to_main(self, own: Tensor, count: int) -> Tensor | None:
        """Gather as ``gather_parts`` does, on the host of the main process only; None in the others.

        Args:
            own: ``[len(part(count)), ...]`` rows of this process, on the host or on the device.
            count: Number of rows.
        """
        own = own.detach().cpu().contiguous()
        if self.num_processes == 1:
            return own
        if not self.is_main:
            if len(own):
                dist.send(own, dst=0, group=self._host_group)
            return None
        whole = torch.empty((count, *own.shape[1:]), dtype=own.dtype)
        for rank in range(self.num_processes):
            theirs = self.part(count, rank)
            if rank == self.rank:
                whole[theirs.start : theirs.stop] = own
            elif len(theirs):
                dist.recv(whole[theirs.start : theirs.stop], src=rank, group=self._host_group)
        return whole

    def gather_equal(self, own: Tensor) -> Tensor:
        """Stack the tensors of all processes, of equal shape, to ``[processes, ...]``, in order, without gradients."""
        own = own.detach().contiguous()
        if self.num_processes == 1:
            return own.unsqueeze(0)
        whole = [torch.empty_like(own) for _ in range(self.num_processes)]
        dist.all_gather(whole, own, group=self._group(own))
        return torch.stack(whole)

    def sum(self, own: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.num_processes > 1:
            dist.all_reduce(own, group=self._group(own))
        return own

    def largest(self, own: Tensor) -> Tensor:
        """Take the element-wise maximum over all processes, in place."""
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
        """Call in the main process only; its result, or its ``InputError``, is sent to every process."""
        if self.num_processes == 1:
            return call()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = call()
            except InputError as error:
                outcome[1] = (str(error), error.code)
        dist.broadcast_object_list(outcome, src=0, group=self._host_group)
        if outcome[1] is not None:
            raise _shared(*outcome[1])
        return outcome[0]  # type: ignore[no-any-return]

    def together(self, call: Callable[[], T]) -> T:
        """Call in every process, without collectives inside; an ``InputError`` of any process is raised in all.

        Raises:
            InputError: In every process, so that one of them can print it; it names the processes in which it arose, if
                these were not all.
        """
        if self.num_processes == 1:
            return call()
        outcome: list[T] = []
        failure: tuple[str, str] | None = None
        try:
            outcome.append(call())
        except InputError as error:
            failure = (str(error), error.code)
        failures = self.gather_objects((failure, platform.node()))
        found = [failure for failure, _ in failures if failure is not None]
        if not found:
            return outcome[0]
        if len(found) == self.num_processes and len(set(found)) == 1:
            raise _shared(*found[0])
        raise _shared(
            "; ".join(
                f"process {rank} of {self.num_processes}, on {machine}: {failure[0]}"
                for rank, (failure, machine) in enumerate(failures)
                if failure is not None
            ),
            found[0][1],
        )

    def gather_objects(self, own: T) -> list[T]:
        """Gather the object of every process, in order."""
        if self.num_processes == 1:
            return [own]
        objects: list[Any] = [None] * self.num_processes
        dist.all_gather_object(objects, own, group=self._host_group)
        return objects

    def _group(self, tensor: Tensor) -> dist.ProcessGroup | None:
        return self._host_group if tensor.device.type == "cpu" else None


def are_joined() -> bool:
    """Whether a group of processes has been set up."""
    return dist.is_available() and dist.is_initialized()


def lost_another_process(error: BaseException) -> bool:
    """Whether an error means that another process of the run has ended."""
    # Recognised by the text: NCCL and gloo raise the same types when they cannot be set up.
    return are_joined() and isinstance(error, RuntimeError) and _GONE.search(str(error)) is not None


def end_processes() -> None:
    """Leave the group of processes, if there is one, at the end of a program."""
    if are_joined():
        dist.destroy_process_group()


def _require_devices(chosen: torch.device) -> None:
    """Check that each process of a machine has a separate GPU: NCCL reports this late, and less clearly.

    Raises:
        InputError: If there are fewer GPUs than processes.
    """
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE") or 1), torch.cuda.device_count()
    # If a launcher assigns a GPU to each process, the process sees only that one.
    sees_its_own = gpus == 1 and os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen.type == "cuda" and here > gpus and not sees_its_own:
        raise InputError(
            f"{here} processes on this machine are to share {gpus} GPU(s), and each needs a separate one; start at "
            f"most {gpus} here (--nproc-per-node {gpus}), or use --device cpu",
            code="too-few-devices",
        )


def _shared(message: str, code: str) -> InputError:
    error = InputError(message, code=code)
    error.is_shared = True
    return error


def _has_others() -> bool:
    """Whether other processes belong to this run: it was launched so, or a group has been set up."""
    return dist.get_world_size() > 1 if are_joined() else launched().size > 1
