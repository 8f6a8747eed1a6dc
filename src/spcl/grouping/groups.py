"""Groups of images for users: which images show one object, with a confidence for each image.

Groups are the clusters at the normal scale (section 3.3 of the paper), numbered by size. In training the reliability
criterion decides which clusters become classes; here it is a factor of the confidence and moves no image. Removing the
less reliable members and clusters raises precision and lowers recall by the same amount (``docs/results.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from spcl.arrays import Features, unit_rows
from spcl.grouping.eps_choice import PAPER_EPS, Suggestion, k2_for, searched, suggest
from spcl.grouping.group_confidence import group_confidence
from spcl.grouping.individuals import Individuals, estimate_individuals
from spcl.neighbours.nearest import nearest_neighbours
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.neighbour_tables import checked_table
from spcl.selfpaced.clustering import NOISE
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.settings_checks import check_count, check_scales, is_auto
from spcl.short_repr import with_short_repr


@with_short_repr
@dataclass(frozen=True)
class Groups:
    """Groups of images that show one object.

    Attributes:
        group: ``[N]`` int64, the group of each image. Groups are numbered by size, the largest is 0; of equal sizes,
            the group of the earlier image has the lower number. -1: the image is in no group.
        confidence: ``[N]`` float64 in [0, 1]; 0 without a group. The product of three values: the share of the group
            that stays together with a larger eps (independence) and with a smaller eps (compactness), and how much
            nearer the image is to the rest of its group than to the next group (silhouette). It orders images by how
            likely their group is right; it is not a probability.
        eps: DBSCAN's largest distance of two neighbours.
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        eps_gap: Difference of eps to the tighter and the looser scale.
        min_samples: Neighbours, the image itself included, that make a core sample.
        suggestion: The suggested settings with their reasons; None if all settings were given.
        individuals: An estimate of the number of objects in all images, with a range; None: there are fewer than five
            groups, or more than 6000 groups and images in no group.
        names: Name of each group that has one, by its number; a clustering gives none.
    """

    group: NDArray[np.int64]
    confidence: NDArray[np.float64]
    eps: float
    k1: int
    k2: int
    eps_gap: float
    min_samples: int
    suggestion: Suggestion | None
    individuals: Individuals | None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Count the images in each group, by its number."""
        return np.bincount(self.group[self.group != NOISE]).astype(np.int64)

    @property
    def num_ungrouped(self) -> int:
        """Count the images in no group."""
        return int((self.group == NOISE).sum())


def cluster(
    features: Features,
    *,
    eps: float | Literal["auto"] = "auto",
    k1: int | Literal["auto"] = "auto",
    k2: int | Literal["auto"] = "auto",
    eps_gap: float = 0.02,
    min_samples: int = 4,
    neighbours: NDArray[np.integer] | None = None,
    must_link: ArrayLike | None = None,
    cannot_link: ArrayLike | None = None,
) -> Groups:
    """Group images that show the same object, from their features.

    Args:
        features: ``[N, D]`` rows of any encoder; normalised here where they are not of unit length.
        eps: DBSCAN's largest distance of two neighbours, inclusive, from ``eps_gap`` to below ``1 - eps_gap``; auto:
            suggested from the features.
        k1: Neighbours in the k-reciprocal encoding, the image itself included, at least 1; auto: suggested from the
            features.
        k2: Neighbours in the local query expansion; auto: ``k2_for(k1)``.
        eps_gap: Difference of eps to the tighter and the looser scale; the confidence compares the three scales.
        min_samples: Neighbours, the image itself included, that make a core sample: about the least size of a group.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them, ``eps_choice.searched(k1, min_samples)``
            columns; None: computed exactly.
        must_link: ``[M, 2]`` int, rows that show one object, transitively: they get one group; None: none are known.
        cannot_link: ``[M, 2]`` int, rows that show two objects: they are never in one group; None: none are known.

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, rows are zero, NaN or infinite, or known pairs
            contradict each other.

    Warns:
        UserWarning: If rows are far from unit length.

    Examples:
        >>> rows = np.repeat(np.eye(3, 8, dtype=np.float32), [4, 4, 1], axis=0)
        >>> found = cluster(rows, eps=0.5, k1=4, k2=2)
        >>> found.group.tolist(), found.confidence.round(2).tolist()
        ([0, 0, 0, 0, 1, 1, 1, 1, -1], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])

    Cost: one neighbour search, ``N^2 D``; a few label stages, O(N k1); ``N G D`` for G groups; at most ``N^2 D`` for
    the number of objects.
    """
    for name, value in {"k1": k1, "k2": k2, "min_samples": min_samples}.items():
        if not is_auto(value):
            check_count(value, name)
    check_scales(PAPER_EPS if is_auto(eps) else eps, eps_gap)
    rows = unit_rows(features)
    constraints = PairConstraints.of(len(rows), must_link, cannot_link)
    suggestion = None
    neighbours = _neighbours(rows, neighbours, searched(k1, min_samples))
    if "auto" in (eps, k1):
        suggestion = suggest(
            rows, eps=eps, k1=k1, k2=k2, min_samples=min_samples, neighbours=neighbours, constraints=constraints
        )
        eps, k1, k2 = suggestion.eps, suggestion.k1, suggestion.k2
    settled_eps, settled_k1 = float(eps), int(k1)
    settled_k2 = k2_for(settled_k1) if k2 == "auto" else k2
    found = pseudo_labels(
        rows,
        k1=settled_k1,
        k2=settled_k2,
        eps=settled_eps,
        eps_gap=eps_gap,
        min_samples=min_samples,
        neighbours=neighbours[:, :settled_k1],
        must_link=must_link,
        cannot_link=cannot_link,
    )
    group, array = numbered_by_size(found.scales.normal), rows.cpu().numpy()
    return Groups(
        group=group,
        confidence=group_confidence(array, group, found),
        eps=settled_eps,
        k1=settled_k1,
        k2=settled_k2,
        eps_gap=eps_gap,
        min_samples=min_samples,
        suggestion=suggestion,
        individuals=estimate_individuals(array, group, constraints=constraints),
    )


def _neighbours(rows: Tensor, given: NDArray[np.integer] | None, num: int) -> NDArray[np.int32]:
    """Check the given neighbours, or find them."""
    return checked_table(nearest_neighbours(rows, num).indices if given is None else given)


def numbered_by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number labels by size, the largest first, equal sizes by their first row; -1 stays."""
    names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    is_group = names != NOISE
    order = np.lexsort((first[is_group], -sizes[is_group]))
    number = np.full(int(labels.max(initial=NOISE)) + 2, NOISE, dtype=np.int64)
    number[names[is_group][order]] = np.arange(len(order))
    return number[labels]
