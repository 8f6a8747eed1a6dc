"""What happens in a run, as typed events, and who hears of it.

The loop and everything it calls emit events; the console, ``metrics.jsonl`` and a user's own listeners hear them. Only
the main process of a run has listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spcl.training.epoch_report import EpochReport

Advance = Callable[[int, int], None]
Note = Callable[[], str]
"""What else there is to say of a stage; asked for only when it is shown, for the answer may be on a device."""


@dataclass(frozen=True)
class RunStarted:
    """The first step is about to be made.

    Attributes:
        folder: Of the run.
        settings: All settings of the recipe, by section, plain values.
        epochs: Epochs in all.
        history: Reports of the epochs that are done, where the run is continued.
    """

    folder: Path
    settings: Mapping[str, Any]
    epochs: int
    history: tuple[EpochReport, ...]


@dataclass(frozen=True)
class StageStarted:
    """A stage that may take long begins."""

    stage: str
    note: Note | None = None


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class StageEnded:
    """A stage is over, or was broken off."""

    stage: str


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is over; it is saved next.

    Attributes:
        report: Its own.
        history: Reports of all epochs so far, this one last.
    """

    report: EpochReport
    history: tuple[EpochReport, ...]


@dataclass(frozen=True)
class Saved:
    """The run has been saved.

    Attributes:
        files: What was written.
        is_best: Whether this is the best epoch so far.
    """

    files: tuple[Path, ...]
    is_best: bool


@dataclass(frozen=True)
class Noted:
    """A line of information."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something the user should look at."""

    text: str


Event = RunStarted | StageStarted | Progress | StageEnded | EpochEnded | Saved | Noted | Warned


class Listener(Protocol):
    """Hears the events of a run, in their order."""

    def on(self, event: Event) -> None:
        """Called with each event, in the main process."""


class Reporter(Protocol):
    """What a program reports to while it works."""

    def say(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """Something the user should look at."""

    def progress(self, name: str, note: Note | None = None) -> Any:
        """A context manager that gives ``advance(done, total)``."""


class Emitter:
    """A reporter that turns what it is given into events for listeners."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self.listeners = tuple(listeners)

    def emit(self, event: Event) -> None:
        """Pass an event on to each listener."""
        for listener in self.listeners:
            listener.on(event)

    def say(self, text: str) -> None:
        """Emit ``Noted``."""
        self.emit(Noted(text))

    def warn(self, text: str) -> None:
        """Emit ``Warned``."""
        self.emit(Warned(text))

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Emit ``StageStarted``, ``Progress`` for each advance, and ``StageEnded`` whatever happens."""
        self.emit(StageStarted(name, note))
        try:
            yield lambda done, total: self.emit(Progress(name, done, total))
        finally:
            self.emit(StageEnded(name))
