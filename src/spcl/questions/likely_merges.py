"""Which groups may show one object: pairs of groups by the calibrated probability of their mean similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.questions.pair_probabilities import PairProbabilities

_BLOCK = 1024


@dataclass(frozen=True)
class LikelyMerge:
    """Two groups that may show one object.

    Attributes:
        first: Number of the group of the lower number.
        second: Number of the other group.
        similarity: Mean cosine similarity of an image of one group and an image of the other.
        probability: Probability that two images of this similarity show one object. It is cautious: a mean varies less
            than the similarity of two images.
    """

    first: int
    second: int
    similarity: float
    probability: float


def likely_merges(
    features: NDArray[np.float32],
    group: NDArray[np.int64],
    probabilities: PairProbabilities,
    *,
    num: int,
    apart: NDArray[np.int64] | None = None,
    distinct: Sequence[int] = (),
) -> list[LikelyMerge]:
    """Find the pairs of groups that are most likely to show one object, the likeliest first.

    Args:
        features: ``[N, D]`` unit rows.
        group: ``[N]`` int, the group of each image, -1 none.
        probabilities: Probability of a pair by its similarity.
        num: Largest number of pairs.
        apart: ``[C, 2]`` numbers of groups that are known to show two objects, -1 none; None: nothing is known.
        distinct: Numbers of groups of which any two show two objects, as groups with names do.

    Cost: ``G^2 D`` for G groups, in blocks; memory for one block.
    """
    is_grouped = group >= 0
    numbers, places = np.unique(group[is_grouped], return_inverse=True)
    if len(numbers) < 2:
        return []
    sums = np.zeros((len(numbers), features.shape[1]))
    np.add.at(sums, places, features[is_grouped])
    # The product of two means is the mean of the products.
    means = (sums / np.bincount(places)[:, None]).astype(np.float32)
    known, is_distinct = _places_of(numbers, apart), np.isin(numbers, np.array(distinct, dtype=np.int64))
    found: list[tuple[float, int, int]] = []
    for at in range(0, len(means), _BLOCK):
        similarities = means[at : at + _BLOCK] @ means.T
        rows = np.arange(at, at + len(similarities))
        similarities[rows[:, None] >= np.arange(len(means))[None]] = -np.inf
        is_here = (known[:, 0] >= at) & (known[:, 0] < at + len(similarities))
        similarities[known[is_here, 0] - at, known[is_here, 1]] = -np.inf
        similarities[np.ix_(is_distinct[rows], is_distinct)] = -np.inf
        most = min(num, similarities.size)
        for place in np.argpartition(-similarities, most - 1, axis=None)[:most].tolist():
            row, other = divmod(place, len(means))
            if np.isfinite(similarities[row, other]):
                found.append((float(similarities[row, other]), at + row, other))
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    pairs = [(similarity, int(numbers[row]), int(numbers[other])) for similarity, row, other in found]
    left = pairs[:num]
    chances = probabilities.of(np.array([pair[0] for pair in left], dtype=np.float32)).tolist()
    return [
        LikelyMerge(first, second, similarity, chance)
        for (similarity, first, second), chance in zip(left, chances, strict=True)
    ]


def _places_of(numbers: NDArray[np.int64], pairs: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Places of pairs of groups among all groups, the lower place first; pairs of other numbers are left out."""
    if pairs is None or not len(pairs):
        return np.empty((0, 2), dtype=np.int64)
    known = pairs[np.isin(pairs, numbers).all(axis=1)]
    return np.sort(np.searchsorted(numbers, known), axis=1)
