"""What the benchmarks with settings share: their flags, the check of the values, and how the figures are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeVar

import tyro
from rich.table import Table

from spcl.cli.main import run_guarded
from spcl.errors import InputError
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.threads import use_threads

Settings = TypeVar("Settings", bound="BenchmarkSettings")


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    may_be_zero: ClassVar[tuple[str, ...]] = ("seed",)

    repeat: int = 3
    """Number of repetitions; the fastest is reported."""
    threads: int | Literal["auto"] = "auto"
    """Threads that compute; auto: OMP_NUM_THREADS, else the cores that this process may use; never more than these."""
    json: bool = False
    """Print JSON."""

    def check(self) -> None:
        """Raise an ``InputError`` for a number that is too small."""
        for name, value in asdict(self).items():
            least = 0 if name in self.may_be_zero else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} is {value}; expected at least {least}", code="setting-out-of-range")


def run(
    kind: type[Settings],
    measure: Callable[[Settings, Reporter], dict[str, Any]],
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the settings from the command line, measure, and print the figures as a table or as JSON."""

    def program() -> None:
        settings = tyro.cli(kind, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
        settings.check()
        use_threads(settings.threads)
        figures = measure(settings, SilentReporter() if settings.json else ConsoleReporter())
        print(json.dumps(figures, indent=1)) if settings.json else print_figures(figures)

    run_guarded(program)


def print_figures(figures: dict[str, Any]) -> None:
    table = Table(show_header=False)
    table.add_column("name")
    table.add_column("figure", justify="right")
    for name, value in figures.items():
        entries = {f"{name}: {key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        for title, entry in entries.items():
            table.add_row(title.replace("_", " "), _text(entry))
    ConsoleReporter().console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
