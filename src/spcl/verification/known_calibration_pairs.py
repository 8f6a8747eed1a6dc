"""Pairs for a calibration that are known without labels: images of one track, and of simultaneous tracks.

A track shows one object and simultaneous tracks show two, whatever the encoder says of them; clusters are only right
where the encoder is. Images of simultaneous tracks are of one camera, so that they are more similar than pairs of
different objects in general: rates of false matches are then those within a camera, and thresholds are stricter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.pairs.constraints import PairConstraints
from spcl.verification.pairs import NO_GROUP, same_pairs


def pairs_of_one_object(
    constraints: PairConstraints | None, cameras: NDArray[np.int64], *, most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pairs of images that must-links make one object.

    Args:
        constraints: Known pairs of N images; None: none.
        cameras: ``[N]`` int64, camera of each image, -1 unknown; pairs of two cameras are preferred.
        most: Largest number of pairs.
        rng: Generator of the random draw, which is used only where there are must-links.

    Returns:
        ``[P, 2]`` int64 row numbers, each pair once, the smaller first.
    """
    if constraints is None:
        return np.empty((0, 2), dtype=np.int64)
    several = constraints.sizes[constraints.nodes] > 1
    return same_pairs(np.where(several, constraints.nodes, NO_GROUP), cameras, most=most, rng=rng)


def pairs_of_two_objects(
    constraints: PairConstraints | None, *, most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pairs of images of two objects that a cannot-link keeps apart.

    Args:
        constraints: Known pairs of N images; None: none.
        most: Largest number of pairs.
        rng: Generator of the random draw, which is used only where there are more pairs than ``most``.

    Returns:
        ``[P, 2]`` int64 row numbers, each pair once, the smaller first: all such pairs, or about ``most`` of them,
        every one with equal probability.
    """
    if constraints is None or not len(constraints.cannot_link):
        return np.empty((0, 2), dtype=np.int64)
    order = np.argsort(constraints.nodes, kind="stable")
    starts = np.cumsum(constraints.sizes) - constraints.sizes
    first, second = constraints.cannot_link[:, 0], constraints.cannot_link[:, 1]
    ends = np.cumsum(constraints.sizes[first] * constraints.sizes[second])
    total = int(ends[-1])
    places = np.arange(total) if total <= most else np.unique(rng.integers(total, size=most))
    link = np.searchsorted(ends, places, side="right")
    inside = places - np.concatenate([[0], ends[:-1]])[link]
    width = constraints.sizes[second[link]]
    rows = np.stack(
        [order[starts[first[link]] + inside // width], order[starts[second[link]] + inside % width]], axis=1
    )
    return np.sort(rows, axis=1).astype(np.int64)
