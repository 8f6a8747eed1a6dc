"""Training as a function: from a recipe and images to a trained encoder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spcl.config import DEFAULT_RECIPE, Recipe, load_recipe, overlay, to_values
from spcl.inference.embedding import Encoder
from spcl.launched import is_main_process
from spcl.reporting.console import Reporter, ReporterListener
from spcl.reporting.epoch_report import EpochReport
from spcl.reporting.events import Emitter, Guarded, Listener
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.short_repr import with_short_repr
from spcl.training.parts import Labeller, LossTerm, Settings
from spcl.training.selection import Criterion
from spcl.training_run.assemble import prepare
from spcl.training_run.own_recipe import recipe_of_run
from spcl.training_run.run_epochs import run_training
from spcl.training_run.run_files import stops_in_order
from spcl.training_run.session import Session
from spcl.training_run.starting_point import settings_from_checkpoint


@with_short_repr
@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        encoder: The encoder of the last epoch, ready to embed images of the target (of the source, for a run on the
            source alone), on the device of the run. For a run with a teacher it is the teacher's network.
        history: One report for each epoch, in order.
        folder: Folder of checkpoints, settings and metrics: ``checkpoint.pth.tar`` is the last epoch,
            ``model_best.pth.tar`` the best one by ``selected_by``.
        best: The report of the best epoch by ``selected_by``; None where no epoch has a score.
        selected_by: What the epochs are compared by: ``evaluation`` (mAP on the target), ``label-free`` (the score of
            the pseudo labels, without identities) or ``last`` (they are not compared).
    """

    encoder: Encoder
    history: tuple[EpochReport, ...]
    folder: Path
    best: EpochReport | None
    selected_by: Criterion = "evaluation"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the folder, the best epoch and what it was chosen by, the figures of each epoch."""
        return {
            "folder": str(self.folder),
            "best_epoch": None if self.best is None else self.best.epoch,
            "selected_by": self.selected_by,
            "epochs": [epoch.to_row() for epoch in self.history],
        }


def train(
    target: str | Path,
    *,
    source: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    overrides: Mapping[str, Any] | None = None,
    losses: Sequence[LossTerm | Settings[LossTerm]] | None = None,
    labeller: Labeller | Settings[Labeller] | None = None,
    listeners: Sequence[Listener] = (),
    logs_dir: str | Path = "runs/spcl",
    resume: bool = False,
) -> TrainingResult:
    """Train an encoder without identity labels of the target.

    It prints nothing: what happens goes to the listeners, without listeners to the logger ``spcl`` of Python's logging.

    Args:
        target: The unlabelled images: a registered name or a path, several as ``a+b``. Their identities are never used
            for training.
        source: A labelled data set to train on as well: a registered name or a path, several as ``a+b``; None: the
            target alone.
        recipe: The name of a recipe (``spcl``: the paper's), the path of a TOML file, or a ``Recipe``; None:
            ``spcl-plus``, or the recipe of the run that is continued.
        overrides: Settings that replace those of the recipe: ``{"schedule.epochs": 5}``.
        losses: Loss terms that replace those of the recipe: callables ``StepInputs -> [B]`` with a name and a weight,
            or settings that build one.
        labeller: Labeller that replaces the recipe's: an object with ``label(features, target)``, or settings that
            build one.
        listeners: Objects that receive the events of the run (``spcl.reporting.events``) in the main process, for
            example ``ExperimentTracker("tensorboard")``. An error in a listener becomes a ``RuntimeWarning`` and does
            not end the run.
        logs_dir: Folder of the run: checkpoints, settings, metrics.
        resume: Whether to continue the run in ``logs_dir``; the result equals that of an uninterrupted run to the bit.

    Returns:
        TrainingResult: the encoder, the reports of the epochs and the folder of the run.

    Raises:
        InputError: If an image, a setting or a part cannot be used, before the first step; if the loss becomes NaN or
            infinite, with everything saved before.

    Cost: ``epochs x iters`` steps, and one label stage for each epoch.
    """
    values = nested(overrides or {})
    if recipe is None:
        recipe = (recipe_of_run(Path(logs_dir)) if resume else None) or DEFAULT_RECIPE
    chosen = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    checkpoint = values.get("network", {}).get("from_checkpoint", chosen.network.from_checkpoint)
    if checkpoint:
        chosen = over_checkpoint(chosen, str(checkpoint), values.get("network", {}).get("arch"))
    chosen = overlay(chosen, values, "overrides")
    chosen = overlay(
        chosen,
        {"data": {"target": str(target), "source": str(source or "")}, "run": {"logs_dir": str(logs_dir)}},
        "train",
    )
    if losses is not None:
        chosen = replace(chosen, losses=tuple(losses))
    if labeller is not None:
        chosen = replace(chosen, labels=labeller)
    heard: list[Listener] = []
    if is_main_process():
        # Without listeners, Python's logging receives what the run reports.
        heard = [Guarded(listener, _warn) for listener in listeners] or [ReporterListener(LoggingReporter())]
    return train_recipe(chosen, Emitter(heard), resume=resume)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def train_recipe(recipe: Recipe, report: Reporter, *, resume: bool = False) -> TrainingResult:
    """Train by a recipe that also names the data and the log folder.

    Args:
        recipe: All settings.
        report: Receives progress, warnings and reports; an ``Emitter`` passes the events on to listeners.
        resume: Whether to continue the run in the log folder.

    Raises:
        InputError: For the same reasons as in ``train``.
    """
    session = Session.of(recipe, report)
    # The network's random numbers have a separate seed: the caller's random numbers do not depend on the training.
    with session.runtime.own_draws(), stops_in_order(Path(recipe.run.logs_dir), report):
        run = prepare(recipe, session, resume=resume)
        if run.state.epoch >= recipe.schedule.epochs:
            report.say(f"this run has finished its {run.state.epoch} epochs; a larger --epochs continues it")
        state = run_training(run)
    return TrainingResult(
        encoder=Encoder(run.encoder, run.encoder.domains[-1], {"config": to_values(recipe)}),
        history=tuple(state.history),
        folder=run.folder,
        best=next((report for report in state.history if report.epoch == state.best_epoch), None),
        selected_by=run.criterion,
    )


def over_checkpoint(recipe: Recipe, checkpoint: str, arch: str | None = None) -> Recipe:
    """Give a recipe with the network settings of a checkpoint: architecture, embedding length, pooling, image size.

    Raises:
        InputError: If the file is no checkpoint.
    """
    fixed = settings_from_checkpoint(Path(checkpoint), arch=arch or None)
    return overlay(recipe, fixed, f"checkpoint {checkpoint}")


def nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"schedule.epochs": 5}`` into ``{"schedule": {"epochs": 5}}``; nested values stay as they are."""
    values: dict[str, Any] = {}
    for name, value in overrides.items():
        section, dot, setting = name.partition(".")
        if dot:
            values[section] = {**values.get(section, {}), setting: value}
        elif isinstance(value, Mapping):
            values[section] = {**values.get(section, {}), **value}
        else:
            values[section] = value
    return values
