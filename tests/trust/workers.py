"""Give many random inputs to an entry point, in a process of their own that may crash, hang or ask for much memory.

Input ``n`` of an entry point is made from the name of the entry point and ``n`` alone, so that one that fails can be
made again: ``python -m tests.trust.random_input NAME N``.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from spcl.errors import InputError

TryInput = Callable[[random.Random], None]
"""Makes one input from random numbers, and gives it to the entry point."""

MOST_SECONDS = 10.0
"""Processor time that one input may take."""

MOST_BYTES = 2 * 2**30
"""Memory that inputs may take, beyond what the process has before the first."""

_MOST_WAITING = 120.0
_MOST_FAULTS = 20
_PLACE = struct.Struct("qd")


@dataclass(frozen=True)
class EntryPoint:
    """A function that takes input of users.

    Attributes:
        name: Name of the kind of input.
        prepare: Called once in a process, with an empty folder; gives the function that tries one input.
        allowed: Exceptions that an input may cause; others are faults.
    """

    name: str
    prepare: Callable[[Path], TryInput]
    allowed: tuple[type[BaseException], ...] = (InputError,)


@dataclass(frozen=True)
class Fault:
    """An input that an entry point did not stand.

    Attributes:
        number: Number of the input.
        kind: Type of the exception, name of the signal that ended the process, ``slow`` or ``memory``.
        text: Traceback, or what was measured.
    """

    number: int
    kind: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of the inputs of an entry point.

    Attributes:
        num_tried: Number of inputs.
        num_accepted: Number of inputs that caused no error.
        faults: Inputs that were not stood; after 20 the rest is not tried.
        slowest: Processor time of the slowest input, in seconds.
        most_bytes: Largest growth of the memory of a process, in bytes.
    """

    num_tried: int
    num_accepted: int
    faults: tuple[Fault, ...]
    slowest: float
    most_bytes: int

    @property
    def note(self) -> str:
        """The figures for the tallies."""
        return f"{self.num_accepted:,} accepted; slowest {self.slowest:.2f} s, at most {self.most_bytes / 2**20:.0f} MB"

    def __str__(self) -> str:
        """The faults, each with its traceback."""
        return "\n\n".join(f"input {fault.number}: {fault.kind}\n{fault.text}" for fault in self.faults)


def tried_inputs(entry: EntryPoint, num: int, first: int = 0) -> Outcome:
    """Give ``num`` inputs to an entry point; a process that ends is replaced by another one."""
    outcomes: list[Outcome] = []
    at, end = first, first + num
    while at < end and sum(len(outcome.faults) for outcome in outcomes) < _MOST_FAULTS:
        outcomes.append(_in_one_process(entry, at, end))
        at += outcomes[-1].num_tried
    return Outcome(
        sum(outcome.num_tried for outcome in outcomes),
        sum(outcome.num_accepted for outcome in outcomes),
        tuple(fault for outcome in outcomes for fault in outcome.faults),
        max(outcome.slowest for outcome in outcomes),
        max(outcome.most_bytes for outcome in outcomes),
    )


def generator_of(entry: EntryPoint, number: int) -> random.Random:
    """The random numbers of an input."""
    return random.Random(f"{entry.name} {number}")


def _in_one_process(entry: EntryPoint, first: int, end: int) -> Outcome:
    place = mmap.mmap(-1, _PLACE.size)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as lines:
        process = os.fork()
        if process == 0:
            code = 1
            try:
                _work(entry, first, end, Path(folder), place, lines)
                code = 0
            except BaseException as error:
                told = {"number": -1, "kind": type(error).__name__, "text": traceback.format_exc()}
                print(json.dumps({"fault": told}), file=lines, flush=True)
            finally:
                os._exit(code)
        ended = _wait(process, place)
        lines.seek(0)
        told = [json.loads(line) for line in lines.read().splitlines() if line.endswith("}")]
    number, _ = _PLACE.unpack(place[: _PLACE.size])
    faults = [Fault(**one["fault"]) for one in told if "fault" in one]
    measured = next((one["done"] for one in told if "done" in one), None)
    if measured is None:
        if number < first:
            raise RuntimeError(f"{entry.name}: the samples cannot be made ({ended})\n{faults[-1:]}")
        faults.append(Fault(number, ended, "the process ended"))
        return Outcome(number + 1 - first, 0, tuple(faults), 0.0, 0)
    return Outcome(measured["tried"], measured["accepted"], tuple(faults), measured["slowest"], measured["bytes"])


def _wait(process: int, place: mmap.mmap) -> str:
    """Wait for a process to end; one that takes too long for an input is ended. Gives the manner of its end."""
    begun, used_before, number_before = time.monotonic(), 0.0, -1
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        number, _ = _PLACE.unpack(place[: _PLACE.size])
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(process).cpu_times()
            used = times.user + times.system
            if number != number_before:
                begun, used_before, number_before = time.monotonic(), used, number
            waited = time.monotonic() - begun
            if number >= 0 and (used - used_before > 1.5 * MOST_SECONDS or waited > _MOST_WAITING):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return "slow"
        time.sleep(0.02)


def _work(entry: EntryPoint, first: int, end: int, folder: Path, place: mmap.mmap, lines: object) -> None:
    """Try inputs in this process, and write what became of them."""
    place[: _PLACE.size] = _PLACE.pack(-1, 0.0)
    _silence()
    os.chdir(folder)
    try_input = entry.prepare(folder)
    gc.collect()
    before = _limit_memory()
    accepted, slowest, number, num_faults = 0, 0.0, first, 0
    for number in range(first, end):
        place[: _PLACE.size] = _PLACE.pack(number, 0.0)
        begun = time.process_time()
        fault: Fault | None = None
        try:
            try_input(generator_of(entry, number))
            accepted += 1
        except entry.allowed:
            pass
        except BaseException as error:
            fault = Fault(number, type(error).__name__, traceback.format_exc(limit=-25))
        took = time.process_time() - begun
        slowest = max(slowest, took)
        if fault is None and took > MOST_SECONDS:
            fault = Fault(number, "slow", f"it took {took:.1f} s")
        if fault is not None:
            num_faults += 1
            print(json.dumps({"fault": vars(fault)}), file=lines, flush=True)
            if num_faults == _MOST_FAULTS:
                break
    grown = max(0, _peak_memory() - before)
    measured = {"tried": number + 1 - first, "accepted": accepted, "slowest": slowest, "bytes": grown}
    print(json.dumps({"done": measured}), file=lines, flush=True)


def _limit_memory() -> int:
    """Let the process take 2 GB more than now; gives the largest memory until now."""
    size = psutil.Process().memory_info().vms
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, hard))
    return _peak_memory()


def _peak_memory() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else 1024 * used


def _silence() -> None:
    """Libraries in C write warnings of damaged files to the standard error, and Python the stacks of a crash."""
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block in which nothing is printed."""
    with (
        open(os.devnull, "w") as nowhere,  # noqa: PTH123
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
