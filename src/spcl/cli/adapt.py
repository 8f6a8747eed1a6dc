"""``spcl adapt``: an encoder that fails on a user's own cameras learns from their crops, without labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from spcl.adaptation.settings import AdaptationSettings
from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.cli.report import check_report_place, print_report_of_run
from spcl.data.table_checks import check_tables
from spcl.data.table_options import TableOptions
from spcl.inference.encode_options import EncodeOptions
from spcl.launched import is_main_process
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter, duration
from spcl.tracking.trackers import tracker_names, with_trackers

if TYPE_CHECKING:
    from rich.console import Console

    from spcl.adaptation.result import Adaptation
    from spcl.grouping.label_free_quality import LabelFreeQuality


@dataclass(frozen=True)
class Adapt(ComputingOptions):
    """Adapt an encoder to your own crops without labels; if the new encoder is worse, the old one is kept.

    The checkpoint is never changed: adapted.pth.tar in the log folder is the better of the two encoders.
    """

    usage: ClassVar[str] = "CHECKPOINT IMAGES [options]"
    example: ClassVar[str] = "spcl adapt model_best.pth.tar crops --logs-dir runs/adapted"

    checkpoint: tyro.conf.Positional[str]
    """The encoder to start from: a checkpoint of ours or of the official scripts."""
    images: tyro.conf.Positional[str]
    """The crops: a folder with all below it, a table or a registered name. Identities are never read."""
    settings: Annotated[AdaptationSettings, tyro.conf.arg(name="")] = field(default_factory=AdaptationSettings)
    resume: bool = False
    """Continue the adaptation in the log folder."""
    # torchrun takes --log for an abbreviation of one of its own flags.
    log: Annotated[str, tyro.conf.arg(aliases=["--trackers"])] = ""
    """Send figures and pictures to experiment trackers: tensorboard, mlflow, wandb, trackio; several as a,b."""
    report: str = ""
    """Also write a report of the run to this HTML file, as spcl report does. Its images are encoded once more."""
    json: bool = False
    """Print the result as JSON."""

    def check(self) -> None:
        """Check the shared options, then that the trackers are installed."""
        super().check()
        tracker_names(self.log)
        check_report_place(self.report)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl adapt`` with these words."""
    options = parsed(Adapt, arguments, "spcl adapt", flat=True)

    tables = filter(None, (options.images, options.settings.evaluate))
    check_tables(*tables, options=TableOptions(options.settings.columns), with_times=False)

    from spcl.adaptation.adapt import AdaptationRequest, adapt_encoder
    from spcl.runtime import end_processes

    speaks = is_main_process() and not options.json
    report: Reporter = ConsoleReporter() if speaks else SilentReporter()
    request = AdaptationRequest(options.checkpoint, options.images, options.settings, options.resume)
    log = tracker_names(options.log) if is_main_process() else ()
    outcome = adapt_encoder(request, report=with_trackers(report, log))
    end_processes()
    if options.json and is_main_process():
        print(json.dumps(outcome.to_dict()))
    elif isinstance(report, ConsoleReporter):
        _show(outcome, report)
    settings = options.settings
    encoding = EncodeOptions(workers=settings.workers, device=settings.device, precision=settings.precision)
    print_report_of_run(Path(settings.logs_dir), options.report, report, encoding)


def _show(outcome: Adaptation, report: ConsoleReporter) -> None:
    """The table, and what is to be done with it."""
    from rich.table import Table

    from spcl.adaptation.result import REPORT_FILE

    where = "held-back" if outcome.held_back else "training"
    table = Table(title=f"Measured on {outcome.num_rated} {where} crops, without labels")
    for column in ("", "before", "after"):
        table.add_column(column, justify="right" if column else "left")
    for row in _rows(outcome.before, outcome.after):
        table.add_row(*row)
    if outcome.evaluation is not None:
        before, after = outcome.evaluation["before"], outcome.evaluation["after"]
        table.add_section()
        for name, key in (("mAP on the labelled data", "mAP"), ("top-1 on the labelled data", "top1")):
            table.add_row(name, _percent(before[key]), _percent(after[key]))
    console: Console = report.console
    console.print(table)
    if outcome.num_clusters == 0:
        report.warn(
            "no clusters: the encoder had nothing to learn from; start from another checkpoint, or use --recipe spcl "
            "with a larger --eps (docs/adapt.md)"
        )
    report.say(outcome.verdict.words)
    kept = "the new encoder" if outcome.verdict.keeps_new else "the old encoder, unchanged"
    report.say(f"kept: {kept}: {outcome.path}")
    report.say(f"figures: {outcome.path.parent / REPORT_FILE}   ({duration(outcome.seconds)} in all)")


def _rows(before: LabelFreeQuality, after: LabelFreeQuality) -> list[tuple[str, str, str]]:
    def row(name: str, write: Any, key: str) -> tuple[str, str, str]:
        return name, write(getattr(before, key)), write(getattr(after, key))

    return [
        row("augmented copies that find their original or a near duplicate", _percent, "found_again"),
        row("neighbours on which both halves of the feature agree", _percent, "half_agreement"),
        row("nearest neighbours that are mutual", _percent, "mutual_neighbours"),
        row("mutual neighbours from another camera, against chance", _percent, "across_cameras"),
        row("clusters", str, "num_clusters"),
        row("crops in a cluster", _percent, "share_clustered"),
        row("clusters unchanged when made tighter or looser", _percent, "scale_stability"),
        row("silhouette of the clusters (-1 to 1)", _number, "silhouette"),
        row("directions that the features use", lambda value: f"{value:.0f}", "effective_dimensions"),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
