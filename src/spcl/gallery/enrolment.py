"""Enrolment: the mean vector of each identity of a gallery, from one pass over its vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spcl.data.placeholders import without_placeholders
from spcl.errors import InputError
from spcl.gallery.columns import VECTOR, vectors_of
from spcl.gallery.snapshot import Snapshot
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.verification.identification import MOST_SCORED, Enrolled, IdentitySums
from spcl.verification.stored_calibration import stored_calibration

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder

HAS_IDENTITY = "identity is not null"
"""The filter of images whose identity is known."""


def enrol(snapshot: Snapshot, condition: str, total: int, report: Reporter | None = None) -> Enrolled:
    """Enrol the images of one version of a gallery.

    Args:
        snapshot: Snapshot of the gallery.
        condition: A checked filter that only images with an identity pass.
        total: Number of images that pass it, at least 1.
        report: Receives progress.

    Returns:
        Enrolled, without a calibration.

    Raises:
        InputError: If every identity is a word for an unknown one, such as ``unknown`` or ``-1``.

    Cost: one pass over the vectors; memory for the identities' means and some 20,000 vectors.
    """
    sums = IdentitySums(snapshot.dim)
    every = max(1, total // MOST_SCORED)
    sample, names = [], []
    seen = 0
    with (report or LoggingReporter()).progress("enrolling identities") as advance:
        for _, batch in snapshot.scan([VECTOR, "identity"], condition):
            identities = without_placeholders(batch.column("identity").to_pylist())[0]
            # Galleries of spcl 0.1.0 may hold words such as "unknown" as identities.
            named = [row for row, identity in enumerate(identities) if identity is not None]
            features = vectors_of(batch.column(VECTOR), snapshot.dim)
            if len(named) < len(identities):
                features, identities = features[named], [identities[row] for row in named]
            sums.add(features, identities)
            chosen = np.arange(-seen % every, len(identities), every)
            sample.append(features[chosen])
            names += [identities[row] for row in chosen.tolist()]
            seen += len(identities)
            advance(seen, total)
    try:
        return sums.enrolled(np.concatenate(sample), names)
    except ValueError as error:
        raise InputError(
            f"{error}: every identity is a word for an unknown one, such as 'unknown' or '-1'", code="no-identities"
        ) from error


def identities_of(snapshot: Snapshot) -> list[str]:
    """Read the names of all identities of one version of a gallery, sorted; words for unknown ones included."""
    names: set[str] = set()
    for _, batch in snapshot.scan(["identity"], HAS_IDENTITY):
        names.update(batch.column("identity").unique().to_pylist())
    return sorted(names)


def with_calibration(enrolled: Enrolled, encoder: Encoder | None, flip: bool) -> Enrolled:
    """Add the encoder's calibration to the enrolled, if it is of features with the same ``flip``."""
    calibration = None if encoder is None else stored_calibration(encoder)
    if calibration is None or flip != calibration.flip:
        return enrolled
    return replace(enrolled, pairs=calibration.calibration)
