"""Reading of ``metrics.jsonl``, the figures of the epochs of a run, checked where they enter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.errors import InputError, first_line
from spcl.nested_text import json_of

_NESTED = ("losses", "loss_terms", "seconds")
"""Figures by name: of a domain, of a domain and a term, of a stage."""

_NUMBERS = (
    *("epoch", "num_clusters", "num_unclustered", "largest_cluster", "independence_threshold"),
    *("label_score", "label_agreement", "loss", "mAP", "top1", "top5", "top10"),
)


def read_metrics(path: Path) -> tuple[dict[str, Any], ...]:
    """Read the rows of a run's figures, one for each epoch.

    Args:
        path: The file, which exists.

    Returns:
        The rows. Figures that are NaN or infinite, as a run wrote them that diverged, are None.

    Raises:
        InputError: If the file cannot be read, a line is not JSON, or a figure is not a number; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}", code="damaged-file") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(_checked(json_of(line)))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {first_line(error)}", code="damaged-file") from error
    return tuple(rows)


def _checked(row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise ValueError(f"it is {_shown(row)}; expected the figures of an epoch, {{...}}")
    known = {name: _number(row[name], name) for name in _NUMBERS if name in row}
    nested = {name: _nested(row[name], name) for name in _NESTED if name in row}
    return {**row, **known, **nested}


def _number(value: Any, name: str) -> int | float | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 10**15:
        raise ValueError(f"{name} is {_shown(value)}; expected a number")
    return value


def _nested(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {_shown(value)}; expected numbers by name")
    return {
        str(key): _nested(each, name) if isinstance(each, Mapping) and name != "seconds" else _number(each, name) or 0.0
        for key, each in value.items()
    }


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + " ..."
