"""The facts of a checkpoint that may be published: settings and figures, without paths of this machine.

The published facts are listed here; all others, also those of later versions, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any

_SECTIONS = ("data", "network", "labels", "memory", "schedule")
_PLACES = ("data_dir", "cache_dir")
_NAMED_PLACES = {"data": ("source", "target"), "network": ("pretrained", "from_checkpoint")}
_ADAPTATION = (
    "verdict",
    "before",
    "after",
    "evaluation",
    "num_trained",
    "num_rated",
    "num_clusters",
    "held_back",
    "seconds",
)


def shared_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a checkpoint that an exported file carries.

    Args:
        facts: All facts of the checkpoint, from ``Encoder.facts``.

    Returns:
        ``config`` with the last names of data and weights in place of their paths, ``adaptation`` without where it was
        and which images were broken (``num_broken`` says how many), ``calibration`` without file names in its notes;
        each if it is there.
    """
    writers = {"config": _config, "adaptation": _adaptation, "calibration": _calibration}
    return {name: write(facts[name]) for name, write in writers.items() if isinstance(facts.get(name), Mapping)}


def last_name(place: object) -> str:
    """The last name of a path of any system; of a table for each split, the last table's."""
    return PureWindowsPath(str(place or "")).name


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: dict(config[name]) for name in _SECTIONS if isinstance(config.get(name), Mapping)}
    for section, names in _NAMED_PLACES.items():
        for name in names:
            if section in kept:
                kept[section][name] = last_name(kept[section].get(name))
    for name in _PLACES:
        kept.get("data", {}).pop(name, None)
    return kept


def _adaptation(adaptation: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: adaptation[name] for name in _ADAPTATION if name in adaptation}
    if "broken" in adaptation:
        kept["num_broken"] = len(adaptation["broken"])
    return kept


def _calibration(calibration: Mapping[str, Any]) -> dict[str, Any]:
    # The number of unreadable images is kept, their names are not.
    notes = [str(note).partition("; the first, ")[0] for note in calibration.get("notes", ())]
    return dict(calibration) | ({"notes": notes} if "notes" in calibration else {})
