"""An estimate of how many objects a set of images shows, with a range, from its groups and without labels.

Groups err in both ways: one object is in two groups, two objects are in one group, and images in no group belong to a
group or show an object of their own. All three are questions about the mean distance of two sets of images:

1. *How different are the parts of one object?* Each group is divided into its two most different parts (the last merge
   of average linkage inside it). The distances of these parts, one for each group, are what the parts of one object
   look like.
2. *From which distance on are two sets two objects?* From a high quantile of these distances, between 0.75 and 1: most
   groups stay whole. Which quantile is unknown, and so is the distribution, of which the groups are a sample. Each of
   many draws takes a quantile at random, and as many groups at random, with repetition. The share of draws whose limit
   is at or above a distance is the probability that two sets at this distance are one object.
3. *How many objects are there then?* Groups and images without a group are merged by average linkage. Each merge below
   the limit of a draw, inside groups or among them, makes one object of two. The objects that are left are counted.
   A limit is never below the first merge among groups: clear groups stay whole.

One limit for all pairs of a draw makes the errors of all probabilities go together: if parts of objects are more
different than the groups show, then everywhere. Independent errors would average out, and the range would be far too
narrow. The bounds 0.75 and 1 were chosen on three sets with known numbers (docs/results.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.cluster_rating import without_mean
from spcl.pairs.constraints import PairConstraints
from spcl.randomness import generator
from spcl.selfpaced.clustering import NOISE

FEWEST_GROUPS = 5
"""Fewer groups say too little about how different the parts of one object are."""
MOST_NODES = 6000
"""Groups, and images in no group, that are compared in pairs."""
LEVEL = 0.9

_MOST_OF_A_GROUP = 1000
_DRAWS = 2000
_LEAST_QUANTILE = 0.75


@dataclass(frozen=True)
class Individuals:
    """An estimate of the number of objects that images show.

    Attributes:
        estimate: Median of the draws.
        low: Lower end of the range.
        high: Upper end of the range.
        level: Share of the draws that are in the range, the same share of the others on both sides.
        method: Name of the method.
    """

    estimate: int
    low: int
    high: int
    level: float = LEVEL
    method: str = "parts of groups"

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """Give the estimate as a sentence for readers of a page."""
        return (
            f"These images show about {self.estimate:,} individuals: {self.low:,} to {self.high:,} with a probability "
            f"of {self.level:.0%}, estimated from the groups."
        )

    def words(self) -> str:
        """Give the estimate in one sentence."""
        return (
            f"about {self.estimate} individuals, {self.low} to {self.high} with a probability of {self.level:.0%} "
            "(an estimate from the groups; docs/group.md)"
        )


def estimate_individuals(
    features: NDArray[np.float32],
    group: NDArray[np.int64],
    *,
    constraints: PairConstraints | None = None,
    seed: int = 0,
) -> Individuals | None:
    """Estimate how many objects images show.

    Args:
        features: ``[N, D]`` unit rows.
        group: ``[N]`` int, the group of each image, from 0 without gaps; -1: in no group.
        constraints: Known pairs, which the groups respect: images that are known to be one object are never divided,
            sets that are known to be two are never merged. None: nothing is known.
        seed: Seed of the draws.

    Returns:
        The estimate. None with fewer than ``FEWEST_GROUPS`` groups that can be divided, or more than ``MOST_NODES``
        groups and images in no group.

    Cost: ``N D``, ``n^2 D`` for each group of n images (at most 1000 of them are looked at), and ``P^2 D`` for P groups
    and images in no group.
    """
    units = np.arange(len(group)) if constraints is None else constraints.nodes
    # The group of a unit: images that are known to be one object have one group.
    firsts = np.unique(units, return_index=True)[1]
    unit_group = group[firsts]
    num_groups = int(group.max(initial=NOISE)) + 1
    alone = np.flatnonzero(unit_group == NOISE)
    if num_groups < FEWEST_GROUPS or num_groups + len(alone) > MOST_NODES:
        return None
    rows = without_mean(features)
    sums = np.zeros((len(firsts), rows.shape[1]))
    np.add.at(sums, units, rows)
    sizes = np.bincount(units)
    order = np.argsort(unit_group, kind="stable")[len(alone) :]
    members = np.split(order, np.cumsum(np.bincount(unit_group[order]))[:-1])
    inside = [merge_distances(sums[some], sizes[some]) for some in map(_at_most, members)]
    parts = np.array([distances.max() for distances in inside if len(distances)])
    if len(parts) < FEWEST_GROUPS:
        return None
    node = np.where(unit_group == NOISE, 0, unit_group)
    node[alone] = num_groups + np.arange(len(alone))
    whole = np.zeros((num_groups + len(alone), rows.shape[1]))
    np.add.at(whole, node, sums)
    apart = np.empty((0, 2), dtype=np.int64) if constraints is None else node[constraints.cannot_link]
    among = merge_distances(whole, np.bincount(node, weights=sizes), apart)
    limits = _limits(parts, generator(seed, "number of individuals"))
    # Parts of a group that are nearer than any two groups or images are to each other are not divided.
    limits = np.maximum(limits, np.nextafter(among.min(), -np.inf))
    return _counted(np.concatenate([*inside, among]), limits)


def merge_distances(
    sums: NDArray[np.float64], sizes: NDArray[np.number[Any]], apart: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Merge sets of images by average linkage, and give the distance of each merge.

    Args:
        sums: ``[P, D]`` sums of the unit rows of each set.
        sizes: ``[P]`` numbers of images of the sets.
        apart: ``[C, 2]`` pairs of sets that are never merged; None: there are none.

    Returns:
        ``[P - 1]`` mean cosine distances; infinite for each merge that the pairs in ``apart`` prevent.

    Cost: ``P^2 D`` and O(P^2) in blocks of a row; memory ``8 P^2`` bytes.
    """
    num = len(sizes)
    weight = np.asarray(sizes, dtype=np.float64).copy()
    distance = 1 - (sums @ sums.T) / np.outer(weight, weight)
    if apart is not None and len(apart):
        distance[apart[:, 0], apart[:, 1]] = distance[apart[:, 1], apart[:, 0]] = np.inf
    np.fill_diagonal(distance, np.inf)
    found = np.full(max(0, num - 1), np.inf)
    nearest = distance.argmin(axis=1) if num else np.empty(0, dtype=np.int64)
    least = distance[np.arange(num), nearest]
    is_left = np.ones(num, dtype=np.bool_)
    for step in range(num - 1):
        one = int(least.argmin())
        if not np.isfinite(least[one]):
            break
        other = int(nearest[one])
        found[step] = least[one]
        merged = (weight[one] * distance[one] + weight[other] * distance[other]) / (weight[one] + weight[other])
        merged[[one, other]] = np.inf
        weight[one] += weight[other]
        distance[other], distance[:, other], least[other], is_left[other] = np.inf, np.inf, np.inf, False
        distance[one], distance[:, one] = merged, merged
        again = np.flatnonzero(is_left & ((nearest == one) | (nearest == other)))
        again = np.union1d(again, [one])
        nearest[again] = distance[again].argmin(axis=1)
        least[again] = distance[again, nearest[again]]
        nearer = np.flatnonzero(merged < least)
        nearest[nearer], least[nearer] = one, merged[nearer]
    return found


def _at_most(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give members of a group, evenly, where it has too many."""
    if len(members) <= _MOST_OF_A_GROUP:
        return members
    return members[np.linspace(0, len(members) - 1, _MOST_OF_A_GROUP).astype(np.int64)]


def _limits(parts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the distance up to which two sets are one object, ``[draws]``."""
    quantiles = rng.uniform(_LEAST_QUANTILE, 1, size=_DRAWS)
    drawn = np.sort(parts[rng.integers(len(parts), size=(_DRAWS, len(parts)))], axis=1)
    place = quantiles * (len(parts) - 1)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, len(parts) - 1)
    at = np.arange(_DRAWS)
    return np.asarray(drawn[at, below] + (place - below) * (drawn[at, above] - drawn[at, below]))


def _counted(distances: NDArray[np.float64], limits: NDArray[np.float64]) -> Individuals:
    """Count the objects of each draw: one, and one more for each merge that does not take place."""
    counts = 1 + len(distances) - np.searchsorted(np.sort(distances), limits, side="right")
    outside = (1 - LEVEL) / 2
    low, estimate, high = np.quantile(counts, [outside, 0.5, 1 - outside], method="nearest").tolist()
    return Individuals(int(estimate), int(low), int(high))
