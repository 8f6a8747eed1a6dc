"""Output of a run: progress with an estimate, one row for each epoch, a metrics file, warnings.

On a terminal, progress is a bar that disappears at the end; elsewhere (a log file, a job's output) it is a line every
quarter of a minute. Stages of less than two seconds are not shown.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from spcl.atomic_files import written_aside
from spcl.printable import printable, printable_name
from spcl.reporting.events import (
    Advance,
    EpochEnded,
    Event,
    Note,
    Noted,
    Progress,
    Reporter,
    RunStarted,
    StageEnded,
    StageStarted,
    Warned,
)
from spcl.reporting.quiet_reporters import SilentReporter, WarningsKept, duration

__all__ = [
    "Advance",
    "ConsoleReporter",
    "MetricsFile",
    "Note",
    "Reporter",
    "ReporterListener",
    "SilentReporter",
    "WarningsKept",
    "duration",
    "epoch_header",
    "epoch_line",
    "say_notes",
    "say_pairs",
    "shown_progress",
    "write_metrics",
]

_QUIET_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_NOTES = 5.0


def say_notes(report: Reporter, notes: Sequence[str]) -> None:
    """Report remarks about a source: what was found, and what is not used."""
    for note in notes:
        report.say(f"note: {note}")


_SHOWN_CONTRADICTIONS = 10


def say_pairs(report: Reporter, notes: Sequence[str], contradictions: Sequence[str]) -> None:
    """Report how much of each source of known pairs is used, and warn of the first contradictions among them."""
    say_notes(report, notes)
    for text in contradictions[:_SHOWN_CONTRADICTIONS]:
        report.warn(f"known pairs contradict each other: {text}")
    if len(contradictions) > _SHOWN_CONTRADICTIONS:
        more = len(contradictions) - _SHOWN_CONTRADICTIONS
        report.warn(f"{more} more contradiction(s) of known pairs were decided in the same way")


class _Console(Console):
    """A console that lets the program handle a closed pipe; rich would end the program with an error."""

    def on_broken_pipe(self) -> None:
        """Called while the error is handled."""
        raise BrokenPipeError


class ConsoleReporter:
    """Reports to the terminal, or to a file as readable lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or _Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line of information."""
        self.console.print(printable(text), markup=False)

    def warn(self, text: str) -> None:
        """Print a highlighted line."""
        self.console.print(f"warning: {printable(text)}".replace("\n", "\n  "), style="yellow", markup=False)

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Show the progress of a stage: a bar on a terminal, a line every quarter of a minute elsewhere."""
        shown = _bar if self.console.is_terminal else _lines
        with shown(self.console, printable_name(name), note) as advance:
            yield advance


def shown_progress(wanted: bool | Advance, name: str) -> AbstractContextManager[Advance]:
    """Give ``advance(done, total)`` for a caller's choice of progress.

    Args:
        wanted: True: shown on the console; False: not shown; a function: called itself.
        name: Name of the stage on the console.
    """
    if not isinstance(wanted, bool):
        return nullcontext(wanted)
    return (ConsoleReporter() if wanted else SilentReporter()).progress(name)


@contextmanager
def _bar(console: Console, name: str, note: Note | None) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    bars = Bars(*columns, console=console, transient=True)
    started, task, noted, words = time.monotonic(), None, 0.0, ""

    def advance(done: int, total: int) -> None:
        nonlocal task, noted, words
        if task is None:
            if done >= total or time.monotonic() - started < _QUIET_SECONDS:
                return
            bars.start()
            task = bars.add_task(name, total=total, note="")
        if note is not None and time.monotonic() - noted > _SECONDS_BETWEEN_NOTES:
            noted, words = time.monotonic(), note()
        bars.update(TaskID(task), completed=done, total=total, note=words)

    try:
        yield advance
    finally:
        # Ctrl-C may come while the bar starts: the cursor and the stream of errors are restored in any case.
        if bars.live.is_started:
            bars.stop()


@contextmanager
def _lines(console: Console, name: str, note: Note | None) -> Iterator[Advance]:
    started = time.monotonic()
    last = started

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_LINES or not 0 < done < total:
            return
        last = now
        left = (now - started) * (total - done) / done
        more = f", {note()}" if note is not None else ""
        console.print(f"  {name}: {done} of {total}, {duration(left)} left{more}", markup=False)

    yield advance


_STAGES = ("label", "train", "evaluate")
_COLUMNS: tuple[tuple[str, int, Callable[[Mapping[str, Any]], str]], ...] = (
    ("epoch", 5, lambda row: str(row["epoch"])),
    ("clusters", 8, lambda row: str(row["num_clusters"])),
    ("un-clustered", 12, lambda row: str(row["num_unclustered"])),
    (
        "size quartiles",
        14,
        lambda row: "/".join(f"{size:.0f}" for size in row["cluster_size_quartiles"]) or "-",
    ),
    ("loss", 7, lambda row: _number(row.get("loss"))),
    ("source", 7, lambda row: _number(row["losses"].get("source"))),
    ("target", 7, lambda row: _number(row["losses"].get("target"))),
    ("mAP", 6, lambda row: _percent(row.get("mAP"))),
    ("top-1", 6, lambda row: _percent(row.get("top1"))),
    (
        "seconds label/train/eval",
        24,
        lambda row: "/".join(f"{row['seconds'].get(s, 0):.1f}" for s in _STAGES),
    ),
)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def epoch_header() -> str:
    """Give the names of an epoch row's columns."""
    return "  ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS)


def epoch_line(row: Mapping[str, Any]) -> str:
    """Format one epoch on one line."""
    return "  ".join(f"{cell(row):>{width}}" for _, width, cell in _COLUMNS)


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of all epochs as JSON lines to a temporary file that is renamed: no file is left incomplete.

    The whole history is written each time, so that a resumed run has each epoch once.

    Raises:
        InputError: If the file cannot be written.
    """
    with written_aside(path, next_step="free some space, then use --resume") as aside:
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class ReporterListener:
    """Shows the events of a run through a reporter, for example the console: notes, progress, a line for each epoch."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._stages: dict[str, tuple[Any, Advance]] = {}

    def on(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Noted(text):
                self._reporter.say(text)
            case Warned(text):
                self._reporter.warn(text)
            case StageStarted(stage, note):
                context = self._reporter.progress(stage, note)
                self._stages[stage] = context, context.__enter__()
            case Progress(stage, done, total):
                self._stages[stage][1](done, total)
            case StageEnded(stage):
                self._stages.pop(stage)[0].__exit__(None, None, None)
            case RunStarted(history=history):
                self._reporter.say(epoch_header())
                for report in history:
                    self._reporter.say(epoch_line(report.to_row()))
            case EpochEnded(report=report):
                self._reporter.say(epoch_line(report.to_row()))
            case _:
                pass


class MetricsFile:
    """Writes the reports of all epochs as JSON lines whenever one ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on(self, event: Event) -> None:
        """Write the file if the event is the end of an epoch."""
        if isinstance(event, EpochEnded):
            write_metrics(self._path, [report.to_row() for report in event.history])
