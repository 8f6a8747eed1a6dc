"""What a run tells: progress with an estimate, one row an epoch, a file of metrics, warnings in plain words.

On a terminal, bars that vanish when they are done; elsewhere (a log file, a job's output) a line now and then. Nothing
is shown for what takes less than two seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from spcl.engine.whole_files import written_aside

Advance = Callable[[int, int], None]
Note = Callable[[], str]
"""What else there is to say of a stage; asked for only when it is shown, for the answer may be on a device."""

_QUIET_SECONDS = 2.0
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_NOTES = 5.0


class Reporter(Protocol):
    """What the programs of ``engine`` report to."""

    def say(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """Something the user should look at."""

    def progress(self, name: str, note: Note | None = None) -> Any:
        """A context manager that gives ``advance(done, total)``."""


class SilentReporter:
    """Reports nothing: for use as a library and in tests. Warnings are kept in ``warnings``."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Keep the warning."""
        self.warnings.append(text)

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Nothing."""
        yield lambda done, total: None


class ConsoleReporter:
    """Reports to the terminal, or to a file as readable lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line of information."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A line that stands out."""
        self.console.print(f"warning: {text}", style="yellow", markup=False)

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Show how far a stage is: a bar on a terminal, a line every quarter of a minute elsewhere."""
        with (_bar if self.console.is_terminal else _lines)(self.console, name, note) as advance:
            yield advance


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
    bars = Progress(*columns, console=console, transient=True)
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
        # Ctrl-C may come while the bar is begun: the cursor and the stream of errors are given back all the same.
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


def duration(seconds: float) -> str:
    """Seconds as people say them: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


_STAGES = ("label", "train", "evaluate")
_COLUMNS: tuple[tuple[str, int, Callable[[Mapping[str, Any]], str]], ...] = (
    ("epoch", 5, lambda row: str(row["epoch"])),
    ("clusters", 8, lambda row: str(row["num_clusters"])),
    ("un-clustered", 12, lambda row: str(row["num_unclustered"])),
    (
        "sizes q1/q2/q3",
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
    """The names of an epoch row's columns."""
    return "  ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS)


def epoch_line(row: Mapping[str, Any]) -> str:
    """One epoch on one line."""
    return "  ".join(f"{cell(row):>{width}}" for _, width, cell in _COLUMNS)


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all the epochs' rows as JSON lines, aside, flushed and renamed: a stop never leaves half a file.

    The whole history is written each time, so that a resumed run has each epoch once.

    Raises:
        InputError: If they cannot be written.
    """
    with written_aside(path, next_step="free some space, then use --resume") as aside:
        aside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def cluster_warning(num_clusters: int, largest: int, num_images: int, eps: float) -> str | None:
    """What is wrong with an epoch's clusters and what to change, in plain words; None when nothing is.

    Args:
        num_clusters: Clusters that were kept.
        largest: Images in the largest.
        num_images: Images in all.
        eps: The clustering's largest distance of two neighbours.
    """
    if num_images == 0:
        return None
    if num_clusters == 0:
        return (
            f"no clusters: each of the {num_images} images is a class of its own. Images of one object are not near "
            f"enough to each other: raise --eps (now {eps:g}), start from better weights, or check the crops"
        )
    if num_clusters == 1 and 2 * largest > num_images:
        # At any size: with one class the loss is 0 whatever the encoder does.
        return (
            f"everything fell into one cluster ({largest} of {num_images} images), which teaches nothing: "
            f"lower --eps (now {eps:g}), or --k1 to about the images of one object; do the images show several objects?"
        )
    if 2 * largest <= max(40, num_images):
        return None
    return (
        f"clusters are merging: the largest holds {largest} of {num_images} images. "
        f"Lower --eps (now {eps:g}) or --k1, or start from better weights"
    )


def run_warning(history: Sequence[Mapping[str, Any]], num_images: int, eps: float) -> str | None:
    """What is wrong with the labels of a finished run, for its end; None when most epochs had something to learn.

    Args:
        history: The rows of the finished epochs.
        num_images: Target images; 0: a run on labels alone.
        eps: The clustering's largest distance of two neighbours, where a row does not hold its own.
    """
    if not history or not num_images:
        return None
    without = sum(row["num_clusters"] == 0 for row in history)
    merged = sum(row["num_clusters"] == 1 and 2 * row["largest_cluster"] > num_images for row in history)
    if 2 * (without + merged) < len(history):
        return None
    kinds = [f"{count} {what}" for count, what in ((without, "without a cluster"), (merged, "of one cluster")) if count]
    worst = history[-1] if history[-1]["num_clusters"] < 2 else next(row for row in history if row["num_clusters"] < 2)
    advice = cluster_warning(worst["num_clusters"], worst["largest_cluster"], num_images, worst.get("eps", eps))
    return f"this run learnt next to nothing: of {len(history)} epochs, {' and '.join(kinds)}. Last: {advice}"
