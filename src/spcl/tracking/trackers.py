"""Experiment trackers as listeners of a run, through Accelerate: TensorBoard, MLflow, Weights & Biases, trackio.

Each keeps a run's hyper-parameters, figures by epoch, and pictures. The environment variables of a tracker decide where
it keeps them; TensorBoard's files are in the folder of the run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.nested_text import json_of
from spcl.reporting.console import Reporter, ReporterListener
from spcl.reporting.epoch_report import EpochReport
from spcl.reporting.events import Emitter, EpochEnded, Evaluated, Event, Guarded, Labelled, RunEnded, RunStarted
from spcl.settings import flat_values
from spcl.tracking.opened_trackers import OpenedTracker, open_tracker

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
"""The names of the trackers, which are those of their packages."""

IDS_FILE = "trackers.json"
"""File in the folder of a run with its identifier in each tracker, so that a resumed run continues there."""

_NUM_HITS = 8


def check_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and installed; nothing is imported.

    Raises:
        InputError: If a tracker is unknown or not installed; says how to install it.
    """
    for name in names:
        if name not in TRACKERS:
            near = get_close_matches(name, TRACKERS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one or several of {', '.join(TRACKERS)}"
            raise InputError(f"there is no tracker {name!r}; {hint}", code="no-such-tracker")
        if not _is_installed(name):
            raise InputError(
                f"the tracker {name} is not installed: pip install {name}, or all trackers: pip install 'spcl[track]'",
                code="package-not-installed",
            )
    # The small package only talks to a server; the default store on this machine is a data base.
    is_local = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:").startswith("sqlite:")
    if "mlflow" in names and is_local and not _is_installed("sqlalchemy"):
        raise InputError(
            "mlflow-skinny cannot keep runs on this machine: pip install mlflow, or set MLFLOW_TRACKING_URI",
            code="package-not-installed",
        )


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    # A folder of the same name that only holds files, which wandb makes where it runs, has no origin.
    return spec is not None and spec.origin is not None


class ExperimentTracker:
    """Sends a run to an experiment tracker: ``spcl.train(..., listeners=[ExperimentTracker("mlflow")])``.

    Kept are the settings of the recipe, and by epoch: losses, figures of the labels, seconds of each stage, mAP and
    top-1/5/10 as fractions. Pictures of clusters and of rankings come with the first epoch and with each in which an
    evaluation is due. A resumed run continues in the tracker, too.

    Attributes:
        name: Name of the tracker.
        num_hits: Gallery images of each query in a picture of rankings.
    """

    def __init__(self, name: str) -> None:
        """Choose the tracker; it is opened when the run starts.

        Args:
            name: ``tensorboard``, ``mlflow``, ``wandb`` or ``trackio``.

        Raises:
            InputError: If there is no such tracker, or its package is not installed.
        """
        check_trackers([name])
        self.name, self.num_hits = name, _NUM_HITS
        self._opened: OpenedTracker | None = None
        self._run: RunStarted | None = None
        self._labels: NDArray[np.int64] | None = None
        self._evaluated: list[Evaluated] = []

    def on(self, event: Event) -> None:
        """Send an event to the tracker."""
        match event:
            case RunStarted():
                self._start(event)
            case Labelled(labels):
                self._labels = labels
            case Evaluated():
                self._evaluated.append(event)
            case EpochEnded(report=report) if self._opened is not None:
                self._opened.tracker.log(figures_of(report), step=report.epoch)
                self._send_pictures(report.epoch)
            case RunEnded(finished) if self._opened is not None:
                opened, self._opened = self._opened, None
                if finished or opened.stop is None:
                    opened.tracker.finish()
                else:
                    opened.stop()
            case _:
                pass

    def _start(self, run: RunStarted) -> None:
        ids = _read_ids(run.folder)
        self._run, earlier = run, ids.get(self.name)
        self._opened = opened = open_tracker(self.name, run.folder, earlier)
        if opened.run_id == earlier:
            return
        opened.tracker.store_init_configuration(flat_values(run.settings))
        for report in run.history:
            opened.tracker.log(figures_of(report), step=report.epoch)
        with written_aside(run.folder / IDS_FILE) as aside:
            aside.write_text(json.dumps(ids | {self.name: opened.run_id}, indent=1), encoding="utf-8")

    def _send_pictures(self, epoch: int) -> None:
        """Send the pictures that are due, and free the arrays that they show."""
        run, opened, labels, evaluated = self._run, self._opened, self._labels, self._evaluated
        self._labels, self._evaluated = None, []
        if run is None or opened is None:
            return
        from spcl.tracking.pictures import draw_clusters, draw_rankings

        data, schedule = run.settings["data"], run.settings["schedule"]
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / f"clusters-{epoch:04d}.png"
            is_due = epoch in (1, run.epochs) or epoch % schedule["eval_step"] == 0
            if is_due and labels is not None and draw_clusters(picture, run.target, labels):
                opened.send_picture("clusters", picture, epoch)
            size = data["height"], data["width"]
            for number, event in enumerate(evaluated, start=1):
                # Of several targets each has a picture; the names of data sets may be paths.
                name = "rankings" if len(evaluated) == 1 else f"rankings-{number}"
                picture = picture.with_name(f"{name}-{epoch:04d}.png")
                if draw_rankings(picture, event.dataset or run.target, event, size):
                    opened.send_picture(name, picture, epoch)


def with_trackers(report: Reporter, names: Sequence[str]) -> Reporter:
    """Give a reporter that shows the same, and also sends the events of a run to trackers.

    Args:
        report: Shows notes, progress and epochs; receives one warning for each tracker that fails.
        names: Names of the trackers; empty: the reporter is returned unchanged.

    Raises:
        InputError: For the same reasons as in ``ExperimentTracker``.
    """
    if not names:
        return report
    trackers = [Guarded(ExperimentTracker(name), report.warn) for name in names]
    shown = report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)
    return Emitter([*shown, *trackers])


def tracker_names(text: str) -> tuple[str, ...]:
    """Names with commas between them: each once, in their order.

    Raises:
        InputError: For the same reasons as in ``check_trackers``.
    """
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))
    check_trackers(names)
    return names


def figures_of(report: EpochReport) -> dict[str, float]:
    """An epoch's figures by name: ``loss/target``, ``labels/clusters``, ``seconds/train``, ``target/mAP`` and so on."""
    quartiles = zip(("size_q1", "size_median", "size_q3"), report.cluster_size_quartiles, strict=False)
    terms = {f"{term}/{name}": loss for term, by in report.loss_terms.items() for name, loss in by.items()}
    groups: Mapping[str, Mapping[str, Any]] = {
        "loss": {"sum": report.loss} | report.losses | (terms if len(report.loss_terms) > 1 else {}),
        "labels": {
            "clusters": report.num_clusters,
            "unclustered": report.num_unclustered,
            "largest": report.largest_cluster,
            "independence_threshold": report.independence_threshold,
            "score": report.label_score,
            "agreement": report.label_agreement,
        }
        | dict(quartiles)
        | report.label_figures,
        "seconds": report.seconds,
        "target": report.evaluation,
        **{f"target/{name}": row for name, row in report.evaluation.get("targets", {}).items()},
    }
    return {
        f"{group}/{name}": value
        for group, figures in groups.items()
        for name, value in figures.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _read_ids(folder: Path) -> dict[str, str]:
    try:
        found = json_of((folder / IDS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
