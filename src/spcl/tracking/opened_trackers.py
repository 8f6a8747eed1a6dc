"""Accelerate's trackers, opened for a run; this file has the differences between them.

The environment variables of a tracker decide where it keeps its runs; TensorBoard's files are in the run's folder.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

PROJECT = "spcl"
"""Name of the MLflow experiment, and of the project in Weights & Biases and trackio."""


@dataclass(frozen=True)
class OpenedTracker:
    """A tracker that keeps a run.

    Attributes:
        tracker: Tracker of Accelerate.
        run_id: Identifier of the run in the tracker.
        send_picture: Takes a name, a PNG file and the epoch.
        stop: Marks a run as unfinished, in a tracker that distinguishes such runs.
    """

    tracker: GeneralTracker
    run_id: str
    send_picture: Callable[[str, Path, int], None]
    stop: Callable[[], None] | None = None


def open_tracker(name: str, folder: Path, run_id: str | None) -> OpenedTracker:
    """Open a tracker for a run.

    Args:
        name: ``tensorboard``, ``mlflow``, ``wandb`` or ``trackio``.
        folder: Folder of the run; its name is the name of the run.
        run_id: Identifier of the run to continue in the tracker; None: a new run.
    """
    from accelerate import PartialState

    # Accelerate's messages need its process state; with several processes it exists already.
    PartialState()
    return _OPEN[name](folder, run_id)


def _started(tracker: GeneralTracker) -> GeneralTracker:
    # Only the main process has listeners: Accelerate does not have to select it.
    tracker.main_process_only = False
    tracker.start()
    return tracker


def _tensorboard(folder: Path, run_id: str | None) -> OpenedTracker:
    from accelerate.tracking import TensorBoardTracker

    tracker = _started(TensorBoardTracker("tensorboard", logging_dir=folder))

    def send(name: str, picture: Path, epoch: int) -> None:
        tracker.log_images({name: _pixels(picture)[None]}, step=epoch, dataformats="NHWC")

    return OpenedTracker(tracker, "tensorboard", send)


def _mlflow(folder: Path, run_id: str | None) -> OpenedTracker:
    import mlflow
    from accelerate.tracking import MLflowTracker

    # A run of the caller's own that is active holds this one.
    nested = mlflow.active_run() is not None
    tracker = _started(MLflowTracker(PROJECT, run_id=run_id, run_name=folder.absolute().name, nested_run=nested))
    return OpenedTracker(
        tracker,
        tracker.tracker.info.run_id,
        lambda name, picture, epoch: tracker.log_artifact(str(picture), f"pictures/{name}"),
        lambda: mlflow.end_run("KILLED"),
    )


def _wandb(folder: Path, run_id: str | None) -> OpenedTracker:
    from accelerate.tracking import WandBTracker

    run_id = run_id or uuid.uuid4().hex[:12]
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    name = folder.absolute().name
    tracker = _started(WandBTracker(project, name=name, id=run_id, resume="allow", dir=str(folder)))
    return OpenedTracker(
        tracker,
        run_id,
        lambda name, picture, epoch: tracker.log_images({name: [_pixels(picture)]}, step=epoch),
        lambda: tracker.tracker.finish(exit_code=1),
    )


def _trackio(folder: Path, run_id: str | None) -> OpenedTracker:
    import trackio
    from accelerate.tracking import TrackioTracker

    project = os.environ.get("TRACKIO_PROJECT", PROJECT)
    # Trackio identifies a run by its name alone.
    run_id = run_id or f"{folder.absolute().name}-{uuid.uuid4().hex[:6]}"
    tracker = _started(TrackioTracker(project, name=run_id, resume="allow"))
    return OpenedTracker(
        tracker, run_id, lambda name, picture, epoch: tracker.log({name: trackio.Image(str(picture))}, step=epoch)
    )


_OPEN: Mapping[str, Callable[[Path, str | None], OpenedTracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
    "trackio": _trackio,
}


def _pixels(picture: Path) -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"))
