"""What the options of every command have, and what every command that computes takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options of a command.

    Attributes:
        usage: Arguments after the command's name, for the help text.
        example: A whole command, for the end of the help text.
    """

    usage: ClassVar[str] = "[options]"
    example: ClassVar[str] = ""

    def check(self) -> None:
        """Raise an ``InputError`` for a value that no work can be done with; a command adds its own."""


@dataclass(frozen=True, kw_only=True)
class ComputingOptions(CommandOptions):
    """What every command that computes takes."""

    threads: int | Literal["auto"] = "auto"
    """Number of threads that compute. auto: OMP_NUM_THREADS, or else all cores of this process, which is the
    maximum."""
