"""Curves of training runs, several laid over one another, and the table of their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from spcl.errors import InputError, first_line
from spcl.nested_text import json_of, toml_of
from spcl.pages.charts import NUM_COLOURS, Line, line_chart
from spcl.reporting.metrics_file import read_metrics
from spcl.settings import flat_values
from spcl.settings_checks import check_count
from spcl.training_run.run_file_names import CONFIG_FILE, METRICS_FILE

ADAPTATION_FILE = "adaptation.json"


@dataclass(frozen=True)
class ShownRun:
    """What a run's folder says about it; the run may be unfinished.

    Attributes:
        folder: Folder of the run.
        name: Short name of the run among those of the page.
        settings: All settings by dotted name; empty: there is no file of settings.
        values: The same settings by section, as in the file.
        epochs: Figures of each finished epoch, as in ``metrics.jsonl``.
        adaptation: Result of ``spcl adapt``; None: the run is no adaptation.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]
    values: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    adaptation: Mapping[str, Any] | None = None

    @property
    def planned_epochs(self) -> int:
        """Number of epochs that the settings ask for; 0: unknown."""
        return int(self.settings.get("schedule.epochs", 0))

    @property
    def last(self) -> Mapping[str, Any]:
        """Figures of the last finished epoch; empty: no epoch is finished."""
        return self.epochs[-1] if self.epochs else {}

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Figures of the epoch with the highest mAP; None: no epoch was evaluated."""
        rated = [row for row in self.epochs if row.get("mAP") is not None]
        return max(rated, key=lambda row: float(row["mAP"])) if rated else None


@dataclass(frozen=True)
class CurveChart:
    """A chart of the runs.

    Attributes:
        title: What it shows.
        note: What to look for, in a sentence.
        chart: The lines.
        legend: Name and number of the colour of each line; empty with one line.
    """

    title: str
    note: str
    chart: Markup
    legend: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CurvesSection:
    """Curves of runs.

    Attributes:
        charts: The charts that have values.
        head: Head of the table of epochs; empty with several runs.
        rows: Rows of the table of epochs, as text.
        runs: Last figures of each run, as text by column; empty with one run.
    """

    charts: tuple[CurveChart, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    runs: tuple[Mapping[str, str], ...]


def holds_run(folder: Path) -> bool:
    """Whether a folder holds the settings or the figures of a run."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, METRICS_FILE))


def read_runs(folders: Sequence[Path]) -> tuple[ShownRun, ...]:
    """Read runs, finished or not, with names that distinguish them.

    Raises:
        InputError: If a file cannot be understood.
    """
    return tuple(_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True))


def _names(folders: Sequence[Path]) -> list[str]:
    """Give the last part of each path that distinguishes it from the others."""
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while depth < max(map(len, parts)) and len({each[-depth:] for each in parts}) < len(set(parts)):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def _read(folder: Path, name: str) -> ShownRun:
    try:
        config, metrics, adapted = (folder / file for file in (CONFIG_FILE, METRICS_FILE, ADAPTATION_FILE))
        values = toml_of(config.read_text(encoding="utf-8")) if config.is_file() else {}
        epochs = read_metrics(metrics) if metrics.is_file() else ()
        adaptation = dict(json_of(adapted.read_text(encoding="utf-8"))) if adapted.is_file() else None
        settings = flat_values(values)
        check_count(settings.get("schedule.epochs", 0), "schedule.epochs", 0)
        return ShownRun(folder, name, settings, values, epochs, adaptation)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder}: its files cannot be read ({first_line(error)})", code="damaged-file") from error


def _figure(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    def value(row: Mapping[str, Any]) -> float | None:
        found = row.get(name)
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    return value


_CHARTS = (
    ("mAP", "mAP on the target", "High is good. Measured with labels that the training does not see.", True),
    ("top1", "top-1 on the target", "Share of queries whose most similar gallery image is right.", True),
    ("loss", "Loss", "Low is not always good: few clusters make it low as well.", False),
    ("num_clusters", "Clusters", "Should settle near the number of objects.", False),
    ("num_unclustered", "Un-clustered images", "Should fall, and stay above zero.", False),
    ("label_agreement", "Agreement with the labels of the epoch before", "1: the labels no longer change.", False),
    ("label_score", "Label-free score of the pseudo labels", "High is good; it needs no identities.", False),
    (
        "largest_cluster",
        "Images in the largest cluster",
        "A large share of all images: the clusters have collapsed.",
        False,
    ),
)


def curves_section(runs: Sequence[ShownRun]) -> CurvesSection | None:
    """Draw the curves of runs; None where no run has a finished epoch."""
    if not any(run.epochs for run in runs):
        return None
    charts = []
    for name, title, note, percent in _CHARTS:
        lines = [_line(run.name, run.epochs, _figure(name), at) for at, run in enumerate(runs)]
        charts += _chart(lines, title, note, percent=percent)
    charts += _losses(runs)
    charts += _seconds(runs)
    single = len(runs) == 1
    return CurvesSection(
        charts=tuple(charts),
        head=_HEAD if single else (),
        rows=tuple(_table_row(row) for row in runs[0].epochs) if single else (),
        runs=() if single else tuple(_run_row(run) for run in runs),
    )


def _line(
    name: str, epochs: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float | None], colour: int
) -> Line:
    points = [(float(row.get("epoch") or at), value(row)) for at, row in enumerate(epochs, start=1)]
    return Line(name, points, colour % NUM_COLOURS)


def _chart(lines: Sequence[Line], title: str, note: str, *, percent: bool = False) -> list[CurveChart]:
    shown = [line for line in lines if any(y is not None for _, y in line.points)]
    if not shown:
        return []
    last = "; ".join(f"{line.name}: last {_last(line, percent=percent)}" for line in shown)
    chart = line_chart(shown, title=f"{title} over epochs. {last}", x_title="epoch", percent=percent)
    legend = tuple((line.name, line.colour) for line in shown) if len(lines) > 1 else ()
    return [CurveChart(title, note, chart, legend)]


def _last(line: Line, *, percent: bool) -> str:
    value = next(y for _, y in reversed(list(line.points)) if y is not None)
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"


def _losses(runs: Sequence[ShownRun]) -> list[CurveChart]:
    """Draw the losses of one run by domain and term, where there are several."""
    if len(runs) != 1:
        return []
    names: dict[str, Callable[[Mapping[str, Any]], float | None]] = {}
    for row in runs[0].epochs:
        for domain, value in dict(row.get("losses") or {}).items():
            if isinstance(value, Mapping):
                continue
            names.setdefault(domain, _nested("losses", domain))
        for domain, terms in dict(row.get("loss_terms") or {}).items():
            for term in terms if isinstance(terms, Mapping) else ():
                names.setdefault(f"{domain}: {term}", _nested("loss_terms", domain, term))
    if len(names) < 2:
        return []
    lines = [_line(name, runs[0].epochs, value, at) for at, (name, value) in enumerate(names.items())]
    return _chart(lines, "Losses by domain and term", "Weighted as they are summed.")


def _seconds(runs: Sequence[ShownRun]) -> list[CurveChart]:
    stages = list(
        dict.fromkeys(stage for run in runs for row in run.epochs for stage in dict(row.get("seconds") or {}))
    )
    if len(runs) == 1:
        lines = [_line(stage, runs[0].epochs, _nested("seconds", stage), at) for at, stage in enumerate(stages)]
    else:
        lines = [_line(run.name, run.epochs, _all_seconds, at) for at, run in enumerate(runs)]
    title = "Seconds of each stage" if len(runs) == 1 else "Seconds of an epoch"
    return _chart(lines, title, "Time of labelling, training and evaluation.")


def _all_seconds(row: Mapping[str, Any]) -> float | None:
    stages = dict(row.get("seconds") or {})
    return float(sum(stages.values())) if stages else None


def _nested(*names: str) -> Callable[[Mapping[str, Any]], float | None]:
    def value(row: Mapping[str, Any]) -> float | None:
        found: Any = row
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) else None

    return value


_HEAD = ("epoch", "loss", "clusters", "un-clustered", "agreement", "mAP", "top-1", "seconds")


def _table_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row.get("epoch", "")),
        number_text(row.get("loss"), 3),
        number_text(row.get("num_clusters"), 0),
        number_text(row.get("num_unclustered"), 0),
        number_text(row.get("label_agreement"), 2),
        percent_text(row.get("mAP")),
        percent_text(row.get("top1")),
        number_text(_all_seconds(row), 1),
    )


def _run_row(run: ShownRun) -> dict[str, str]:
    best = run.best
    return {
        "run": run.name,
        "epochs": f"{len(run.epochs)} of {run.planned_epochs}" if run.planned_epochs else str(len(run.epochs)),
        "last mAP": percent_text(run.last.get("mAP")),
        "best mAP": "-" if best is None else f"{percent_text(best['mAP'])} (epoch {best.get('epoch', '?')})",
        "last top-1": percent_text(run.last.get("top1")),
        "clusters": number_text(run.last.get("num_clusters"), 0),
        "un-clustered": number_text(run.last.get("num_unclustered"), 0),
        "loss": number_text(run.last.get("loss"), 3),
    }


def number_text(value: Any, digits: int) -> str:
    """Write a figure with some digits; "-" where it is unknown."""
    return f"{float(value):,.{digits}f}" if isinstance(value, int | float) else "-"


def percent_text(value: Any) -> str:
    """Write a share in percent; "-" where it is unknown."""
    return f"{100 * float(value):.1f} %" if isinstance(value, int | float) else "-"
