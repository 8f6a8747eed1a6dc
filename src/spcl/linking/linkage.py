"""Average linkage of tracks with constraints: the two most similar groups that may be one are merged first.

The similarity of two groups is the mean similarity of their pairs of tracks. Two groups are not merged if a track of
one and a track of the other are known to be two objects (a cannot-link), or if ``fits`` refuses the tracks of both
together. Constraints only remove merges; without any, this is average linkage (Sokal and Michener, 1958).

``grouping/average_linkage.py`` has average linkage on sparse distances of many images, without constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.eps_curve import coherence

Fits = Callable[[Sequence[int], Sequence[int]], bool]
"""Whether the tracks of two groups can all be one object."""

TRIED = tuple(round(0.15 + 0.04 * step, 2) for step in range(14))
"""Similarities of which one is chosen without labels."""
_LINKS = 3
_WEIGHT_OF_PAIRS = 6.0
"""Weight of merged pairs in the coherence, as for labels by average linkage in training."""


class TrackMerges(NamedTuple):
    """Merges of groups of tracks, in their order.

    Attributes:
        first: ``[M]`` int64, a track of the one group.
        second: ``[M]`` int64, a track of the other group.
        similarity: ``[M]`` float64, the similarity of the groups when they were merged.
        num: T, the number of tracks.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    num: int

    def groups(self, least: float) -> NDArray[np.int64]:
        """Give the group of each track, ``[T]`` int64, numbered by the first track, of the merges before ``least``."""
        below = np.flatnonzero(self.similarity < least)
        number = int(below[0]) if len(below) else len(self.similarity)
        labels = np.arange(self.num)
        for first, second in zip(self.first[:number].tolist(), self.second[:number].tolist(), strict=True):
            one, other = sorted((labels[first], labels[second]))
            labels[labels == other] = one
        return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def merged_tracks(
    similarity: NDArray[np.float64],
    cannot_link: NDArray[np.bool_],
    *,
    must_link: Sequence[tuple[int, int]] = (),
    least: float = TRIED[0],
    fits: Fits | None = None,
) -> TrackMerges:
    """Merge groups of tracks.

    Args:
        similarity: ``[T, T]`` float64, symmetric.
        cannot_link: ``[T, T]``, symmetric: pairs of tracks of two objects.
        must_link: Pairs of tracks of one object, which are merged first, whatever their similarity.
        least: Smallest similarity of two groups that are merged.
        fits: A further constraint on two groups; None: there is none.

    Returns:
        TrackMerges; must-links have the similarity infinity.

    Cost: O(T^2) for the pairs, and about O(T) for each merge; memory for three matrices ``[T, T]``.
    """
    state = _Groups(similarity, cannot_link)
    merges: list[tuple[int, int, float]] = []
    for one, other in must_link:
        first, second = state.group_of(one), state.group_of(other)
        if first != second:
            merges.append((*state.merge(first, second), np.inf))
    while True:
        first, second, value = state.most_similar()
        if value < least:
            break
        if fits is not None and not fits(state.members[first], state.members[second]):
            state.refuse(first, second)
            continue
        merges.append((*state.merge(first, second), value))
    firsts, seconds, values = zip(*merges, strict=True) if merges else ((), (), ())
    return TrackMerges(
        np.array(firsts, dtype=np.int64),
        np.array(seconds, dtype=np.int64),
        np.array(values, dtype=np.float64),
        len(similarity),
    )


def chosen_similarity(merges: TrackMerges, similarity: NDArray[np.float64]) -> float:
    """Choose the least similarity of merged groups without labels: that of the most coherent groups.

    The coherence is high if the nearest tracks of a track are in its group, and low if many pairs of tracks are in one
    group (``grouping/eps_curve.py``).

    Args:
        merges: Merges down to the smallest of ``TRIED``.
        similarity: ``[T, T]``, as for ``merged_tracks``.
    """
    if merges.num <= _LINKS:
        return TRIED[len(TRIED) // 2]
    others = similarity.copy()
    # Each track is its own nearest neighbour, as in the nearest images of ``coherence``.
    np.fill_diagonal(others, np.inf)
    nearest = np.argsort(-others, axis=1, kind="stable")[:, : _LINKS + 1]
    rated = [coherence(_clusters(merges.groups(least)), nearest, pairs_weight=_WEIGHT_OF_PAIRS) for least in TRIED]
    return TRIED[int(np.argmax(rated))]


def _clusters(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups with -1 for a track alone."""
    return np.where(np.bincount(groups)[groups] > 1, groups, -1)


class _Groups:
    """Groups of tracks and the mean similarity of each pair of them; a group has the number of its first track.

    Attributes:
        members: Tracks of each group; empty for a group that was merged into another.
    """

    def __init__(self, similarity: NDArray[np.float64], cannot_link: NDArray[np.bool_]) -> None:
        num = len(similarity)
        self.members: list[list[int]] = [[row] for row in range(num)]
        self._sums = similarity.astype(np.float64)
        self._sizes = np.ones(num)
        self._cannot = cannot_link | np.eye(num, dtype=np.bool_)
        self._means = np.where(self._cannot, -np.inf, self._sums)
        self._best = self._means.argmax(axis=1) if num else np.empty(0, dtype=np.int64)

    def group_of(self, track: int) -> int:
        return next(number for number, members in enumerate(self.members) if track in members)

    def most_similar(self) -> tuple[int, int, float]:
        """The two most similar groups that may be merged, and their similarity; -inf where there are none."""
        if not len(self._best):
            return 0, 0, -np.inf
        values = self._means[np.arange(len(self._best)), self._best]
        first = int(values.argmax())
        return first, int(self._best[first]), float(values[first])

    def refuse(self, first: int, second: int) -> None:
        """Do not merge two groups, as long as both stay as they are."""
        self._means[first, second] = self._means[second, first] = -np.inf
        self._search([first, second])

    def merge(self, first: int, second: int) -> tuple[int, int]:
        """Merge the groups into the one with the lower number; give a track of each."""
        kept, gone = sorted((first, second))
        pair = self.members[first][0], self.members[second][0]
        self.members[kept] += self.members[gone]
        self.members[gone] = []
        self._sums[kept] += self._sums[gone]
        self._sums[:, kept] += self._sums[:, gone]
        self._sizes[kept] += self._sizes[gone]
        self._cannot[kept] |= self._cannot[gone]
        self._cannot[:, kept] |= self._cannot[:, gone]
        self._cannot[gone] = self._cannot[:, gone] = True
        means = np.where(self._cannot[kept], -np.inf, self._sums[kept] / (self._sizes[kept] * self._sizes))
        self._means[kept] = self._means[:, kept] = means
        self._means[gone] = self._means[:, gone] = -np.inf
        better = means > self._means[np.arange(len(means)), self._best]
        stale = (self._best == kept) | (self._best == gone) | better
        stale[[kept, gone]] = True
        self._search(np.flatnonzero(stale).tolist())
        return pair

    def _search(self, rows: Sequence[int]) -> None:
        self._best[list(rows)] = self._means[list(rows)].argmax(axis=1)
