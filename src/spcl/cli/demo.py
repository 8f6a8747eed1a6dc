"""``spcl demo``: the main job on built-in images, from a clean studio to a street without labels.

Encoders are rated on the street: the untrained one (ImageNet weights), one trained on the labelled studio alone, and
three trained on both in the same number of steps: by the paper's recipe, by spcl-plus, and with true labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.demo.run_demo import ENCODERS, DemoRequest, DemoResult, run_demo
from spcl.reporting.console import ConsoleReporter, duration


@dataclass(frozen=True)
class Demo(ComputingOptions):
    """Run the main task on built-in images: adapt an encoder from a labelled studio to a street without labels.

    Writes summary.json, the picture ranked.png and the runs themselves. A demo that was stopped continues.
    """

    usage: ClassVar[str] = "[options]"
    example: ClassVar[str] = "spcl demo --out runs/demo"

    request: Annotated[DemoRequest, tyro.conf.arg(name="")] = field(default_factory=DemoRequest)
    json: bool = False
    """Print the figures as JSON."""

    def check(self) -> None:
        """Check the shared options, then the numbers of images."""
        super().check()
        self.request.check()


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl demo`` with these words."""
    options = parsed(Demo, arguments, "spcl demo", flat=True)
    if options.json:
        print(json.dumps(run_demo(options.request).to_dict()))
        return
    report = ConsoleReporter()
    print_demo(run_demo(options.request, report=report), report)


def print_demo(result: DemoResult, report: ConsoleReporter) -> None:
    """Print the figures of the encoders on the street as a table, and the files."""
    from rich.table import Table

    table = Table(title="On the street")
    for column in ("encoder", "mAP", "top-1", "top-5", "seconds"):
        table.add_column(column, justify="left" if column == "encoder" else "right")
    for name, title in ENCODERS.items():
        row = result.figures[name]
        took = result.seconds.get(name)
        table.add_row(
            title,
            *(f"{100 * row[key]:.1f}%" for key in ("mAP", "top1", "top5")),
            "-" if took is None else f"{took:.0f}",
        )
    report.console.print(table)
    report.say(f"picture: {result.picture}")
    report.say(f"figures: {result.folder / 'summary.json'}   ({duration(result.seconds['all'])} in all)")
