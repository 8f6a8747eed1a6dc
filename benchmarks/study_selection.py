"""How far the scores that need no identities agree with mAP, over the runs of a study.

    python benchmarks/study_selection.py runs/study

Rows of ``metrics.jsonl`` are compared by Spearman's rank correlation, in two ways: over the evaluated epochs of one run
(which epoch to keep), and over the runs on one data set, each with its last evaluated epoch (which settings to take).
``loss of mAP``: the mean mAP of the best evaluated epoch of a run, minus that of the epoch that the score picks. Scores
that end in ``, next epoch`` are of the labels that were made after the evaluated epoch.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from spcl.cli.main import run_guarded
from spcl.errors import InputError

Row = Mapping[str, Any]


def _share_clustered(row: Row) -> float:
    """Give the share of the classes that are clusters."""
    return float(row["num_clusters"]) / max(1, row["num_clusters"] + row["num_unclustered"])


SCORES: dict[str, Callable[[Row], float | None]] = {
    "label_score": lambda row: row.get("label_score"),
    "label_agreement": lambda row: row.get("label_agreement"),
    "coherence": lambda row: row.get("coherence"),
    "-loss on the target": lambda row: None if (loss := row["losses"].get("target")) is None else -loss,
    "share of classes that are clusters": _share_clustered,
    "-clusters": lambda row: -float(row["num_clusters"]),
    "epoch (the last is the best)": lambda row: float(row["epoch"]),
}
"""Scores of an epoch, high is good; None: the run has no such figure."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of a score with mAP.

    Attributes:
        score: Name of the score.
        epochs: Mean over runs of the rank correlation over a run's epochs; None: no run has three evaluated epochs.
        num_runs: Number of runs in that mean.
        lost: Mean over the same runs of the mAP that is lost by keeping the epoch that the score picks, in percent.
        runs: Mean over data sets of the rank correlation over the runs on it; None: no set has three runs.
        num_sets: Number of data sets in that mean.
    """

    score: str
    epochs: float | None
    num_runs: int
    lost: float | None
    runs: float | None
    num_sets: int


def agreements(runs: Mapping[str, Sequence[Sequence[Row]]]) -> list[Agreement]:
    """Give the agreement of each score with mAP.

    Args:
        runs: For each data set its runs, each a row for each epoch.
    """
    found = []
    for name, score in SCORES.items():
        lags = (0,) if name.startswith("epoch") else (0, 1)
        for lag in lags:
            pairs = {where: [_pairs(rows, score, lag) for rows in of] for where, of in runs.items()}
            title = name if not lag else f"{name}, next epoch"
            agreement = _agreement(title, pairs)
            if agreement.num_runs or agreement.num_sets:
                found.append(agreement)
    return found


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Give Spearman's rank correlation of (score, mAP) pairs; None with fewer than three, or if one does not vary."""
    scores, figures = ([pair[at] for pair in pairs] for at in (0, 1))
    if len(pairs) < 3 or len(set(scores)) < 2 or len(set(figures)) < 2:
        return None
    return float(spearmanr(scores, figures).statistic)


def _pairs(rows: Sequence[Row], score: Callable[[Row], float | None], lag: int) -> list[tuple[float, float]]:
    """Give (score, mAP) of the evaluated epochs; the score is that of the row ``lag`` epochs later."""
    found = []
    for at, row in enumerate(rows[: len(rows) - lag]):
        value = score(rows[at + lag])
        if row.get("mAP") is not None and value is not None:
            found.append((float(value), float(row["mAP"])))
    return found


def _agreement(title: str, pairs: Mapping[str, Sequence[Sequence[tuple[float, float]]]]) -> Agreement:
    by_run = [(each, found) for of in pairs.values() for each in of if (found := rank_correlation(each)) is not None]
    lost = [max(figure for _, figure in each) - max(each)[1] for each, _ in by_run]
    by_set = [rank_correlation([each[-1] for each in of if each]) for of in pairs.values()]
    known = [value for value in by_set if value is not None]
    return Agreement(
        title,
        epochs=float(np.mean([value for _, value in by_run])) if by_run else None,
        num_runs=len(by_run),
        lost=100 * float(np.mean(lost)) if lost else None,
        runs=float(np.mean(known)) if known else None,
        num_sets=len(known),
    )


def runs_below(place: Path) -> dict[str, list[list[Row]]]:
    """Read the runs below a folder of a study, finished or not: ``SET/VARIANT/RUN``, or runs by themselves.

    Raises:
        InputError: If there is no run with an evaluated epoch.
    """
    runs: dict[str, list[list[Row]]] = defaultdict(list)
    for path in sorted(place.rglob("metrics.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        inside = path.parent.relative_to(place).parts
        if any(row.get("mAP") is not None for row in rows):
            runs[inside[0] if len(inside) > 1 else place.name].append(rows)
    if not runs:
        raise InputError(
            f"{place} holds no run with an evaluated epoch; give the folder of a study", code="no-such-run"
        )
    return dict(runs)


def to_markdown(found: Sequence[Agreement]) -> str:
    """Give a Markdown table."""
    head = "| score | over epochs (runs) | loss of mAP | over runs (sets) |\n|---|---|---|---|"
    rows = []
    for each in found:
        epochs = "-" if each.epochs is None else f"{each.epochs:.2f} ({each.num_runs})"
        lost = "-" if each.lost is None else f"{each.lost:.1f}"
        over = "-" if each.runs is None else f"{each.runs:.2f} ({each.num_sets})"
        rows.append(f"| {each.score} | {epochs} | {lost} | {over} |")
    return "\n".join([head, *rows])


def main(arguments: Sequence[str]) -> None:
    """Print the table of the runs below a folder."""

    def work() -> None:
        if len(arguments) != 1:
            raise InputError("which study? python benchmarks/study_selection.py runs/study", code="missing-argument")
        print(to_markdown(agreements(runs_below(Path(arguments[0])))))

    run_guarded(work)


if __name__ == "__main__":
    main(sys.argv[1:])
