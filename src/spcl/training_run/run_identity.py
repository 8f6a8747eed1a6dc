"""What a run and its continuation must have in common: settings and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.errors import InputError
from spcl.settings import flat_values

# Settings that may differ between a run and its continuation: they do not change the result of the finished epochs.
_MAY_CHANGE = {
    "data.data_dir",
    "data.workers",
    "data.image_memory",
    "data.cache_dir",
    "data.check",
    # What the tables contain is compared.
    "data.pairs",
    "network.pretrained",
    "schedule.epochs",
    "schedule.eval_step",
    "schedule.patience",
    "run.logs_dir",
    "run.device",
    "run.checkpoint_iters",
    "run.compile",
    "memory.placement",
}


@dataclass(frozen=True)
class RunIdentity:
    """Settings and images that must not change when a run is continued.

    Attributes:
        settings: All settings, by section; plain values.
        images: Checksum of the names of the training images, for each domain.
        defaults: The default of every setting.
        read: Function that moves settings of an earlier version to their present places.
        pairs: Checksum of the known pairs and the tracks of the target; 0 without any.
    """

    settings: Mapping[str, Any]
    images: list[int]
    defaults: Mapping[str, Any]
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
    pairs: int = 0


def require_same_settings(saved: Mapping[str, Any], identity: RunIdentity, folder: Path) -> None:
    """Raise an ``InputError`` that names the settings in which a run and its continuation differ, if any may not."""
    before, now = flat_values(identity.read(saved)), flat_values(identity.settings)
    # A run of an older version has no values of newer settings: it was made with their defaults.
    before = {name: value for name, value in flat_values(identity.defaults).items() if name in now} | before
    changed = [
        f"{name if name.endswith('.kind') else name.rpartition('.')[2]} was {_shown(before, name)} and is "
        f"{_shown(now, name)}"
        for name in {**now, **{name: value for name, value in before.items() if name.endswith(".kind")}}
        if name not in _MAY_CHANGE and (name not in before or name not in now or before[name] != now[name])
    ]
    if changed:
        raise InputError(
            f"cannot continue the run in {folder} with other settings: {'; '.join(changed)}. "
            "Give the same ones, or another --logs-dir",
            code="settings-changed",
        )


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return repr(settings[name]) if name in settings else "not there"
