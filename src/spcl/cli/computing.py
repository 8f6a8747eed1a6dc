"""What every command that computes takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ComputingOptions:
    """What every command that computes takes."""

    threads: int | Literal["auto"] = "auto"
    """Threads that compute; auto: OMP_NUM_THREADS, else the cores that this process may use; never more than these."""

    def check(self) -> None:
        """Raise an ``InputError`` for a value that no work can be done with; a command adds its own."""
