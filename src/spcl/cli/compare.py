"""``spcl compare``: do two images show one object?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from spcl.cli.options import ComputingOptions, checked_rate, parsed
from spcl.engine.journal import ConsoleReporter, Reporter
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.compare import Comparison

_WORDS = {
    "same": "the same object",
    "different": "different objects",
    "unsure": "unsure: too similar for different objects, not similar enough for one",
}


@dataclass(frozen=True)
class Compare(ComputingOptions):
    """Compare two images: similarity and, after spcl calibrate, the probability that both show one object."""

    checkpoint: tyro.conf.Positional[str]
    """The checkpoint: model_best.pth.tar, say."""
    first: tyro.conf.Positional[str]
    """An image."""
    second: tyro.conf.Positional[str]
    """Another image."""
    false_match_rate: float = 0.01
    """Share of pairs of different objects that may be called the same."""
    domain: Literal["target", "source"] = "target"
    """Whose batch norm is used, for a checkpoint that was trained with a source."""
    arch: str = ""
    """The architecture, where the checkpoint does not tell."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    json: bool = False
    """Print the answer as JSON."""

    def check(self) -> None:
        """As for all; and the rate, and that there are two images."""
        super().check()
        checked_rate(self.false_match_rate)
        for given in (self.first, self.second):
            if Path(given).is_dir():
                raise InputError(f"{given} is a folder; give one image")


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl compare`` with these words."""
    options = parsed(Compare, arguments, "spcl compare")

    from spcl.engine.compare import compare
    from spcl.engine.embed import load_encoder
    from spcl.runtime import Runtime

    device = Runtime(options.device).device
    encoder = load_encoder(options.checkpoint, arch=options.arch or None, domain=options.domain).to(device)
    found = compare(encoder, Path(options.first), Path(options.second), false_match_rate=options.false_match_rate)
    if options.json:
        print(json.dumps(found.to_row()))
        return
    _tell(found, options, ConsoleReporter())


def _tell(found: Comparison, options: Compare, report: Reporter) -> None:
    report.say(f"similarity   {found.similarity:.3f}")
    if found.verdict is not None and found.probability is not None and found.threshold is not None:
        report.say(f"probability  {found.probability:.3f} that both show one object, if that is as likely as not")
        report.say(f"verdict      {_WORDS[found.verdict]}")
        report.say(
            f"             (one object from {found.threshold:.3f} on: false-match rate {found.false_match_rate:g}, "
            f"calibrated {'with' if found.origin == 'labels' else 'without'} labels)"
        )
    if found.warning is not None:
        report.warn(found.warning)
    if found.verdict is None:
        report.say(
            "What that means is not known for this checkpoint yet: spcl calibrate CHECKPOINT IMAGES finds it out, from "
            "images like these that it was not trained on."
        )
