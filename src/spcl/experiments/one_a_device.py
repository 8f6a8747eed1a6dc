"""Runs of a sweep on several devices: one at a time on each, every run in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from spcl.errors import InputError
from spcl.experiments.plan import PlannedRun
from spcl.experiments.sweep import Outcome, SweepOptions, accepted, make_run, on_device
from spcl.reporting.console import Advance, Note, Reporter
from spcl.threads import num_threads, use_threads

MakeRun = Callable[[PlannedRun, Sequence[str], Reporter], "Outcome | None"]


def run_on_devices(
    waiting: Sequence[PlannedRun], options: SweepOptions, report: Reporter, *, make: MakeRun = make_run
) -> dict[Path, str]:
    """Train runs, one at a time on each device; a device that is free takes the next run.

    A program that calls this must be importable (``if __name__ == "__main__":``), as ``multiprocessing`` requires.

    Args:
        waiting: The runs.
        options: At least one device, and the trackers; a device that is given twice has two runs at a time.
        report: Receives messages, each after the name of the run's folder.
        make: Function that trains a run in its process.

    Returns:
        The error of each run that failed, by its folder.

    Raises:
        InputError: If a run cannot begin; raised when the started runs have ended.
    """
    queue, failed, ended = deque(waiting), dict[Path, str](), list[InputError]()
    stop, lock = Event(), Lock()

    def work(device: str) -> None:
        while not stop.is_set():
            with lock:
                if not queue:
                    return
                run = queue.popleft()
            outcome = _in_process(on_device(run, device), options, _Prefixed(report, run.folder.name, lock), make)
            with lock:
                if outcome is None:
                    continue
                try:
                    failed[run.folder] = accepted(run, outcome)
                    report.warn(f"{run.folder} failed: {outcome.error}")
                except InputError as error:
                    report.warn(f"{error}; no other run is begun")
                    ended.append(error)
                    stop.set()

    threads = [Thread(target=work, args=(device,)) for device in options.devices]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        # Ctrl-C reaches the processes as well: each finishes and saves its step, then ends.
        stop.set()
        for thread in threads:
            thread.join()
        raise
    if ended:
        raise ended[0]
    return failed


def _in_process(run: PlannedRun, options: SweepOptions, report: _Prefixed, make: MakeRun) -> Outcome | None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    threads = max(1, num_threads() // len(options.devices))
    process = context.Process(target=_child, args=(run, options.log, threads, theirs, make), daemon=True)
    process.start()
    theirs.close()
    report.say(run.words)
    outcome: Outcome | None = Outcome("", began=True)
    while True:
        try:
            kind, what = ours.recv()
        except EOFError:
            break
        if kind == "outcome":
            outcome = what
        else:
            getattr(report, kind)(what)
    process.join()
    if outcome is not None and not outcome.error:
        return Outcome(f"its process ended with exit code {process.exitcode}", began=True)
    return outcome


def _child(run: PlannedRun, log: Sequence[str], threads: int, connection: Connection, make: MakeRun) -> None:
    use_threads(threads)
    report = _Sends(connection)
    try:
        connection.send(("outcome", make(run, log, report)))
    except KeyboardInterrupt:
        connection.send(("outcome", Outcome("stopped", began=True)))


class _Sends:
    """A reporter that sends messages to the process that started the sweep; progress is not sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def say(self, text: str) -> None:
        """Send a message."""
        self._connection.send(("say", text))

    def warn(self, text: str) -> None:
        """Send a warning."""
        self._connection.send(("warn", text))

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Send nothing."""
        yield lambda done, total: None


class _Prefixed:
    """A reporter that writes the name of the run before each message; threads write one at a time."""

    def __init__(self, report: Reporter, name: str, lock: Any) -> None:
        self._report, self._name, self._lock = report, name, lock

    def say(self, text: str) -> None:
        """Report a message."""
        with self._lock:
            self._report.say(f"[{self._name}] {text}")

    def warn(self, text: str) -> None:
        """Report a warning."""
        with self._lock:
            self._report.warn(f"[{self._name}] {text}")
