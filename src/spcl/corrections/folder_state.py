"""What ``summary.json`` of a folder of groups has about its corrections."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.format_versions import GROUPS, KEY, check_format
from spcl.nested_text import json_of

SUMMARY = "summary.json"
"""Name of the summary of a folder of groups."""

STATE = "corrections"
"""Key of the part of the summary about corrections."""


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


def number_grouped_with(folder: Path) -> int:
    """Give the number of the last correction that the grouping itself took into account; 0: none."""
    state = read_summary(folder).get(STATE)
    number = state.get("grouped_with", 0) if isinstance(state, Mapping) else 0
    return number if isinstance(number, int) else 0


def digest(path: Path) -> str:
    """Give a text by which the same content of a file is recognised."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
