"""What happens in a run, as typed events, and the listeners that receive them.

The loop and everything it calls emit events; the console, ``metrics.jsonl`` and a user's own listeners receive them.
Only the main process of a run has listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spcl.errors import first_line
from spcl.records import ReIDDataset
from spcl.reporting.epoch_report import EpochReport

if TYPE_CHECKING:
    from spcl.retrieval.ranking import RankingResult
    from spcl.retrieval.top_gallery import TopGallery

Advance = Callable[[int, int], None]
Note = Callable[[], str]
"""Gives a note about a stage. It is called only when the note is shown, because the value may be on a device."""


@dataclass(frozen=True)
class RunStarted:
    """The first step is about to be made.

    Attributes:
        folder: Folder of the run.
        settings: All settings of the recipe, by section, plain values.
        epochs: Number of epochs.
        history: Reports of the epochs that are done, where the run is continued.
        target: The unlabelled data set; its training images in the order of ``Labelled.labels``.
    """

    folder: Path
    settings: Mapping[str, Any]
    epochs: int
    history: tuple[EpochReport, ...]
    target: ReIDDataset


@dataclass(frozen=True)
class Labelled:
    """The target's training images have the pseudo labels of an epoch.

    Attributes:
        labels: ``[N]`` int64; an un-clustered image is the only one with its label. Not to be written to.
    """

    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluated:
    """The encoder has been rated on the queries and the gallery of the target, or of one of several targets.

    Attributes:
        ranking: The figures, with those of each query.
        hits: The gallery images most similar to each query; None where no listener asks for them (``Listener``), or
            where the protocol draws several galleries.
        dataset: The data set with these queries and this gallery; None: the target of ``RunStarted``.
    """

    ranking: RankingResult
    hits: TopGallery | None
    dataset: ReIDDataset | None = None


@dataclass(frozen=True)
class StageStarted:
    """A stage that may take long begins."""

    stage: str
    note: Note | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of a stage: steps done, of all steps."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class StageEnded:
    """A stage has ended, or was interrupted."""

    stage: str


@dataclass(frozen=True)
class EpochEnded:
    """An epoch has ended; it is saved next.

    Attributes:
        report: Report of this epoch.
        history: Reports of all epochs so far, this one last.
    """

    report: EpochReport
    history: tuple[EpochReport, ...]


@dataclass(frozen=True)
class Saved:
    """The run has been saved.

    Attributes:
        files: Paths of the written files.
        is_best: Whether this is the best epoch so far.
    """

    files: tuple[Path, ...]
    is_best: bool


@dataclass(frozen=True)
class RunEnded:
    """The last event of a run.

    Attributes:
        finished: Whether all epochs are done; False: it was stopped, or an error ended it.
    """

    finished: bool


@dataclass(frozen=True)
class Noted:
    """A line of information."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A warning for the user."""

    text: str


Event = (
    RunStarted
    | StageStarted
    | Progress
    | StageEnded
    | Labelled
    | Evaluated
    | EpochEnded
    | Saved
    | RunEnded
    | Noted
    | Warned
)


class Listener(Protocol):
    """Receives the events of a run, in their order.

    A listener with an attribute ``num_hits`` requests this number of gallery images of each query in ``Evaluated``.
    """

    def on(self, event: Event) -> None:
        """Called with each event, in the main process."""


class Reporter(Protocol):
    """Receives the messages and the progress of a program while it works."""

    def say(self, text: str) -> None:
        """A line of information."""

    def warn(self, text: str) -> None:
        """A warning for the user."""

    def progress(self, name: str, note: Note | None = None) -> Any:
        """A context manager that gives ``advance(done, total)``."""


class Guarded:
    """A listener whose errors never end a run: the first error gives a warning, and the run continues."""

    def __init__(self, listener: Listener, warn: Callable[[str], None]) -> None:
        """Guard a listener.

        Args:
            listener: Receives every event, also those after an error, because a connection may work again.
            warn: Called once, with a sentence.
        """
        self._listener, self._warn, self._failed = listener, warn, False
        self.num_hits: int = getattr(listener, "num_hits", 0)

    def on(self, event: Event) -> None:
        """Pass an event on."""
        try:
            self._listener.on(event)
        except Exception as error:
            if not self._failed:
                self._failed = True
                name = getattr(self._listener, "name", type(self._listener).__name__)
                self._warn(f"{name} failed ({first_line(error)}); the run continues, and its records may have gaps")


class Emitter:
    """A reporter that converts messages and progress to events for listeners."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self.listeners = tuple(listeners)

    @property
    def num_hits(self) -> int:
        """Number of gallery images of each query that the listeners request in ``Evaluated``."""
        return max((getattr(listener, "num_hits", 0) for listener in self.listeners), default=0)

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
