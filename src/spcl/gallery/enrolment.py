"""Whose image is it: the identities of a gallery, enrolled from its vectors in one pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spcl.data.placeholders import without_placeholders
from spcl.errors import InputError
from spcl.gallery.columns import VECTOR, vectors_of
from spcl.gallery.snapshot import Snapshot
from spcl.inference.embedding import Encoder
from spcl.reporting.console import Reporter, SilentReporter
from spcl.verification.calibrate import stored_calibration
from spcl.verification.identification import MOST_SCORED, Enrolled, IdentitySums

HAS_IDENTITY = "identity is not null"
"""The filter of images whose identity is known."""


def enrol(snapshot: Snapshot, condition: str, total: int, report: Reporter | None = None) -> Enrolled:
    """Enrol the images of one version of a gallery.

    Args:
        snapshot: Snapshot of the gallery.
        condition: A filter, as the store takes it, that only images with an identity pass.
        total: Number of images that pass it, at least 1.
        report: Receives progress.

    Returns:
        Enrolled, without a calibration.

    Raises:
        InputError: If every identity is a word for "not known".

    Cost: one pass over the vectors; memory for the identities' means and some 20,000 vectors.
    """
    sums = IdentitySums(snapshot.dim)
    every = max(1, total // MOST_SCORED)
    sample, names = [], []
    seen = 0
    with (report or SilentReporter()).progress("enrolling identities") as advance:
        for _, batch in snapshot.scan([VECTOR, "identity"], condition):
            identities = without_placeholders(batch.column("identity").to_pylist())[0]
            # Galleries from before words for "not known" were recognised hold them as names.
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
        raise InputError(f"{error}: all identities are words for 'not known'") from error


def with_calibration(enrolled: Enrolled, encoder: Encoder | None, flip: bool | None) -> Enrolled:
    """The enrolled with the calibration of their encoder, where it is of features such as theirs."""
    calibration = None if encoder is None else stored_calibration(encoder)
    if calibration is None or flip not in (None, calibration.flip):
        return enrolled
    return replace(enrolled, pairs=calibration.calibration)
