"""What every step of a program on a run needs: where it computes, and who receives its messages."""

from __future__ import annotations

from dataclasses import dataclass

from spcl.config import Recipe
from spcl.reporting.events import Reporter
from spcl.runtime import Runtime


@dataclass(frozen=True)
class Session:
    """The runtime and the reporter of a program.

    Attributes:
        runtime: Device, precision and processes.
        report: Receives progress, warnings and messages; the listeners of an ``Emitter`` receive them as events.
    """

    runtime: Runtime
    report: Reporter

    @classmethod
    def of(cls, recipe: Recipe, report: Reporter) -> Session:
        """Start the runtime that a recipe names.

        Raises:
            InputError: If the device is not there or does not support the precision.
        """
        return cls(Runtime(recipe.run.device, recipe.run.precision), report)
