"""Pairs of images, drawn from groups: two of one group, preferably of two cameras, and two of different groups.

Groups are identities, or clusters in their place. The number of pairs is bounded for any number of images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NO_GROUP = -1
"""The group of an image without one, which is in no pair; also the value of an unknown camera."""


_ENOUGH_ACROSS = 200


def same_pairs(
    groups: NDArray[np.int64], cameras: NDArray[np.int64], *, most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pairs of images of one group.

    Args:
        groups: ``[N]`` int, group of each image, -1 none.
        cameras: ``[N]`` int, camera of each image, -1 unknown.
        most: Largest number of pairs.
        rng: Generator of the random draw.

    Returns:
        ``[P, 2]`` int64 row numbers, each pair once, the smaller first. An image is drawn, then another of its group,
        so that large groups count by their images, not by their squares. Only pairs of two cameras are kept if these
        are at least 200 or half of all; fewer would depend on too few images.
    """
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] != NO_GROUP]
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    first_place = np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    places = np.flatnonzero(size > 1)
    if not len(places) or most < 1:
        return np.empty((0, 2), dtype=np.int64)
    # Twice as many are drawn: about half are of two cameras.
    drawn = places[rng.integers(len(places), size=2 * most)]
    step = 1 + (rng.random(len(drawn)) * (size[drawn] - 1)).astype(np.int64)
    other = first_place[drawn] + (drawn - first_place[drawn] + step) % size[drawn]
    pairs = _unique(order[drawn], order[other])
    across = (cameras[pairs] != NO_GROUP).all(axis=1) & (cameras[pairs[:, 0]] != cameras[pairs[:, 1]])
    enough = across.sum() >= min(_ENOUGH_ACROSS, max(1, len(pairs) // 2))
    return _at_most(pairs[across] if enough else pairs, most, rng)


def different_pairs(groups: NDArray[np.int64], *, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw pairs of images of two groups, every such pair with equal probability.

    Args:
        groups: ``[N]`` int, group of each image, -1 none.
        most: Largest number of pairs.
        rng: Generator of the random draw.

    Returns:
        ``[P, 2]`` int64 row numbers, each pair once, the smaller first.
    """
    rows = np.flatnonzero(groups != NO_GROUP)
    if len(rows) < 2 or most < 1:
        return np.empty((0, 2), dtype=np.int64)
    drawn = rows[rng.integers(len(rows), size=(2 * most, 2))]
    drawn = drawn[groups[drawn[:, 0]] != groups[drawn[:, 1]]]
    return _at_most(_unique(drawn[:, 0], drawn[:, 1]), most, rng)


def pair_similarities(features: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the similarity of the two images of each pair, ``[P]``, from ``[N, D]`` unit rows, in blocks."""
    similarities = np.empty(len(pairs), dtype=np.float32)
    for at in range(0, len(pairs), 16384):
        part = pairs[at : at + 16384]
        similarities[at : at + len(part)] = np.einsum("pd,pd->p", features[part[:, 0]], features[part[:, 1]])
    return similarities


def _unique(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
    return np.unique(pairs, axis=0).reshape(-1, 2).astype(np.int64)


def _at_most(pairs: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if len(pairs) <= most:
        return pairs
    return pairs[np.sort(rng.choice(len(pairs), size=most, replace=False))]
