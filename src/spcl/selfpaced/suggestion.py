"""Settings of the clustering from the features alone: eps, k1 and k2, with the reasons and the curves behind them.

No step of the paper, which fixes eps 0.6 and k1 30: on other data these merge everything or leave everything alone.
One neighbour search serves all settings that are tried. No label is read. What the settings are used for is in
``pseudo_labels.py`` (training) and ``grouping.py`` (groups for people).

A setting is rated by its clusters' *coherence*: the share of links from an image to its nearest neighbours that stay
inside a cluster, less twice the share of all pairs of images that do. The first falls where objects are torn apart or
left out, the second rises where objects are merged. (It is a modularity, Newman and Girvan 2004, with the resolution
of Reichardt and Bornholdt 2006, on the graph of nearest neighbours.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spcl.retrieval.arrays import Features, Progress, as_float32
from spcl.retrieval.jaccard import jaccard_distance
from spcl.retrieval.neighbours import nearest_neighbours
from spcl.selfpaced.clustering import NOISE, dbscan
from spcl.selfpaced.reliability import cluster_agreement, singletons_for_noise

PAPER_EPS, PAPER_K1, PAPER_K2 = 0.6, 30, 6

TRIED_EPS: tuple[float, ...] = tuple(round(0.2 + 0.025 * step, 3) for step in range(27))
TRIED_K1: tuple[int, ...] = (5, 8, 12, 20, PAPER_K1)

_CHANCE_WEIGHT = 2.0
"""How much a pair of images that shares a cluster by chance counts against a link that stays inside one."""

_MOST_K1_OF_IMAGES = 1.25
"""k1 may exceed the images of an object by so much: the neighbours beyond are other objects'."""

_ALIKE = 1e-9


@dataclass(frozen=True)
class EpsCurve:
    """What each eps gives for one k1. Arrays are ``[E]``, by ascending eps.

    Attributes:
        k1: Neighbours in the encoding.
        k2: Neighbours in the query expansion.
        eps: The distances that were tried.
        num_clusters: Clusters.
        share_clustered: Share of the images that are in one.
        largest_share: Share of the images in the largest.
        stability: Mean over the clustered images of the IoU of their clusters at this and the next smaller and larger
            eps; 0 where nothing clusters.
        coherence: See the module; the mean over an eps and those beside it, because training uses three scales.
        best: Where coherence is highest; of equals, the one nearest to the paper's eps.
        images_per_cluster: There, how many images share a cluster with the median clustered one; 0 without clusters.
    """

    k1: int
    k2: int
    eps: NDArray[np.float64]
    num_clusters: NDArray[np.int64]
    share_clustered: NDArray[np.float64]
    largest_share: NDArray[np.float64]
    stability: NDArray[np.float64]
    coherence: NDArray[np.float64]
    best: int
    images_per_cluster: float

    @property
    def k1_is_too_large(self) -> bool:
        """Whether k1 exceeds the images of an object, as far as the clusters tell it."""
        return 0 < _MOST_K1_OF_IMAGES * self.images_per_cluster < self.k1


@dataclass(frozen=True)
class Suggestion:
    """Settings that fit some features.

    Attributes:
        eps: DBSCAN's largest distance of two neighbours.
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        min_samples: As it was given.
        reasons: Why, in sentences.
        curves: One for each k1 that was tried, ascending; empty where there are too few images to try.
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
) -> Suggestion:
    """Suggest eps, k1 and k2 for features, without labels. The same features give the same settings.

    Each k1 is tried, smallest first, with every eps; a larger one is taken as long as it does not exceed the number of
    images in the clusters it gives, because then an image's neighbours are other objects'.

    Args:
        features: ``[N, D]`` unit rows.
        eps: A value is kept; auto: ``TRIED_EPS`` are tried.
        k1: A value is kept; auto: those of ``TRIED_K1`` up to half the images are tried.
        k2: A value is kept; auto: ``k2_for(k1)``.
        min_samples: Kept.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them, ``searched(k1, min_samples)`` columns;
            None: computed exactly.
        progress: Called with (values of k1 done, values of k1 in all); the rest is left out when one is too large.

    Raises:
        ValueError: If a setting is out of range, or shapes do not fit.

    Example:
        >>> group = np.repeat(np.eye(8, dtype=np.float32), 6, axis=0)
        >>> found = suggest(group)
        >>> found.k1, found.eps, int(found.curve.num_clusters[found.curve.best])
        (5, 0.7, 8)

    Cost: one neighbour search, ``N^2 D``; everything else O(N k1), for at most ``len(k1)`` label stages.
    """
    rows = as_float32(features, "features")
    tried_eps = np.array(TRIED_EPS if eps == "auto" else [eps], dtype=np.float64)
    tried_k1 = [value for value in TRIED_K1 if value <= len(rows) / 2] or [TRIED_K1[0]] if k1 == "auto" else [k1]
    _check(tried_eps, tried_k1, min_samples)
    if len(rows) < min_samples:
        return _too_few(len(rows), eps, tried_k1[0], k2, min_samples)
    if neighbours is None:
        neighbours = nearest_neighbours(rows, searched(k1, min_samples)).indices
    curves: list[EpsCurve] = []
    for done, number in enumerate(tried_k1):
        width = k2_for(number) if k2 == "auto" else k2
        labels = _labels_of_each_eps(rows, neighbours, number, width, tried_eps, min_samples)
        curves.append(_curve(number, width, tried_eps, labels, neighbours[:, :min_samples]))
        if progress is not None:
            progress(done + 1, len(tried_k1))
        if curves[-1].k1_is_too_large:
            break
    # The last one may be too large; the first is taken in any case.
    chosen = curves[-2] if len(curves) > 1 and curves[-1].k1_is_too_large else curves[-1]
    reasons = (
        _reason_of_k1(chosen, curves[-1], len(rows), is_given=k1 != "auto"),
        *_reasons_of_eps(chosen, is_given=eps != "auto"),
    )
    return Suggestion(float(chosen.eps[chosen.best]), chosen.k1, chosen.k2, min_samples, reasons, tuple(curves))


def searched(k1: int | Literal["auto"], min_samples: int = 4) -> int:
    """How many nearest neighbours ``suggest`` needs."""
    return max(TRIED_K1[-1] if k1 == "auto" else k1, min_samples)


def k2_for(k1: int) -> int:
    """The query expansion that goes with a k1: 0.3 k1, at most the paper's 6."""
    return max(1, min(PAPER_K2, math.ceil(0.3 * k1)))


def coherence(labels: NDArray[np.int64], neighbours: NDArray[np.integer]) -> float:
    """Share of links to nearest neighbours that stay inside a cluster, less twice that of all pairs; see the module.

    Args:
        labels: ``[N]`` int, -1 noise; a noise image is a cluster of itself alone.
        neighbours: ``[N, k]`` int; the row itself and -1 are no links.

    Returns:
        A value from -2 to 1: -1 where all images are one cluster, about 0 where none clusters.

    Example:
        >>> pairs = np.array([[1], [0], [3], [2]])
        >>> coherence(np.array([0, 0, 1, 1]), pairs), coherence(np.array([0, 0, 0, 0]), pairs)
        (0.0, -1.0)
    """
    classes = singletons_for_noise(labels)
    if not len(classes):
        return 0.0
    is_link = (neighbours >= 0) & (neighbours != np.arange(len(classes))[:, None])
    inside = (classes[neighbours] == classes[:, None]) & is_link
    shares = np.bincount(classes) / len(classes)
    return float(inside.sum() / max(1, is_link.sum()) - _CHANCE_WEIGHT * (shares**2).sum())


def _check(eps: NDArray[np.float64], k1: Sequence[int], min_samples: int) -> None:
    if eps.min() < 0 or eps.max() >= 1:
        raise ValueError(f"eps is {eps[0]:g}; it must be at least 0 and below 1, as Jaccard distances are")
    if min(k1) < 1:
        raise ValueError(f"k1 is {k1[0]}; it must be at least 1")
    if min_samples < 2:
        raise ValueError(f"min_samples is {min_samples}; it must be at least 2: links to neighbours are counted")


def _labels_of_each_eps(
    rows: Features,
    neighbours: NDArray[np.integer],
    k1: int,
    k2: int,
    eps: NDArray[np.float64],
    min_samples: int,
) -> NDArray[np.int64]:
    """``[E, N]`` int64: DBSCAN at each eps on one distance."""
    distance = jaccard_distance(rows, k1=k1, k2=k2, cutoff=float(eps.max()), neighbours=neighbours[:, :k1])
    return np.stack([dbscan(distance, eps=float(value), min_samples=min_samples) for value in eps])


def _curve(
    k1: int, k2: int, eps: NDArray[np.float64], labels: NDArray[np.int64], nearest: NDArray[np.integer]
) -> EpsCurve:
    num = labels.shape[1]
    sizes = [np.bincount(row[row != NOISE]) for row in labels]
    raw = np.array([coherence(row, nearest) for row in labels])
    beside = np.pad(raw, 1, mode="edge")
    smooth = (beside[:-2] + beside[1:-1] + beside[2:]) / 3
    # A plateau of equals is what clear groups give: its middle is as good as its ends, and the paper's eps is known.
    equals = np.flatnonzero(smooth >= smooth.max() - _ALIKE)
    best = int(equals[np.argmin(np.abs(eps[equals] - PAPER_EPS))])
    clustered = labels[best][labels[best] != NOISE]
    return EpsCurve(
        k1=k1,
        k2=k2,
        eps=eps,
        num_clusters=np.array([len(each) for each in sizes], dtype=np.int64),
        share_clustered=np.array([each.sum() / num for each in sizes]),
        largest_share=np.array([each.max(initial=0) / num for each in sizes]),
        stability=_stability(labels),
        coherence=smooth,
        best=best,
        images_per_cluster=float(np.median(sizes[best][clustered])) if len(clustered) else 0.0,
    )


def _stability(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[E]``: mean agreement of the clustered images with the next scales, 0 where nothing clusters."""
    clustered = labels != NOISE
    if len(labels) == 1:
        return np.asarray(clustered.any(axis=1), dtype=np.float64)
    up = np.stack([cluster_agreement(row, larger) for row, larger in pairwise(labels)])
    both = np.concatenate([up[:1], (up[:-1] + up[1:]) / 2, up[-1:]])
    return np.asarray((both * clustered).sum(axis=1) / np.maximum(1, clustered.sum(axis=1)), dtype=np.float64)


def _too_few(
    num: int, eps: float | Literal["auto"], k1: int, k2: int | Literal["auto"], min_samples: int
) -> Suggestion:
    reason = f"{num} images cannot form a cluster, which takes {min_samples}: nothing was tried"
    settled = PAPER_EPS if eps == "auto" else eps
    return Suggestion(settled, k1, k2_for(k1) if k2 == "auto" else k2, min_samples, (reason,), ())


def _reason_of_k1(chosen: EpsCurve, larger: EpsCurve, num: int, *, is_given: bool) -> str:
    if is_given:
        return f"k1 = {chosen.k1}, k2 = {chosen.k2}: given"
    start = f"k1 = {chosen.k1}, k2 = {chosen.k2}: "
    if not chosen.images_per_cluster:
        return start + "no k1 gives clusters, so this says nothing"
    of = f"half of the clustered images are in clusters of {chosen.images_per_cluster:.0f} or more images"
    if larger is not chosen:
        return start + (
            f"{of}; with k1 = {larger.k1} it is {larger.images_per_cluster:.0f}, fewer than the neighbours looked at, "
            "so that some would be of other objects"
        )
    if chosen.k1 < PAPER_K1:
        return start + f"{of}, and {num} images are too few for a larger k1"
    return start + f"{of}, so that as many neighbours can be of one object"


def _reasons_of_eps(chosen: EpsCurve, *, is_given: bool) -> tuple[str, ...]:
    at, eps = chosen.best, chosen.eps
    found = (
        f"{chosen.num_clusters[at]} clusters with {chosen.share_clustered[at]:.0%} of the images, "
        f"the largest with {chosen.largest_share[at]:.0%}"
    )
    if not chosen.num_clusters[at]:
        what = f"eps = {eps[at]:g}" if is_given else f"no eps from {eps[0]:g} to {eps[-1]:g}"
        return (
            f"{what} gives clusters: every image shows another object, or these features do not see "
            "what is common to images of one object",
        )
    if is_given:
        return (f"eps = {eps[at]:g}: given; {found}",)
    # As good as the best, to the eye.
    good = np.flatnonzero(chosen.coherence >= chosen.coherence[at] - 0.02)
    sentences = [
        f"eps = {eps[at]:g}: of {len(eps)} values, the one where most near neighbours share a cluster for the size "
        f"of the clusters ({eps[good[0]]:g} to {eps[good[-1]]:g} is about as good); {found}",
    ]
    if chosen.largest_share[at] > 0.5:
        sentences.append(
            "more than half of the images fall into one cluster at any good eps: they show one object, or these "
            "features do not tell the objects apart"
        )
        return tuple(sentences)
    merging = np.flatnonzero(chosen.largest_share[at:] > 0.5)
    if len(merging):
        sentences.append(f"from eps = {eps[at + merging[0]]:g} on, more than half of the images are in one cluster")
    return tuple(sentences)
