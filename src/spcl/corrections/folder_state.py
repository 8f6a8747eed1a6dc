"""What ``summary.json`` of a folder of groups has about its corrections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.atomic_files import written_aside
from spcl.format_versions import GROUPS, KEY, check_format
from spcl.nested_text import json_of

SUMMARY = "summary.json"
"""Name of the summary of a folder of groups."""

STATE = "corrections"
"""Key of the part of the summary about corrections."""

INDIVIDUALS = "individuals"
"""Key of the estimated number of individuals; null: there is no estimate for these groups."""

OUTDATED = "individuals_outdated"
"""Key that is true if there was an estimate, and a correction has changed the groups since."""


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a folder; empty if it is missing or damaged.

    Raises:
        InputError: If a newer version wrote the folder.
    """
    try:
        summary = json_of((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(summary, dict):
        return {}
    check_format(summary.get(KEY), GROUPS, folder)
    return summary


def update_summary(folder: Path, values: Mapping[str, Any], *, is_regrouped: bool = False) -> None:
    """Write values into the summary of a folder; it is whole or the old one.

    Args:
        folder: The folder.
        values: The values that replace those of the same keys.
        is_regrouped: Whether the groups are others than before: an estimate of the number of individuals is then
            outdated.

    Raises:
        InputError: If it cannot be written.
    """
    summary = read_summary(folder) | dict(values)
    if is_regrouped and summary.get(INDIVIDUALS) is not None:
        summary |= {INDIVIDUALS: None, OUTDATED: True}
    with written_aside(folder / SUMMARY) as aside:
        aside.write_text(json.dumps(summary, indent=1), encoding="utf-8")


def number_grouped_with(folder: Path) -> int:
    """Give the number of the last correction that the grouping itself took into account; 0: none."""
    state = read_summary(folder).get(STATE)
    number = state.get("grouped_with", 0) if isinstance(state, Mapping) else 0
    return number if isinstance(number, int) else 0


def digest(path: Path) -> str:
    """Give a text by which the same content of a file is recognised."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
