"""The settings of a page: the few that matter for its results, and all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spcl.pages.run_curves import ShownRun

_MAIN = {
    "data.target": "target",
    "data.source": "source",
    "network.arch": "network",
    "network.from_checkpoint": "started from",
    "labels.kind": "labels",
    "labels.eps": "eps",
    "labels.k1": "k1",
    "memory.kind": "memory",
    "schedule.epochs": "epochs",
    "schedule.iters": "steps in an epoch",
    "schedule.batch_size": "images in a step",
    "schedule.lr": "learning rate",
    "run.seed": "seed",
}
_WITHOUT_EFFECT = ("run.logs_dir",)


@dataclass(frozen=True)
class SettingsSection:
    """Settings.

    Attributes:
        main: Name and value of the settings that matter.
        all: Name and value of every setting.
        reasons: Why these settings were chosen, in sentences.
        names: Names of the runs that are compared; empty with one.
        differing: Settings in which the runs differ: name, and the value of each run.
    """

    main: tuple[tuple[str, str], ...]
    all: tuple[tuple[str, str], ...] = ()
    reasons: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    differing: tuple[tuple[str, tuple[str, ...]], ...] = ()


def settings_of_runs(runs: Sequence[ShownRun]) -> SettingsSection | None:
    """Give the settings of runs; None where no run has any."""
    first = next((run for run in runs if run.settings), None)
    if first is None:
        return None
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    differing = [
        (name, tuple(_text(run.settings.get(name)) for run in runs))
        for name in names
        if name not in _WITHOUT_EFFECT and len({_text(run.settings.get(name)) for run in runs}) > 1
    ]
    same = {name for name in names if name not in dict(differing)}
    return SettingsSection(
        main=tuple(
            (title, _text(first.settings[name]))
            for name, title in _MAIN.items()
            if name in same and first.settings.get(name) not in (None, "")
        ),
        all=plain_settings(first.settings) if len(runs) == 1 else (),
        names=tuple(run.name for run in runs) if differing else (),
        differing=tuple(differing),
    )


def plain_settings(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Give settings by dotted name as text."""
    return tuple((name, _text(value)) for name, value in settings.items())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
