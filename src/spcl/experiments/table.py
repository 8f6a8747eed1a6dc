"""A table of runs: mean and standard deviation over the runs that differ in their seed alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.experiments.finished_runs import FinishedRun, find_runs
from spcl.training.selection import best_of

WITHOUT_EFFECT = frozenset(
    {
        *("run.seed", "run.logs_dir", "run.device", "run.checkpoint_iters", "run.compile", "memory.placement"),
        *("data.data_dir", "data.workers", "data.image_memory", "data.cache_dir", "data.check", "schedule.eval_step"),
    }
)
"""Settings in which the runs of a row may differ: the seed, and settings that change no figure."""

_RATED = {"mAP": "mAP", "top1": "top-1", "top5": "top-5", "top10": "top-10"}
_SHOWN = ("mAP", "top1")
_UNRATED = {"loss": "loss", "num_clusters": "clusters", "num_unclustered": "un-clustered", "label_score": "label score"}
"""Figures of the last epoch that are shown if no run was evaluated."""


@dataclass(frozen=True)
class Spread:
    """A figure over the runs of a row.

    Attributes:
        mean: Mean over the runs.
        std: Sample standard deviation over the runs (divisor: number of runs - 1); None for one run.
    """

    mean: float
    std: float | None

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """Compute mean and standard deviation of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class TableRow:
    """Runs with the same settings.

    Attributes:
        settings: Settings in which the rows of the table differ, by dotted name; None: the runs have no such setting.
        seeds: Seed of each run.
        last: Figures of the last epoch by name (``mAP``, ``top1``, ``top5``, ``top10``: fractions; ``loss``,
            ``num_clusters``, ``num_unclustered``, ``label_score``).
        best: Figures of each run's epoch with the highest mAP; that epoch was chosen on the test set.
    """

    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    last: Mapping[str, Spread]
    best: Mapping[str, Spread]


@dataclass(frozen=True)
class RunsTable:
    """The results of finished runs.

    Attributes:
        runs: All runs of the table.
        rows: Row of each combination of settings, ordered by the settings.
        notes: Sentences about runs that were left out, or that differ although they should be equal.
    """

    runs: tuple[FinishedRun, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_rated(self) -> bool:
        """Whether a run was evaluated."""
        return any("mAP" in row.last for row in self.rows)

    @property
    def best_by_labels(self) -> FinishedRun | None:
        """The run with the epoch of the highest label-free score, the first of equal ones; None if no run has one."""
        scores = [None if (row := run.best_by_labels) is None else float(row["label_score"]) for run in self.runs]
        best = best_of(scores)
        return None if best is None else self.runs[best]

    def to_rows(self) -> list[dict[str, Any]]:
        """Give plain values: settings, number of runs, seeds, then for each figure its mean and standard deviation."""
        names = {"last": (*_RATED, *_UNRATED), "best": tuple(_RATED)}
        plain = []
        for row in self.rows:
            values: dict[str, Any] = {**row.settings, "runs": len(row.seeds), "seeds": list(row.seeds)}
            for epoch, figures in (("last", row.last), ("best", row.best)):
                for name in names[epoch]:
                    spread = figures.get(name)
                    values[f"{epoch}_{name}_mean"] = None if spread is None else spread.mean
                    values[f"{epoch}_{name}_std"] = None if spread is None else spread.std
            plain.append(values)
        return plain

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: ``rows`` and ``notes``."""
        return {"rows": self.to_rows(), "notes": list(self.notes)}

    def to_csv(self) -> str:
        """Give CSV text with a header line: mAP and top-k as fractions, in full precision."""
        rows = [row | {"seeds": " ".join(map(str, row["seeds"]))} for row in self.to_rows()]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_markdown(self) -> str:
        """Give a Markdown table: mean ± standard deviation, mAP and top-1 in percent."""
        head, *body = self._cells("{} ± {}")
        lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *body)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        ruled = [lines[0], ["-" * (width - 1) + ":" for width in widths], *lines[1:]]
        padded = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in ruled]
        return "".join(f"| {' | '.join(line)} |\n" for line in padded)

    def to_latex(self) -> str:
        r"""Give a LaTeX ``tabular`` with the rules of ``\usepackage{booktabs}``, with the values of ``to_markdown``."""
        head, *body = self._cells("${} \\pm {}$", _latex)
        lines = ["\\begin{tabular}{" + "r" * len(head) + "}", "\\toprule", _latex_line(head), "\\midrule"]
        return "\n".join([*lines, *map(_latex_line, body), "\\bottomrule", "\\end{tabular}", ""])

    def write(self, path: str | Path) -> Path:
        """Write a file: ``.csv``, ``.md`` or ``.tex``, by its ending; an existing file is replaced.

        Returns:
            The path.

        Raises:
            InputError: For another ending, or if it cannot be written.
        """
        path = Path(path)
        check_ending(path)
        text = {".csv": self.to_csv, ".md": self.to_markdown, ".tex": self.to_latex}[path.suffix.lower()]()
        with written_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return path

    def _cells(self, form: str, escaped: Any = str) -> list[list[str]]:
        """Give the header and the rows as text; ``form`` formats a mean and a standard deviation."""
        settings = list(self.rows[0].settings)
        chosen = [(epoch, name) for epoch in ("last", "best") for name in _SHOWN]
        titles = [f"{epoch} {_RATED[name]}" for epoch, name in chosen]
        if not self.is_rated:
            shown = [name for name in _UNRATED if name != "label_score" or any(name in row.last for row in self.rows)]
            chosen, titles = [("last", name) for name in shown], [_UNRATED[name] for name in shown]
        scale, digits = (100, 1) if self.is_rated else (1, 2)
        head = [*settings, "runs", *titles]
        lines = [[escaped(title) for title in head]]
        for row in self.rows:
            figures = [_text(getattr(row, epoch).get(name), form, scale, digits) for epoch, name in chosen]
            lines.append([*(escaped(_shown(row.settings[name])) for name in settings), str(len(row.seeds)), *figures])
        return lines


def runs(*places: str | Path) -> RunsTable:
    """Give the results of finished runs: mean and standard deviation over the runs that differ only in their seed.

    Args:
        places: Folders of runs, or folders that hold runs at any depth (``runs/sweep``).

    Returns:
        RunsTable: ``print(table.to_markdown())``; ``to_csv``, ``to_latex``, ``to_rows``, ``write(path)``.

    Raises:
        InputError: If a place does not exist, or there is no finished run.
    """
    found, notes = find_runs(places)
    return table_of(found, notes)


def table_of(found: Sequence[FinishedRun], notes: Iterable[str] = ()) -> RunsTable:
    """Give the table of at least one run."""
    names = dict.fromkeys(name for run in found for name in run.settings if name not in WITHOUT_EFFECT)
    differing = [name for name in names if len({repr(run.settings.get(name)) for run in found}) > 1]
    groups: dict[tuple[str, ...], list[FinishedRun]] = {}
    for run in found:
        groups.setdefault(tuple(repr(run.settings.get(name)) for name in differing), []).append(run)
    rows, said = [], list(notes)
    for members in groups.values():
        seeds = tuple(run.seed for run in members)
        for seed in sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            twice = ", ".join(str(run.folder) for run in members if run.seed == seed)
            said.append(f"runs with the same settings and the seed {seed}, each counted: {twice}")
        settings = {name: members[0].settings.get(name) for name in differing}
        last = [run.last for run in members]
        best = [run.best for run in members if run.best is not None]
        rows.append(TableRow(settings, seeds, _spreads(last, (*_RATED, *_UNRATED)), _spreads(best, tuple(_RATED))))
    rows.sort(key=lambda row: [_order(value) for value in row.settings.values()])
    return RunsTable(tuple(found), tuple(rows), tuple(said))


def check_ending(path: Path) -> None:
    """Raise an ``InputError`` for a file whose ending is not that of a table."""
    if path.suffix.lower() not in (".csv", ".md", ".tex"):
        raise InputError(
            f"a table of runs is written to a file that ends in .csv, .md or .tex, not to {path}",
            code="wrong-file-kind",
        )


def _spreads(epochs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Spread]:
    values = {name: [float(row[name]) for row in epochs if row.get(name) is not None] for name in names}
    return {name: Spread.over(known) for name, known in values.items() if known}


def _order(value: Any) -> tuple[int, Any]:
    """Order missing values first, then numbers, then words."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)


def _text(spread: Spread | None, form: str, scale: float, digits: int) -> str:
    if spread is None:
        return "-"
    mean = f"{scale * spread.mean:.{digits}f}"
    return mean if spread.std is None else form.format(mean, f"{scale * spread.std:.{digits}f}")


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
