"""Number of threads that compute and decode in this process: one number for torch, numba and image decoding.

It is the value of ``--threads``, otherwise ``OMP_NUM_THREADS``, otherwise the number of cores that this process may
use, and at most these. Waiting threads sleep: while other programs run, threads that spin cost more than the work that
they wait for.

Compiled libraries read their settings from the environment when they are loaded; this module loads none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Literal

from spcl.errors import InputError

NumThreads = int | Literal["auto"]

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Waiting threads of GNU's and of LLVM's OpenMP sleep at once."""

_OPENBLAS_WAITING = ("OPENBLAS_THREAD_TIMEOUT", "4")
"""The same for NumPy's threads: the smallest number that OpenBLAS takes, the power of two of the cycles to spin."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")

_chosen: int | None = None


def usable_cores() -> int:
    """The number of cores that this process may use, limited by its affinity and by the CPU quota of a container."""
    return max(1, min([_cores_to_run_on(), *(ceil(share) for share in _time_shares())]))


def num_threads() -> int:
    """The number of threads that compute in this process."""
    return _default() if _chosen is None else _chosen


def decoding_threads(workers: NumThreads) -> int:
    """The number of threads that decode images; 0: the calling thread decodes.

    Args:
        workers: Requested number of threads; ``auto``: as many as compute.

    Raises:
        InputError: If the number is below 0.
    """
    if workers == "auto":
        return num_threads()
    if workers < 0:
        raise InputError(
            f"workers is {workers}; expected auto, 0 (no separate threads) or a number of threads",
            code="setting-out-of-range",
        )
    return workers


def use_threads(number: NumThreads = "auto") -> int:
    """Set the number of threads of torch, numba and image decoding.

    It is set in the libraries that are loaded, and in the environment for those that will be.

    Args:
        number: Number of threads, limited to ``usable_cores()``; ``auto``: from the environment.

    Returns:
        The number of threads that are used.

    Raises:
        InputError: If the number is below 1.
    """
    global _chosen
    if number != "auto":
        if number < 1:
            raise InputError(f"--threads is {number}; expected auto, or at least 1", code="setting-out-of-range")
        _chosen = min(number, usable_cores())
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(_chosen)
        os.environ["NUMBA_NUM_THREADS"] = str(_chosen)
    used = num_threads()
    prepare_libraries()
    if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(used)
    if (numba := sys.modules.get("numba")) is not None and hasattr(numba, "set_num_threads"):
        numba.set_num_threads(min(used, numba.config.NUMBA_NUM_THREADS))
    return used


def prepare_libraries() -> None:
    """Set the environment variables that libraries read when they are loaded, where their defaults differ.

    Values of the user are kept, except more threads than cores, and what is no number of threads.
    """
    used = num_threads()
    if "numpy" not in sys.modules:
        os.environ.setdefault(*_OPENBLAS_WAITING)
    if "torch" not in sys.modules:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)
        if (_threads_in_environment() or _cores_to_run_on()) != used:
            os.environ["OMP_NUM_THREADS"] = str(used)
    if "numba" not in sys.modules:
        given, cores = os.environ.get("NUMBA_NUM_THREADS", "").strip(), _cores_to_run_on()
        # numba stops with an error of its own on 0 and on words, and starts a thousand threads where asked for.
        is_usable = given.isdecimal() and 1 <= int(given) <= cores
        if not is_usable and (given or used != cores):
            os.environ["NUMBA_NUM_THREADS"] = str(used)


def _default() -> int:
    cores = usable_cores()
    if (wanted := _threads_in_environment()) is not None:
        return min(wanted, cores)
    # Processes of one machine share its cores.
    beside = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, cores // int(beside)) if beside.isdecimal() and int(beside) > 0 else cores


def _threads_in_environment() -> int | None:
    # "4,2" is 4 for the outer level of nested regions.
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _cores_to_run_on() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _time_shares() -> Iterator[float]:
    """The CPU quota, in cores, of each control group of this process that has one."""
    for folder in _own_groups():
        try:
            limit, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            try:
                limit = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            except OSError:
                continue
        if limit.isdecimal() and period.isdecimal() and int(limit) > 0 and int(period) > 0:
            yield int(limit) / int(period)


def _own_groups() -> Iterator[Path]:
    """The folders of the control groups of this process, with the roots, for both versions."""
    yield from (_CGROUPS, _CGROUPS / "cpu")
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / "cpu" if controllers else _CGROUPS
        place = root / path.lstrip("/")
        yield from (folder for folder in (place, *place.parents) if folder.is_relative_to(root) and folder != root)
