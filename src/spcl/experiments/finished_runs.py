"""The results of finished runs, from the settings and the figures in their folders. Torch is not loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.config import Recipe, in_new_places, to_values
from spcl.errors import InputError, first_line
from spcl.nested_text import toml_of
from spcl.reporting.metrics_file import read_metrics
from spcl.settings import flat_values
from spcl.settings_checks import check_count
from spcl.training.selection import best_of, no_longer_improves
from spcl.training_run.run_file_names import CONFIG_FILE, METRICS_FILE

_PLAIN_SECTIONS = ("data", "network", "schedule", "run")
_WHOLE = {"schedule.epochs": 1, "schedule.patience": 0, "run.seed": 0}
"""Settings that are read here, with the smallest value of each."""


@dataclass(frozen=True)
class FinishedRun:
    """A run with all its epochs.

    Attributes:
        folder: Folder of the run.
        settings: All settings by dotted name: ``labels.eps``, ``losses.0.temperature``.
        epochs: A row for each epoch, as in ``metrics.jsonl``.
    """

    folder: Path
    settings: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.settings["run.seed"])

    @property
    def last(self) -> Mapping[str, Any]:
        """The row of the last epoch, which is evaluated if the target has queries and a gallery."""
        return self.epochs[-1]

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The row of the epoch with the highest mAP, the first of equal ones; None if no epoch was evaluated."""
        rated = [row for row in self.epochs if row.get("mAP") is not None]
        return max(rated, key=lambda row: row["mAP"]) if rated else None

    @property
    def best_by_labels(self) -> Mapping[str, Any] | None:
        """The row of the epoch with the highest label-free score; None if no epoch has one."""
        best = best_of([row.get("label_score") for row in self.epochs])
        return None if best is None else self.epochs[best]


def stopped_early(rows: Sequence[Mapping[str, Any]], select: str, patience: int) -> bool:
    """Whether a run with these rows stopped because its epochs no longer got better.

    Args:
        rows: A row for each epoch, as in ``metrics.jsonl``.
        select: The setting ``schedule.select``.
        patience: The setting ``schedule.patience``.
    """
    is_evaluated = select == "evaluation" or (select == "auto" and any(row.get("mAP") is not None for row in rows))
    return no_longer_improves([row.get("mAP" if is_evaluated else "label_score") for row in rows], patience)


def read_run(folder: Path) -> FinishedRun:
    """Read a finished run.

    Args:
        folder: Folder of the run; it may be of version 0.1.0.

    Raises:
        InputError: If the run is not finished, or its files cannot be read; names the reason.
    """
    try:
        values = toml_of((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        settings = flat_values(in_new_places(values))
        rows = read_metrics(folder / METRICS_FILE)
        epochs, _, _ = (check_count(settings.get(name, least), name, least) for name, least in _WHOLE.items())
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: there is no {Path(error.filename).name}, so that no epoch is finished", code="run-not-finished"
        ) from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{folder}: its files cannot be read ({first_line(error)})", code="damaged-file") from error
    # Settings that are newer than the run had their defaults.
    defaults = {name: value for name, value in _defaults().items() if name.partition(".")[0] in _PLAIN_SECTIONS}
    settings = defaults | settings
    stopped = stopped_early(rows, str(settings["schedule.select"]), int(settings["schedule.patience"]))
    if not rows or (len(rows) < epochs and not stopped):
        raise InputError(f"{folder}: {len(rows)} of {epochs} epochs are finished", code="run-not-finished")
    return FinishedRun(folder, settings, rows)


def find_runs(places: Sequence[str | Path]) -> tuple[list[FinishedRun], list[str]]:
    """Find the finished runs in some places.

    Args:
        places: Folders of runs, or folders that hold runs at any depth; ``runs/*`` is expanded. Other files are
            ignored.

    Returns:
        The runs, each once, in the order of the places; and a sentence about each run or place that is left out.

    Raises:
        InputError: If a place does not exist, or no place contains a finished run.
    """
    folders: dict[Path, Path] = {}
    notes = []
    for place in (each for given in places for each in _matching(str(given))):
        if not place.exists():
            raise InputError(f"there is nothing at {place}; give folders of runs, such as runs/*", code="no-such-file")
        found = [place] if (place / CONFIG_FILE).is_file() else _runs_below(place)
        if not found:
            notes.append(f"{place} holds no run")
        folders |= {folder.resolve(): folder for folder in found if folder.resolve() not in folders}
    runs = []
    for folder in folders.values():
        try:
            runs.append(read_run(folder))
        except InputError as error:
            notes.append(str(error))
    if not runs:
        raise InputError(
            f"there is no finished run: {'; '.join(notes) or 'no folder was given'}", code="no-finished-run"
        )
    return runs, notes


def _matching(given: str) -> list[Path]:
    """Give the paths that match a pattern; the pattern itself if it exists or nothing matches."""
    place = Path(given)
    if place.exists() or not place.name:
        return [place]
    return sorted(place.parent.glob(place.name)) or [place]


def _runs_below(place: Path) -> list[Path]:
    return sorted(path.parent for path in place.rglob(CONFIG_FILE)) if place.is_dir() else []


def _defaults() -> dict[str, Any]:
    return flat_values(to_values(Recipe()))
