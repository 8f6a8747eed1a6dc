"""Two encoders on the same queries and gallery, for a page that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.pages.encoded import encoded
from spcl.pages.page_runs import checkpoint_of_run, source_of_run
from spcl.pages.run_curves import ShownRun, holds_run, read_runs
from spcl.pages.run_settings import settings_of_runs
from spcl.pages.shown_images import ReadSource, read_source, rows_of
from spcl.pages.subjects import Subject
from spcl.reporting.console import Reporter


def read_comparison(
    places: Sequence[Path], data: str, options: SourceOptions, encoding: EncodeOptions, report: Reporter
) -> Subject:
    """Encode the same queries and gallery with two encoders.

    Args:
        places: Two runs or checkpoints.
        data: Labelled images; empty: the target of the first run that names one.
        options: How the source is read.
        encoding: How images are read; each encoder is that of its run or checkpoint.
        report: Receives progress.

    Raises:
        InputError: If an encoder or the images cannot be used, or the images have no labels.
    """
    if not encoding.encoder.is_open:
        raise InputError(
            "--compare takes the encoders of both runs; leave the flags of an encoder out", code="option-contradiction"
        )
    runs = read_runs([place for place in places if holds_run(place)])
    checkpoints = [checkpoint_of_run(place) if holds_run(place) else place for place in places]
    read = _source(runs, data, options)
    if read.dataset is None:
        raise InputError(
            f"the encoders cannot be compared query by query: {read.reason}. Give labelled images with --data",
            code="no-identities",
        )
    found = [encoded(read.images, encoding, report, checkpoint=checkpoint) for checkpoint in checkpoints]
    first, second = found[0].images, found[1].images
    both = rows_of(second, first.records)
    first = first.rows([row for row, other in enumerate(both.tolist()) if other >= 0])
    second = second.rows([row for row in both.tolist() if row >= 0])
    names = [run.name for run in runs] if len(runs) == 2 else [str(place) for place in places]
    return Subject(
        title=f"{names[0]} and {names[1]}",
        about="results",
        place=", ".join(map(str, places)),
        runs=runs,
        settings=settings_of_runs(runs) if runs else None,
        images=replace(second, broken=first.broken),
        dataset=read.dataset,
        encoder=found[1].encoder,
        before=first,
        names=(names[0], names[1]),
    )


def _source(runs: Sequence[ShownRun], data: str, options: SourceOptions) -> ReadSource:
    """Read the labelled images on which the encoders are compared."""
    if data and not runs:
        return read_source(data, options, draw_queries=True)
    targets = {str(run.settings.get("data.target", "")) for run in runs}
    if not data and len(targets) > 1:
        raise InputError(
            f"the runs have different targets ({', '.join(sorted(targets))}); give the images with --data",
            code="option-contradiction",
        )
    if not runs:
        raise InputError("the images to compare on are missing; give them with --data", code="missing-argument")
    return source_of_run(runs[0], data, options, draw_queries=True)
