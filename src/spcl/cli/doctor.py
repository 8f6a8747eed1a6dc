"""``spcl doctor``: whether the installation and this machine work, and what to do where they do not."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.doctor.doctor import ExaminationRequest, examine
from spcl.doctor.findings import Diagnosis
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

FAILED_CODE = 2
"""Exit code where a part that is needed does not work."""

_MARKS = {"ok": "ok", "note": "note", "failed": "FAILED"}
_WIDTH = 100


@dataclass(frozen=True)
class Doctor(ComputingOptions):
    """Examine the installation and this machine: packages, device, precision, a small training, disk, weights.

    It takes some seconds, once after an installation about a minute, and leaves nothing behind. The exit code is 0 if
    everything that is needed works, 2 if not; optional packages that are missing are notes.
    """

    usage: ClassVar[str] = "[FOLDER] [options]"
    example: ClassVar[str] = "spcl doctor --json"

    folder: tyro.conf.Positional[str] = "."
    """Folder in which runs and galleries are to be written; its disk is examined."""
    device: str = "auto"
    """cpu, cuda, cuda:N or mps; auto: a GPU where there is one."""
    json: bool = False
    """Print the findings as JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl doctor`` with these words."""
    options = parsed(Doctor, arguments, "spcl doctor")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    found = examine(ExaminationRequest(Path(options.folder), options.device), report)
    if options.json:
        print(json.dumps(found.to_dict()))
    else:
        print_diagnosis(found)
    if found.failed:
        raise SystemExit(FAILED_CODE)


def print_diagnosis(found: Diagnosis) -> None:
    """Print each finding with its next step, and the answer."""
    for finding in found.findings:
        first = f"{_MARKS[finding.status]:<7} {finding.part}: "
        indent = " " * 8
        print("\n".join(textwrap.wrap(first + finding.text, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)))
        if finding.next_step:
            print(f"{indent}-> {finding.next_step}")
    failed = ", ".join(finding.part for finding in found.failed)
    print(f"\nnot everything works: {failed}" if failed else "\neverything that is needed works")
