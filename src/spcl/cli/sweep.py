"""``spcl sweep``: several training runs, over seeds and settings, and a table of what they reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.cli.train import check_data_tables
from spcl.config import load_recipe, overlay
from spcl.errors import InputError
from spcl.experiments.plan import PlannedRun, parsed_settings, plan
from spcl.experiments.sweep import TABLE_NAMES, SweepOptions, SweepResult, run_sweep
from spcl.printable import printable
from spcl.reporting.console import ConsoleReporter, SilentReporter
from spcl.tracking.trackers import tracker_names


@dataclass(frozen=True)
class Sweep(ComputingOptions):
    """Train one run for each combination of settings and seeds, and compare the runs in a table.

    A sweep that was stopped continues with the same command.
    """

    usage: ClassVar[str] = "RECIPE DATA [--seed N ...] [--set NAME=VALUE,... ...] [options]"
    example: ClassVar[str] = "spcl sweep spcl market1501 --seed 1 2 3 --set labels.eps=0.5,0.6"

    recipe: tyro.conf.Positional[str] = ""
    """The recipe of all runs: spcl, person, vehicle, quick, or a TOML file."""
    data: tyro.conf.Positional[str] = ""
    """The unlabelled images: a registered name or a path; several as a+b."""
    source: str = ""
    """Labelled source domain: a registered name or a path; several as a+b."""
    seed: tuple[int, ...] = ()
    """Seeds, one run for each. Without it: the recipe's seed."""
    settings: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Settings of the recipe, each with one or several values: labels.eps=0.5,0.6 schedule.epochs=20."""
    logs_dir: str = "runs/sweep"
    """Folder of the runs, one folder for each, and of table.csv, table.md and table.tex."""
    devices: tuple[str, ...] = ()
    """Devices for parallel runs, one run on each at a time: cuda:0 cuda:1. Without it: one run after the other."""
    log: Annotated[str, tyro.conf.arg(aliases=["--trackers"])] = ""
    """Send figures and pictures to experiment trackers: tensorboard, mlflow, wandb, trackio; several as a,b."""
    json: bool = False
    """Print the table as JSON, and nothing else."""

    def check(self) -> None:
        """Check the shared options, then that there are a recipe and data, and the trackers."""
        super().check()
        if not self.recipe or not self.data:
            raise InputError(
                "RECIPE or DATA is missing; expected spcl sweep RECIPE DATA --seed 1 2 3 --set labels.eps=0.5,0.6",
                code="missing-argument",
            )
        tracker_names(self.log)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl sweep`` with these words."""
    words = gathered(gathered(arguments, "--set", lambda word: "=" in word), "--seed", str.isdecimal)
    options = parsed(Sweep, words, "spcl sweep")
    common = overlay(
        load_recipe(options.recipe), {"data": {"target": options.data, "source": options.source}}, "command line"
    )
    planned = plan(
        common,
        seeds=options.seed,
        settings=parsed_settings(options.settings),
        logs_dir=Path(options.logs_dir),
    )
    _check_data(planned)
    report = SilentReporter() if options.json else ConsoleReporter()
    how = SweepOptions(devices=options.devices, log=tracker_names(options.log))
    result = run_sweep(planned, Path(options.logs_dir), how, report)
    _print(result, options)
    if result.failed:
        reasons = "; ".join(f"{folder.name}: {reason}" for folder, reason in result.failed.items())
        raise InputError(
            f"{len(result.failed)} of {len(planned)} runs failed, which the table leaves out: {reasons}",
            code="run-failed",
        )


def gathered(arguments: Sequence[str], flag: str, belongs: Callable[[str], bool]) -> list[str]:
    """A command line with all values of a flag, which may be given several times, after one flag at its end.

    Args:
        arguments: The words.
        flag: Its values follow it, or one follows ``=``.
        belongs: Whether a word is a value of the flag; other words after it are words of their own.
    """
    rest: list[str] = []
    values: list[str] = []
    taking = False
    for word in arguments:
        if word == flag:
            taking = True
        elif word.startswith(f"{flag}="):
            values.append(word[len(flag) + 1 :])
            taking = False
        elif taking and belongs(word):
            values.append(word)
        else:
            rest.append(word)
            taking = False
    return [*rest, flag, *values] if values else list(arguments)


def _check_data(planned: Sequence[PlannedRun]) -> None:
    """Read tables before what computes is loaded: of all runs, for data may be swept over, too."""
    for data in {run.recipe.data: None for run in planned}:
        check_data_tables(data)


def _print(result: SweepResult, options: Sweep) -> None:
    if options.json:
        print(json.dumps(result.to_dict()))
        return
    if result.table is None:
        return
    print(printable(f"\n{result.table.to_markdown()}"))
    print(
        f"mean ± standard deviation over runs; tables: {', '.join(str(result.folder / name) for name in TABLE_NAMES)}"
    )
    if result.table.is_rated:
        print("the best epoch was chosen on the test set: report the last")
    elif (best := result.table.best_by_labels) is not None and best.best_by_labels is not None:
        epoch, score = best.best_by_labels["epoch"], best.best_by_labels["label_score"]
        print(f"best run by the label-free score of its pseudo labels: {best.folder} (epoch {epoch}, {score:.3f})")
