"""Whose image is it: the identities of a gallery, enrolled from its vectors in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spcl.engine.calibrate import stored_calibration
from spcl.engine.journal import Reporter, SilentReporter
from spcl.errors import InputError
from spcl.retrieval.identification import MOST_SCORED, Enrolled, IdentitySums

if TYPE_CHECKING:
    from spcl.gallery.reading import ReadableGallery

HAS_IDENTITY = "identity is not null"
"""The filter of images whose identity is known."""


def enrolled_identities(gallery: ReadableGallery, where: str | None = None, report: Reporter | None = None) -> Enrolled:
    """The identities of a gallery's images, to name others by.

    Args:
        gallery: Opened with its encoder, if the encoder's calibration is to help where identities are few.
        where: A filter that images must pass.
        report: Shows progress.

    Returns:
        Enrolled: as of now; images that are added later are not in it.

    Raises:
        InputError: If the filter cannot be used, or no image that passes has an identity.

    Cost: one pass over the vectors; memory for the identities' means and some 20,000 vectors.
    """
    condition = HAS_IDENTITY if where is None else f"({where}) and {HAS_IDENTITY}"
    sums = IdentitySums(gallery.dim)
    total = gallery.count(condition)
    every = max(1, total // MOST_SCORED)
    sample, names = [], []
    seen = 0
    with (report or SilentReporter()).progress("enrolling identities") as advance:
        for batch in gallery.read(("identity",), condition):
            identities = batch.columns["identity"]
            sums.add(batch.features, identities)
            chosen = np.arange(-seen % every, len(identities), every)
            sample.append(batch.features[chosen])
            names += [identities[row] for row in chosen.tolist()]
            seen += len(identities)
            advance(seen, total)
    if not seen:
        raise InputError(
            f"no image of the gallery has an identity{' and passes the filter' if where else ''}: add "
            "images with identities (spcl embed --gallery with a table's column identity, or --identity-from folder)"
        )
    calibration = None if gallery.encoder is None else stored_calibration(gallery.encoder)
    if calibration is not None and gallery.flip not in (None, calibration.flip):
        calibration = None  # of other features
    return sums.enrolled(np.concatenate(sample), names, pairs=None if calibration is None else calibration.calibration)
