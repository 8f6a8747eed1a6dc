"""A check of the pseudo labels of an epoch against the known pairs of the target.

The losses take the images of one class as positives. Labels that separate no known object, and put no two known objects
into one class, are therefore all that a loss needs: images under a cannot-link are never positives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.training.parts import TargetView


def broken_pairs(labels: NDArray[np.int64], target: TargetView) -> tuple[int, int]:
    """Count the must-links between two classes and the cannot-links inside one.

    Args:
        labels: ``[N]`` int64, the class of each image.
        target: The view of the target.
    """
    if target.pairs is None:
        return 0, 0
    must, cannot = target.pairs.must_link, target.pairs.cannot_link
    apart = labels[must[:, 0]] != labels[must[:, 1]]
    together = labels[cannot[:, 0]] == labels[cannot[:, 1]]
    return int(apart.sum()), int(together.sum())


def require_known_pairs(labels: NDArray[np.int64], target: TargetView) -> None:
    """Raise an ``InputError``, in every process, if labels contradict known pairs: the labeller does not use them."""
    apart, together = broken_pairs(labels, target)
    if not apart and not together:
        return
    error = InputError(
        f"the labels contradict known pairs: {apart} pairs of one object are in two classes, and {together} pairs of "
        "two objects in one class. This labeller does not use TargetView.pairs: take a kind of the package, or train "
        "without known pairs (--no-tracks, and no table of pairs)",
        code="pairs-not-used",
    )
    error.is_shared = True
    raise error
