"""Suggested settings of the clustering from the features alone: eps, k1 and k2, with reasons and curves.

This is no step of the paper, which fixes eps 0.6 and k1 30: on other data these merge everything or cluster nothing.
All tried settings share one neighbour search. No label is read. The settings are used in ``pseudo_labels.py``
(training) and ``grouping.py`` (groups for users).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features, Progress, unit_rows
from spcl.grouping.eps_curve import PAPER_EPS as PAPER_EPS
from spcl.grouping.eps_curve import EpsCurve, eps_curve
from spcl.neighbours.nearest import nearest_neighbours
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.neighbour_tables import checked_table
from spcl.settings_checks import check_count, check_range, is_auto
from spcl.short_repr import with_short_repr

PAPER_K1, PAPER_K2 = 30, 6

TRIED_EPS: tuple[float, ...] = tuple(round(0.2 + 0.025 * step, 3) for step in range(27))
TRIED_K1: tuple[int, ...] = (5, 8, 12, 20, PAPER_K1)

_EQUAL = 1e-6


@with_short_repr
@dataclass(frozen=True)
class Suggestion:
    """Suggested settings of the clustering, with the reasons.

    Attributes:
        eps: DBSCAN's largest distance of two neighbours.
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        min_samples: Neighbours that make a core sample, as given.
        reasons: Reasons for the settings, in sentences.
        curves: One curve for each k1 that was tried, ascending; empty with too few images.
    """

    eps: float
    k1: int
    k2: int
    min_samples: int
    reasons: tuple[str, ...]
    curves: tuple[EpsCurve, ...]

    @property
    def curve(self) -> EpsCurve | None:
        """The curve of the suggested k1."""
        return next((curve for curve in self.curves if curve.k1 == self.k1), None)


def suggest(
    features: Features,
    *,
    eps: float | Literal["auto"] = "auto",
    k1: int | Literal["auto"] = "auto",
    k2: int | Literal["auto"] = "auto",
    min_samples: int = 4,
    neighbours: NDArray[np.integer] | None = None,
    progress: Progress | None = None,
    constraints: PairConstraints | None = None,
) -> Suggestion:
    """Suggest eps, k1 and k2 for features, without labels. The same features give the same settings.

    Each k1 is tried, smallest first, with every eps; a larger one is taken as long as it does not exceed the number of
    images in the clusters it gives, because then an image's neighbours are other objects'.

    Args:
        features: ``[N, D]`` rows; normalised here where they are not of unit length.
        eps: DBSCAN's largest distance of two neighbours, which is kept; auto: ``TRIED_EPS`` are tried.
        k1: Neighbours in the k-reciprocal encoding, which is kept; auto: ``TRIED_K1`` up to half the images are tried.
        k2: Neighbours in the local query expansion, which is kept; auto: ``k2_for(k1)``.
        min_samples: Neighbours, the image itself included, that make a core sample.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them, ``searched(k1, min_samples)`` columns;
            None: computed exactly.
        progress: Called with (values of k1 done, all values of k1); values above one that is too large are not tried.
        constraints: Known pairs of the rows; None: none. Settings are rated by clusters under the must-links alone:
            clusters that cannot-links split would hide that a setting merges objects.

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, or rows are zero, NaN or infinite.

    Warns:
        UserWarning: If rows are far from unit length.

    Examples:
        >>> group = np.repeat(np.eye(8, dtype=np.float32), 6, axis=0)
        >>> found = suggest(group)
        >>> found.k1, found.eps, int(found.curve.num_clusters[found.curve.best])
        (5, 0.7, 8)

    Cost: one neighbour search, ``N^2 D``; everything else O(N k1), for at most ``len(k1)`` label stages.
    """
    _check(eps, k1, k2, min_samples)
    rows = unit_rows(features)
    tried_eps = np.array(TRIED_EPS if eps == "auto" else [eps], dtype=np.float64)
    tried_k1 = [value for value in TRIED_K1 if value <= len(rows) / 2] or [TRIED_K1[0]] if k1 == "auto" else [k1]
    if len(rows) < min_samples:
        reason = f"{len(rows)} image(s) cannot form a cluster, which takes {min_samples}: nothing was tried"
        return _untried(reason, eps, tried_k1[0] if k1 == "auto" else k1, k2, min_samples)
    if bool((rows.amax(dim=0) - rows.amin(dim=0) < _EQUAL).all()):
        # The order of equal neighbours is arbitrary, and so the clusters of every setting would be.
        return _untried("all images are equal: one cluster", eps, PAPER_K1 if k1 == "auto" else k1, k2, min_samples)
    if neighbours is None:
        neighbours = nearest_neighbours(rows, searched(k1, min_samples)).indices
    neighbours = checked_table(neighbours)
    rated = None if constraints is None else constraints.of_one_object()
    curves: list[EpsCurve] = []
    for done, number in enumerate(tried_k1):
        width = k2_for(number) if k2 == "auto" else k2
        curve = eps_curve(
            rows, neighbours, k1=number, k2=width, eps=tried_eps, min_samples=min_samples, constraints=rated
        )
        curves.append(curve)
        if progress is not None:
            progress(done + 1, len(tried_k1))
        if curves[-1].k1_is_too_large:
            break
    # The last k1 tried may be too large; the first is taken in any case.
    chosen = curves[-2] if len(curves) > 1 and curves[-1].k1_is_too_large else curves[-1]
    reasons = (
        _reason_of_k1(chosen, curves[-1], len(rows), is_given=k1 != "auto"),
        *_reasons_of_eps(chosen, is_given=eps != "auto"),
    )
    return Suggestion(float(chosen.eps[chosen.best]), chosen.k1, chosen.k2, min_samples, reasons, tuple(curves))


def searched(k1: int | Literal["auto"], min_samples: int = 4) -> int:
    """Give the number of nearest neighbours that ``suggest`` needs."""
    return max(TRIED_K1[-1] if k1 == "auto" else k1, min_samples)


def k2_for(k1: int) -> int:
    """Give the k2 for a k1: 0.3 k1, at most the paper's 6."""
    return max(1, min(PAPER_K2, math.ceil(0.3 * k1)))


def _check(
    eps: float | Literal["auto"], k1: int | Literal["auto"], k2: int | Literal["auto"], min_samples: int
) -> None:
    if not is_auto(eps):
        check_range(eps, "eps", 0, 1, below=True)
    for value, name in ((k1, "k1"), (k2, "k2")):
        if not is_auto(value):
            check_count(value, name)
    # Coherence counts links, which need an image and one neighbour at least.
    check_count(min_samples, "min_samples", 2)


def _untried(
    reason: str, eps: float | Literal["auto"], k1: int, k2: int | Literal["auto"], min_samples: int
) -> Suggestion:
    settled = PAPER_EPS if eps == "auto" else eps
    return Suggestion(settled, k1, k2_for(k1) if k2 == "auto" else k2, min_samples, (reason,), ())


def _reason_of_k1(chosen: EpsCurve, larger: EpsCurve, num: int, *, is_given: bool) -> str:
    if is_given:
        return f"k1 = {chosen.k1}, k2 = {chosen.k2}: given"
    start = f"k1 = {chosen.k1}, k2 = {chosen.k2}: "
    if not chosen.images_per_cluster:
        return start + "no image clusters, so that k1 cannot be chosen"
    median = f"the median clustered image is in a cluster of {chosen.images_per_cluster:.0f} images"
    if larger is not chosen:
        return start + f"{median}; with k1 = {larger.k1} of {larger.images_per_cluster:.0f} images, too few for that k1"
    if chosen.k1 < PAPER_K1:
        return start + f"{median}; {num} images are too few for a larger k1"
    return start + f"{median}, enough for this k1"


def _reasons_of_eps(chosen: EpsCurve, *, is_given: bool) -> tuple[str, ...]:
    at, eps = chosen.best, chosen.eps
    found = (
        f"{chosen.num_clusters[at]} clusters with {chosen.share_clustered[at]:.0%} of the images, "
        f"the largest with {chosen.largest_share[at]:.0%}"
    )
    if not chosen.num_clusters[at]:
        what = f"eps = {eps[at]:g} gives no" if is_given else f"no eps from {eps[0]:g} to {eps[-1]:g} gives"
        return (f"{what} clusters: each image shows a different object, or the encoder does not fit these images",)
    if is_given:
        return (f"eps = {eps[at]:g}: given; {found}",)
    # Values this near to the best count as equally good.
    good = np.flatnonzero(chosen.coherence >= chosen.coherence[at] - 0.02)
    others = f" ({eps[good[0]]:g} to {eps[good[-1]]:g} are almost as good)" if len(good) > 1 else ""
    sentences = [
        f"eps = {eps[at]:g}: the most coherent clusters of {len(eps)} values{others}; {found}",
    ]
    if chosen.largest_share[at] > 0.5:
        sentences.append(
            "one cluster has more than half of the images: they show one object, or the encoder does not separate the "
            "objects"
        )
        return tuple(sentences)
    merging = np.flatnonzero(chosen.largest_share[at:] > 0.5)
    if len(merging):
        sentences.append(f"from eps = {eps[at + merging[0]]:g} on, more than half of the images are in one cluster")
    return tuple(sentences)
