"""``spcl ask``: pairs of images whose answer changes the groups of ``spcl cluster`` the most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from spcl.cli.options import EncodingOptions, at_least, parsed
from spcl.questions.ask import AskRequest, AskResult, ask
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Ask(EncodingOptions):
    """Choose the pairs of images to look at: those whose answer is expected to improve the groups the most.

    Writes questions.png, a picture of the pairs, and questions.csv, a table to fill in with same, different or unsure.
    spcl correct FOLDER answers FILE takes it.
    """

    usage: ClassVar[str] = "FOLDER [options]"
    example: ClassVar[str] = "spcl ask groups -n 20"

    folder: tyro.conf.Positional[str]
    """The folder of spcl cluster."""
    num: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 20
    """Number of questions."""
    overwrite: bool = False
    """Replace questions that have answers."""
    seed: int = 0
    """Seed of the random draw of pairs from which probabilities are estimated."""
    json: bool = False
    """Print the questions as JSON."""

    def check(self) -> None:
        """Check the shared options, then the number of questions."""
        super().check()
        at_least("--num", self.num, 1)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl ask`` with these words."""
    options = parsed(Ask, arguments, "spcl ask")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = AskRequest(
        options.folder, options.num, overwrite=options.overwrite, seed=options.seed, encoding=options.encoding()
    )
    result = ask(request, report=report)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_questions(result, report)


def print_questions(result: AskResult, report: Reporter) -> None:
    """Print where the questions are, and what to do with them."""
    if result.broken:
        report.warn(f"{len(result.broken)} image(s) could not be read; the first: {result.broken[0][0]}")
    if result.table is None:
        report.say("no question is worth asking: no two groups are likely to be one object, and no group to be two")
        return
    likely = sum(one.probability for one in result.questions)
    report.say(f"{len(result.questions)} questions; about {likely:.0f} of the pairs show one object")
    report.say(f"look at {result.sheet}, and write same, different or unsure into the column answer of {result.table}")
    report.say(f"then: spcl correct {result.groups.folder} answers {result.table}")
