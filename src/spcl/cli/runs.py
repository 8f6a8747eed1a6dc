"""``spcl runs``: a table of what finished runs have reached."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.errors import InputError
from spcl.experiments.table import check_ending, runs
from spcl.printable import printable


@dataclass(frozen=True)
class Runs(ComputingOptions):
    """Compare finished runs in a table: mean and standard deviation of mAP and top-1, for the last and the best epoch.

    Each row of the table is a group of runs that differ only in their seed.
    """

    usage: ClassVar[str] = "FOLDER ... [options]"
    example: ClassVar[str] = "spcl runs runs/* -o table.tex"

    folders: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs, or folders that hold runs."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Also write the table to this file: .csv, .md or .tex. A file that exists is replaced."""
    json: bool = False
    """Print the table as JSON."""

    def check(self) -> None:
        """Check the shared options, then that there are folders, and the file's ending."""
        super().check()
        if not self.folders:
            raise InputError("no folder is given; expected for example spcl runs runs/*", code="missing-argument")
        if self.output:
            check_ending(Path(self.output))


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl runs`` with these words."""
    options = parsed(Runs, arguments, "spcl runs")
    table = runs(*options.folders)
    if options.output:
        table.write(options.output)
    if options.json:
        print(json.dumps(table.to_dict()))
        return
    for note in table.notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    print(printable(table.to_markdown()), end="")
    if options.output:
        print(f"table: {options.output}")
