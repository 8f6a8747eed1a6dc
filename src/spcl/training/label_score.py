"""Figures of an epoch's pseudo labels that need no identities; two epochs, and two runs on the same images, compare.

``label_score`` rates the labels by the features that they were made from; ``label_agreement`` compares the labels of
two epochs. Neither is accuracy: an encoder that confuses two objects in every image gives coherent, stable and wrong
clusters. docs/recipes.md has their rank correlation with mAP.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.eps_curve import coherence

NUM_LINKS = 4
"""Nearest neighbours, the image itself included, that count as links: the same in every kind of labels."""


def label_score(labels: NDArray[np.int64], neighbours: NDArray[np.integer]) -> float:
    """Give the coherence of labels: the share of links to nearest neighbours in the same class, minus merged pairs.

    It is that of ``grouping/eps_curve.py`` with the same links and weight in every kind of labels, so that runs with
    different settings compare. One cluster of all images gives 0, and so do no clusters (about 0).

    Args:
        labels: ``[N]`` int, the class of each image; -1: a class of its own.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them; ``NUM_LINKS`` columns are used.

    Returns:
        A value from -1 to 1; high is good.

    Cost: O(N).
    """
    return round(coherence(labels, neighbours[:, :NUM_LINKS]), 6)


def label_agreement(before: NDArray[np.int64], now: NDArray[np.int64]) -> float | None:
    """Give the adjusted Rand index of the labels of two epochs.

    Args:
        before: ``[N]`` int64, the class of each image in one epoch, from 0.
        now: ``[N]`` int64, the class of each image in the other epoch, from 0.

    Returns:
        1 for the same classes, about 0 for unrelated ones; None if both are one class, or both have no pair of images
        in a class, because every pair agrees by necessity.

    Examples:
        >>> label_agreement(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
        1.0

    Cost: O(N log N). Reference: Hubert and Arabie, *Comparing partitions*, 1985.
    """
    both = np.unique(before * (int(now.max(initial=0)) + 1) + now, return_counts=True)[1]
    common, first, second = (_pairs(counts) for counts in (both, np.bincount(before), np.bincount(now)))
    expected = first * second / max(1.0, _pairs(np.array([len(now)])))
    most = (first + second) / 2
    return None if most == expected else round((common - expected) / (most - expected), 6)


def _pairs(counts: NDArray[np.integer]) -> float:
    """Give the number of pairs of images inside groups of these sizes."""
    sizes = counts.astype(np.float64)
    return float((sizes * (sizes - 1) / 2).sum())
