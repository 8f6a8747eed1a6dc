"""Reporters that print nothing: to Python's logging, to nowhere, and one that keeps the warnings."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spcl.reporting.events import Advance, Note, Reporter

logger = logging.getLogger("spcl")


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


class LoggingReporter(SilentReporter):
    """Reports to the logger ``spcl`` of Python's logging: what a program reports that is given no reporter.

    Information has the level INFO, warnings have WARNING, the end of a stage has DEBUG. Without a configuration of
    logging, Python prints the warnings alone, to the stream of errors.
    """

    def say(self, text: str) -> None:
        """Log a line of information."""
        logger.info(text)

    def warn(self, text: str) -> None:
        """Log and keep the warning."""
        super().warn(text)
        logger.warning(text)

    @contextmanager
    def progress(self, name: str, note: Note | None = None) -> Iterator[Advance]:
        """Log the end of the stage, with its steps and seconds."""
        started, steps = time.monotonic(), 0

        def advance(done: int, total: int) -> None:
            nonlocal steps
            steps = done

        yield advance
        logger.debug("%s: %d in %s", name, steps, duration(time.monotonic() - started))


class WarningsKept:
    """Passes everything on to another reporter and keeps the warnings, for the result of a program."""

    def __init__(self, report: Reporter | None = None) -> None:
        """Pass on to ``report``; None: to Python's logging."""
        self._report: Reporter = report or LoggingReporter()
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        """Print a line of information."""
        self._report.say(text)

    def warn(self, text: str) -> None:
        """Pass the warning on, and keep it."""
        self.warnings.append(text)
        self._report.warn(text)

    def progress(self, name: str, note: Note | None = None) -> Any:
        """Show the progress as the other reporter does."""
        return self._report.progress(name, note)


def duration(seconds: float) -> str:
    """Format seconds for people: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
