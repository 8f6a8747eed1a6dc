"""Time, peak memory and the machine's own speed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

T = TypeVar("T")


def shortest(call: Callable[[], T], repeat: int) -> tuple[float, T]:
    """The shortest of several times, seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(max(1, repeat)):
        result = None  # the result of an earlier turn must not count as memory of this one
        started = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - started)
    return best, result  # type: ignore[return-value]


@contextmanager
def tiny_numbers_as_zero() -> Iterator[None]:
    """Random images and a random memory give gradients below the smallest normal number, which a CPU is slow on.

    In a training there are none. The threads that start meanwhile take it over.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class PeakMemory:
    """Give the peak resident memory of this process in bytes; None if the system does not report it."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")
        try:
            # 5: forget the peak so far.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._is_known = self._status.exists()
        except OSError:
            self._is_known = False

    def read(self) -> int | None:
        """The peak so far."""
        if not self._is_known:
            return None
        line = next(line for line in self._status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
