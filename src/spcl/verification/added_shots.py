"""Enrolled identities with further shots: the means change at once, the scores of the threshold stay.

The scores that the threshold comes from are those of the images that were enrolled before; they are computed again by
``IdentitySums.enrolled``. Until then the false-match rate is that of slightly fewer identities.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spcl.verification.identification import Enrolled

_KEPT = ("_own", "_knows_own")
"""Computed properties of ``Enrolled`` that depend on the scores only."""


def with_shots(enrolled: Enrolled, features: NDArray[np.float32], identities: Sequence[Hashable]) -> Enrolled:
    """Add shots to identities that are enrolled, and enrol new ones.

    Args:
        enrolled: The enrolled identities; they are not changed.
        features: ``[n, D]`` unit rows.
        identities: Identity of each row.

    Returns:
        Enrolled, whose means, counts and lengths are those of all shots together.

    Cost: a copy of the means.
    """
    places = {identity: place for place, identity in enumerate(enrolled.identities)}
    rows = [places.setdefault(identity, len(places)) for identity in identities]
    num_new = len(places) - len(enrolled.identities)
    means = np.concatenate([enrolled.means, np.zeros((num_new, enrolled.means.shape[1]), dtype=np.float32)])
    counts = np.concatenate([enrolled.counts, np.zeros(num_new, dtype=np.int64)])
    lengths = np.concatenate([enrolled.lengths, np.zeros(num_new)])
    for place in sorted(set(rows)):
        own = np.flatnonzero(np.asarray(rows) == place)
        total = means[place].astype(np.float64) * (lengths[place] * counts[place])
        total += features[own].sum(axis=0, dtype=np.float64)
        norm = float(np.linalg.norm(total))
        counts[place] += len(own)
        lengths[place] = norm / counts[place]
        means[place] = (total / max(norm, 1e-12)).astype(np.float32)
    grown = replace(enrolled, identities=tuple(places), means=means, counts=counts, lengths=lengths)
    for name in _KEPT:
        if name in vars(enrolled):
            vars(grown)[name] = vars(enrolled)[name]
    return grown
