"""Pseudo labels from which nothing is learnt, and how a labeller changes its distance so that they are usable.

Labels have *merged* if one class holds more than half of the images (with one class the loss is 0 for every encoder),
and *vanished* if fewer than two classes have two images or more. The rule: smaller distances are tried one after the
other where labels have merged, larger ones where they have vanished; the first with usable labels is taken, for this
epoch only. If there is none (all images are equal, for example), the labels stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from spcl.selfpaced.clustering import NOISE

Found = TypeVar("Found")

STEP = 0.05
"""Difference of two distances that are tried one after the other."""


def collapse_of(labels: NDArray[np.int64]) -> Literal["merged", "vanished"] | None:
    """Give the way in which labels ``[N]`` have collapsed; -1: a class of its own. None: they are usable.

    Examples:
        >>> [collapse_of(np.array(labels)) for labels in ([0, 0, 0, 1], [0, 0, 1, 1], [0, 0, -1, -1])]
        ['merged', None, 'vanished']
    """
    sizes = np.bincount(labels[labels != NOISE], minlength=1)
    if not len(labels):
        return None
    if 2 * sizes.max() > len(labels) and len(labels) > 1:
        return "merged"
    return "vanished" if (sizes > 1).sum() < 2 else None


def distances_to_try(distance: float, way: Literal["merged", "vanished"], *, least: float, most: float) -> list[float]:
    """Give distances in steps of ``STEP``, nearest first: below ``distance`` for merged labels, otherwise above it.

    Args:
        distance: The distance that gave the collapsed labels.
        way: Result of ``collapse_of``.
        least: Smallest distance, inclusive.
        most: Largest distance, inclusive.
    """
    sign = -1 if way == "merged" else 1
    values = [round(distance + sign * STEP * number, 6) for number in range(1, round(1 / STEP) + 1)]
    return [value for value in values if least <= value <= most]


def mended(
    distances: Sequence[float], label_at: Callable[[float], Found], labels_of: Callable[[Found], NDArray[np.int64]]
) -> tuple[float, Found] | None:
    """Give the first distance with usable labels, and what was found at it; None: there is none.

    Args:
        distances: Distances in the order in which they are tried.
        label_at: Labels the images at a distance.
        labels_of: Gives the labels ``[N]`` of what was found.
    """
    for distance in distances:
        found = label_at(distance)
        if collapse_of(labels_of(found)) is None:
            return distance, found
    return None


def mended_message(way: Literal["merged", "vanished"], name: str, before: float, now: float) -> str:
    """Describe a change of a distance for one epoch."""
    what = "one cluster held more than half of the images" if way == "merged" else "there were fewer than two clusters"
    return f"{what} at {name} {before:g}: in this epoch {name} is {now:g}"
