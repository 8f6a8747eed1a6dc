"""A sweep: several runs of training, one after the other or one a device, and the table of their results.

A sweep that is started again continues: finished runs are skipped, a stopped one is continued.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spcl.config import DEFAULT_RECIPE, Recipe, in_new_places, load_recipe, overlay, to_values
from spcl.errors import InputError
from spcl.experiments.finished_runs import read_run, stopped_early
from spcl.experiments.plan import PlannedRun, plan
from spcl.experiments.table import RunsTable, table_of
from spcl.launched import launched
from spcl.nested_text import toml_of
from spcl.reporting.console import Reporter, ReporterListener
from spcl.reporting.events import Emitter, Event, Guarded, Listener, RunStarted
from spcl.reporting.metrics_file import read_metrics
from spcl.tracking.trackers import check_trackers, with_trackers
from spcl.training_run.run_file_names import CONFIG_FILE, METRICS_FILE

TABLE_NAMES = ("table.csv", "table.md", "table.tex")


@dataclass(frozen=True)
class SweepOptions:
    """Devices, trackers and listeners of a sweep.

    Attributes:
        devices: Devices, such as ``("cuda:0", "cuda:1")``: one run at a time on each, in a separate process. None or
            one: one run after the other in this process.
        log: Names of experiment trackers.
        listeners: Objects that receive the events of the runs. With several devices they receive messages only
            (``Noted``, ``Warned``), because the runs are in other processes.
    """

    devices: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        table: Mean and standard deviation over seeds, a row for each combination of settings; None: no run finished.
        folder: Folder of ``table.csv``, ``table.md``, ``table.tex`` and of the runs.
        failed: Error of each run that failed after its first step, by its folder.
    """

    table: RunsTable | None
    folder: Path
    failed: Mapping[Path, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: ``rows`` and ``notes`` of the table, the folder, what ended each run that failed.

        Without queries also ``best_by_labels``: the folder of the run with the best label-free score.
        """
        table = {"rows": [], "notes": []} if self.table is None else self.table.to_dict()
        failed = {str(folder): reason for folder, reason in self.failed.items()}
        best = None if self.table is None or self.table.is_rated else self.table.best_by_labels
        chosen = {} if best is None else {"best_by_labels": str(best.folder)}
        return {**table, **chosen, "folder": str(self.folder), "failed": failed}


@dataclass(frozen=True)
class Outcome:
    """The end of a run that did not finish.

    Attributes:
        error: Error that ended the run.
        began: Whether the run made a step; otherwise the error may concern all runs.
    """

    error: str
    began: bool


def sweep(
    target: str | Path,
    *,
    source: str | Path | None = None,
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    seeds: Sequence[int] = (),
    settings: Mapping[str, Any] | None = None,
    logs_dir: str | Path = "runs/sweep",
    options: SweepOptions | None = None,
) -> SweepResult:
    """Train once for every combination of settings and seeds. Prints nothing.

    Args:
        target: The unlabelled images: a registered name or a path, several as ``a+b``.
        source: A labelled data set to train on as well: a registered name or a path, several as ``a+b``; None: the
            target alone.
        recipe: The settings that all runs have in common: a name, the path of a TOML file, or a ``Recipe``.
        seeds: Seeds, one run for each; empty: the seed of the recipe.
        settings: Values by dotted name: ``{"labels.eps": [0.5, 0.6], "schedule.epochs": 20}``.
        logs_dir: Folder in which each run has a folder. Finished runs are not repeated, a stopped run is continued.
        options: Devices, trackers, listeners.

    Returns:
        SweepResult: ``print(result.table.to_markdown())``.

    Raises:
        InputError: Before the first run: if a setting is unknown, a value is out of range, or a run's folder holds a
            run with other settings. From a run: if it cannot begin. A run that fails later does not end the sweep.
    """
    options = options or SweepOptions()
    given = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    common = overlay(given, {"data": {"target": str(target), "source": str(source or "")}}, "sweep")
    planned = plan(common, seeds=seeds, settings=settings, logs_dir=Path(logs_dir))
    heard = Emitter([Guarded(listener, _warn) for listener in options.listeners])
    return run_sweep(planned, Path(logs_dir), options, heard)


def run_sweep(planned: Sequence[PlannedRun], logs_dir: Path, options: SweepOptions, report: Reporter) -> SweepResult:
    """Train the runs of a plan that are not finished, and give the table of all.

    Args:
        planned: Result of ``plan``.
        logs_dir: Folder that the tables are written to.
        options: Devices and trackers.
        report: Receives the progress of the sweep and of each run.

    Raises:
        InputError: For the same reasons as in ``sweep``.
    """
    if launched().size > 1:
        raise InputError(
            "a sweep is started once, not by torchrun: with --devices cuda:0 cuda:1 one run is on each",
            code="processes-not-supported",
        )
    check_trackers(options.log)
    waiting = [(number, run) for number, run in enumerate(planned, start=1) if not is_finished(run)]
    done = len(planned) - len(waiting)
    report.say(
        f"{len(planned)} run{'s' * (len(planned) > 1)} in {logs_dir}" + (f", {done} of them finished" if done else "")
    )
    try:
        if len(options.devices) > 1:
            from spcl.experiments.one_a_device import run_on_devices

            failed = run_on_devices([run for _, run in waiting], options, report)
        else:
            failed = _one_after_the_other(waiting, len(planned), options, report)
    except KeyboardInterrupt:
        report.say("the sweep is stopped; the same spcl sweep continues it (--resume is not needed)")
        raise
    finished = [read_run(run.folder) for run in planned if run.folder not in failed]
    table = table_of(finished) if finished else None
    if table is not None:
        for name in TABLE_NAMES:
            table.write(logs_dir / name)
    return SweepResult(table, logs_dir, failed)


def _one_after_the_other(
    waiting: Sequence[tuple[int, PlannedRun]], num_planned: int, options: SweepOptions, report: Reporter
) -> dict[Path, str]:
    """Train runs in this process, and give the error of each run that failed."""
    failed = {}
    for number, run in waiting:
        report.say(f"run {number} of {num_planned}: {run.words}")
        outcome = make_run(on_device(run, *options.devices), options.log, report)
        if outcome is not None:
            failed[run.folder] = accepted(run, outcome)
            report.warn(f"{run.folder} failed: {outcome.error}")
    return failed


def make_run(run: PlannedRun, log: Sequence[str], report: Reporter) -> Outcome | None:
    """Start or continue a run in this process; gives its end if it did not finish."""
    from spcl.training_run.run_files import holds_run
    from spcl.training_run.train import train_recipe

    shown = report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)
    begins = _Begins()
    heard = with_trackers(Emitter([*shown, begins]), log)
    try:
        train_recipe(run.recipe, heard, resume=holds_run(run.folder))
    except InputError as error:
        return Outcome(str(error), begins.heard)
    return None


def accepted(run: PlannedRun, outcome: Outcome) -> str:
    """Give the error of a run; an error before the first step ends the sweep, because it may occur in every run.

    Raises:
        InputError: If the run did not begin.
    """
    if outcome.began:
        return outcome.error
    raise InputError(f"run {run.folder}: {outcome.error}", code="run-failed")


def on_device(run: PlannedRun, device: str = "") -> PlannedRun:
    """Give a run on a device; without a device, the run itself."""
    return replace(run, recipe=overlay(run.recipe, {"run": {"device": device}}, "--devices")) if device else run


def is_finished(run: PlannedRun) -> bool:
    """Whether the folder of a run contains all its epochs, or those up to an early stop.

    Raises:
        InputError: If it contains a run with other settings, or one with more epochs.
    """
    settings = run.folder / CONFIG_FILE
    if not settings.exists():
        return False
    from spcl.training_run.run_files import saved_epochs
    from spcl.training_run.run_identity import RunIdentity, require_same_settings

    try:
        before = toml_of(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {settings}: {error}; give another --logs-dir", code="unreadable-file") from error
    identity = RunIdentity(to_values(run.recipe), [], to_values(Recipe()), in_new_places)
    require_same_settings(before, identity, run.folder)
    epochs, wanted = saved_epochs(run.folder), run.recipe.schedule.epochs
    if epochs > wanted:
        raise InputError(
            f"the run in {run.folder} has {epochs} epochs, more than {wanted}: give another --logs-dir",
            code="settings-changed",
        )
    return epochs == wanted or _stopped_early(run, epochs)


def _stopped_early(run: PlannedRun, epochs: int) -> bool:
    """Whether a run with this number of saved epochs stopped because they no longer got better."""
    metrics, schedule = run.folder / METRICS_FILE, run.recipe.schedule
    if not schedule.patience or not metrics.is_file():
        return False
    return stopped_early(read_metrics(metrics)[:epochs], schedule.select, schedule.patience)


class _Begins:
    """A listener that records whether a run begins."""

    heard = False

    def on(self, event: Event) -> None:
        """Record the start of the first step."""
        self.heard = self.heard or isinstance(event, RunStarted)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)
