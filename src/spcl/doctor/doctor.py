"""The examination: every part, one after the other, each with a finding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spcl.doctor.disk import disk
from spcl.doctor.findings import Diagnosis, Finding
from spcl.doctor.packages import ImportedPackages, extra_packages, needs_of_spcl, optional_modules, own_packages
from spcl.errors import InputError, first_line
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import SilentReporter


@dataclass(frozen=True)
class ExaminationRequest:
    """What to examine.

    Attributes:
        folder: Folder in which runs and galleries are to be written.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """

    folder: Path = Path()
    device: str = "auto"


def examine(request: ExaminationRequest | None = None, report: Reporter | None = None) -> Diagnosis:
    """Examine the installation, the machine and the disk. Nothing is left behind.

    Args:
        request: What to examine; None: the current folder, the device that a training would take.
        report: Receives progress.

    Returns:
        Diagnosis: a finding for each part. A part that fails does not keep the others from being looked at.
    """
    request, report = request or ExaminationRequest(), report or SilentReporter()
    needs = needs_of_spcl()
    imported = ImportedPackages(optional_modules(needs))
    try:
        found = [own_packages(needs), disk(request.folder), *_computing(request, report)]
        with report.progress("optional packages") as advance:
            problems = imported.problems()
            advance(1, 1)
    finally:
        imported.stop()
    return Diagnosis((*found, *extra_packages(needs, problems)))


def _computing(request: ExaminationRequest, report: Reporter) -> list[Finding]:
    """The findings of what needs torch; one that says so where torch cannot be loaded."""
    try:
        from spcl.doctor.machine import device, precisions, processor
        from spcl.doctor.small_training import label_stage, small_training
        from spcl.doctor.weights import weights
    except InputError as error:
        return [Finding("torch", "failed", first_line(error), "install it anew: pip install --force-reinstall torch")]
    except (ImportError, OSError, RuntimeError) as error:
        text = f"a package that is needed does not load: {type(error).__name__}: {first_line(error)}"
        return [Finding("torch", "failed", text, "install it anew: pip install --force-reinstall PACKAGE")]
    chosen, runtime = device(request.device)
    found = [processor(), chosen]
    if runtime is not None:
        found += [precisions(runtime), small_training(runtime, report)]
    return [*found, label_stage(report), weights()]
