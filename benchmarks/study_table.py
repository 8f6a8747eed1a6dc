"""The table of the study, from the folders of its finished runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from study_sets import FEW_IMAGES

from spcl.errors import InputError
from spcl.experiments.finished_runs import FinishedRun, find_runs

PANEL = ("floor", "spcl", "stack", "ceiling")
"""Variants of the table of all data sets."""


@dataclass(frozen=True)
class VariantFigures:
    """Means over the seeds of a variant on a data set.

    Attributes:
        last: mAP of the last epoch of each seed, percent.
        best: mAP of the best epoch of each seed, percent.
        quality: BCubed F and adjusted Rand index of the last epoch's labels, percent; None: nothing was labelled.
        clusters: Number of clusters in the last epoch, and of true objects.
        seconds: Duration of an epoch.
    """

    last: tuple[float, ...]
    best: tuple[float, ...]
    quality: tuple[float, float] | None
    clusters: tuple[float, int] | None
    seconds: float


def study_table(out: Path, sets: Sequence[str], variants: Sequence[str], quality_file: str) -> str:
    """Give one Markdown table for each data set.

    Args:
        out: Folder of the study.
        sets: Names of the data sets.
        variants: Names of the variants, in the order of the rows; those without finished runs are left out.
        quality_file: Name of the file of label quality in a run's folder.
    """
    tables, panel = [], []
    shares: dict[str, list[float]] = {}
    for name in sets:
        found = {each: figures_of(out / name / each.replace(" ", "-"), quality_file) for each in variants}
        figures = {each: row for each, row in found.items() if row is not None}
        whole = out / name.removesuffix(f"-{FEW_IMAGES}") / "floor"
        if "floor" in found and "floor" not in figures and (floor := figures_of(whole, quality_file)) is not None:
            # It is trained without the target's images, so that of the whole set is that of the cut one.
            figures = {"floor": floor, **figures}
        tables.append(f"## {name}\n\n{_table_of(figures, shares)}")
        panel += _panel_row(name, figures)
    if panel:
        columns = ("set", *PANEL, "share of the way", "best epoch", "F / ARI", "clusters (objects)", "s an epoch")
        tables.append("\n".join([f"## Panel\n\n| {' | '.join(columns)} |", "|---" * len(columns) + "|", *panel]))
    if shares:
        rows = [f"| {name} | {np.median(each):.0f} % | {len(each)} |" for name, each in shares.items()]
        head = "| variant | median share of the way | sets |\n|---|---|---|"
        tables.append("\n".join(["## All sets\n", head, *rows]))
    return "\n\n".join(tables) + "\n"


def figures_of(folder: Path, quality_file: str) -> VariantFigures | None:
    """Give the figures of the finished runs in a folder; None if there is none."""
    if not folder.is_dir():
        return None
    try:
        runs, _ = find_runs([folder])
    except InputError:
        return None
    rated = [run for run in runs if run.best is not None]
    if not rated:
        return None
    rows = [row for run in rated if (row := _last_quality(run.folder / quality_file)) is not None]
    return VariantFigures(
        last=tuple(100 * float(run.last["mAP"]) for run in rated),
        best=tuple(100 * float(run.best["mAP"]) for run in rated if run.best is not None),
        quality=(100 * _mean(rows, "F"), 100 * _mean(rows, "ARI")) if rows else None,
        clusters=(
            float(np.mean([run.last["num_clusters"] for run in rated])),
            int(rows[0]["objects"]),
        )
        if rows
        else None,
        seconds=float(np.mean([_seconds_of_an_epoch(run) for run in rated])),
    )


def _panel_row(name: str, figures: dict[str, VariantFigures]) -> list[str]:
    """Give the row of a data set, with ``spcl`` and ``stack`` side by side; none without both."""
    if not {"spcl", "stack"} <= set(figures):
        return []
    floor, ceiling = (
        float(np.mean(figures[each].last)) if each in figures else np.nan for each in ("floor", "ceiling")
    )
    both = [figures[each] for each in ("spcl", "stack")]
    share = 100 * (float(np.mean(both[1].last)) - floor) / (ceiling - floor)
    cells = [
        name,
        *("-" if each not in figures else _spread(figures[each].last) for each in PANEL),
        "-" if np.isnan(share) else f"{share:.0f} %",
        ", ".join(f"{np.mean(row.best):.1f}" for row in both),
        ", ".join("-" if row.quality is None else f"{row.quality[0]:.0f} / {row.quality[1]:.0f}" for row in both),
        ", ".join("-" if row.clusters is None else f"{row.clusters[0]:.0f}" for row in both)
        + ("" if both[1].clusters is None else f" ({both[1].clusters[1]})"),
        ", ".join(f"{row.seconds:.0f}" for row in both),
    ]
    return [f"| {' | '.join(cells)} |"]


def _table_of(figures: dict[str, VariantFigures], shares: dict[str, list[float]]) -> str:
    columns = (
        *("variant", "mAP, last epoch", "best epoch", "share of the way"),
        *("BCubed F / ARI", "clusters (objects)", "s an epoch"),
    )
    head = f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"
    floor, ceiling = (np.mean(figures[name].last) if name in figures else None for name in ("floor", "ceiling"))
    rows = []
    for name, row in figures.items():
        share = "-"
        if floor is not None and ceiling is not None and name not in ("floor", "ceiling"):
            value = 100 * (float(np.mean(row.last)) - float(floor)) / max(1e-9, float(ceiling - floor))
            shares.setdefault(name, []).append(value)
            share = f"{value:.0f} %"
        quality = "-" if row.quality is None else f"{row.quality[0]:.0f} / {row.quality[1]:.0f}"
        clusters = "-" if row.clusters is None else f"{row.clusters[0]:.0f} ({row.clusters[1]})"
        cells = [name, _spread(row.last), f"{np.mean(row.best):.1f}", share, quality, clusters, f"{row.seconds:.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([head, *rows])


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} +- {np.std(values, ddof=1):.1f} ({len(values)})"


def _last_quality(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return json.loads(lines[-1]) if lines else None


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _seconds_of_an_epoch(run: FinishedRun) -> float:
    return float(np.mean([sum((row.get("seconds") or {}).values()) for row in run.epochs]))
