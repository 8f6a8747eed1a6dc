"""The times of a video's frames: whether they are evenly spaced, and whether all are known."""

from __future__ import annotations

from pathlib import Path

_EVEN = 1.5
"""Largest ratio of two intervals of an even frame rate; times in whole milliseconds vary a little."""


class FrameTimes:
    """Collects the times of frames, one after the other."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._shortest, self._longest = float("inf"), 0.0
        self._num, self._num_unknown, self._num_backwards = 0, 0, 0

    def add(self, seconds: float | None) -> None:
        """Add the time of the next frame; None: unknown."""
        self._num += 1
        if seconds is None:
            self._num_unknown += 1
            return
        if self._last is not None:
            interval = seconds - self._last
            if interval <= 0:
                self._num_backwards += 1
            else:
                self._shortest, self._longest = min(self._shortest, interval), max(self._longest, interval)
        self._last = seconds

    @property
    def is_variable(self) -> bool:
        """Whether the intervals between frames differ."""
        return self._longest > _EVEN * self._shortest

    def notes(self, video: Path) -> tuple[str, ...]:
        """Remarks on the times, in sentences; empty if all are known and evenly spaced."""
        notes = []
        if self._num_unknown:
            notes.append(
                f"{video}: {self._num_unknown} of {self._num} frames have no time"
                + ("; --fps gives a folder of frames times" if video.is_dir() else "")
            )
        if self.is_variable:
            notes.append(
                f"{video} has a variable frame rate: frames are {1000 * self._shortest:.0f} to "
                f"{1000 * self._longest:.0f} ms apart; the times of crops are those of their frames"
            )
        if self._num_backwards:
            notes.append(f"{video}: {self._num_backwards} frame(s) are not later than the frame before them")
        return tuple(notes)
