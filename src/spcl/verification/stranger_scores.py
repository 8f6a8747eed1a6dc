"""Similarity of strangers to the nearest of several enrolled identities, measured over many random enrolments.

A probe is compared with the mean of several shots of each identity, and the best similarity counts. Neither follows
from pairs of images: a mean varies less than its shots, and a stranger who resembles one identity also resembles
similar ones. So identities are enrolled with 1, 2, 4 and 8 shots, 1 to 16 of them at a time, and all others are
strangers (a cohort, as in speaker verification: Auckenthaler, Carey, Lloyd-Thomas 2000). ``identification.py`` uses the
scores if a gallery is too small to estimate its threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.verification.pairs import NO_GROUP
from spcl.verification.rate_spread import SPREAD_RATES, spread_at
from spcl.verification.score_tails import FEWEST_SCORES, ScoreTail
from spcl.verification.stored_values import check_numbers, check_rising

_SHOTS = (1, 2, 4, 8)
_COUNTS = (1, 2, 4, 8, 16)
_FEWEST_GROUPS = 4
_MOST_STRANGERS = 2_000
_FEWEST_DRAWS, _ENROLLED = 50, 200


@dataclass(frozen=True)
class StrangerScores:
    """Best similarity of strangers to the means of enrolled identities.

    Attributes:
        shots: ``[S]`` numbers of shots of each identity, ascending from 1.
        lengths: ``[S]`` median length of a mean of this number of shots before it was normalised; 1 for one shot.
        counts: Numbers of identities that were enrolled at a time, ascending from 1, for each of ``shots``.
        tails: Distribution of the scores, for each of ``shots`` and its ``counts``.
        spreads: Relative standard deviation of the rate over single galleries, for each distribution of ``tails`` and
            each of ``SPREAD_RATES``.
    """

    shots: tuple[int, ...]
    lengths: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    tails: tuple[tuple[ScoreTail, ...], ...]
    spreads: tuple[tuple[tuple[float, ...], ...], ...]

    @classmethod
    def measure(
        cls,
        features: NDArray[np.float32],
        groups: NDArray[np.int64],
        objects: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> StrangerScores | None:
        """Enrol groups at random and compare the others with them.

        Args:
            features: ``[N, D]`` unit rows.
            groups: ``[N]`` int, the group that an image is enrolled with: an identity, or a cluster that is reliably of
                one object; -1: not enrolled.
            objects: ``[N]`` int, the object of each image. An image is a stranger if its object is none of those that
                are enrolled; -1: never. A group may have images of several objects: none of these is a stranger to it.
            rng: Generator of the random draws.

        Returns:
            The scores; None with fewer than four groups, or too few strangers.
        """
        strangers = np.flatnonzero(objects != NO_GROUP)
        if len(strangers) > _MOST_STRANGERS:
            strangers = np.sort(rng.choice(strangers, size=_MOST_STRANGERS, replace=False))
        cohort = _Cohort(features[strangers], objects[strangers])
        enrolled = _Enrollable.of(features, groups, objects)
        rows: list[tuple[int, float, list[tuple[int, ScoreTail, tuple[float, ...]]]]] = []
        for shots in _SHOTS:
            large = enrolled.with_images(shots)
            found = []
            lengths: list[NDArray[np.float32]] = []
            # At most half of the groups are enrolled: the others are needed as strangers.
            for count in (count for count in _COUNTS if 2 * count <= len(large) and len(large) >= _FEWEST_GROUPS):
                scores, strange, drawn_lengths = _enrolments(enrolled, cohort, large, count, shots, rng)
                lengths.append(drawn_lengths)
                if strange.sum() >= FEWEST_SCORES:
                    tail = ScoreTail.from_scores(scores[strange])
                    spreads = tuple(_spread_of_galleries(scores, strange, tail.height(r), r) for r in SPREAD_RATES)
                    found.append((count, tail, spreads))
            if not found or found[0][0] != 1:
                break
            length = 1.0 if shots == 1 else float(np.median(np.concatenate(lengths)))
            if rows and length >= rows[-1][1]:
                # Only tracks of nearly equal images are this long: they do not represent other shots.
                break
            rows.append((shots, length, found))
        if not rows:
            return None
        return cls(
            shots=tuple(row[0] for row in rows),
            lengths=tuple(row[1] for row in rows),
            counts=tuple(tuple(count for count, _, _ in row[2]) for row in rows),
            tails=tuple(tuple(tail for _, tail, _ in row[2]) for row in rows),
            spreads=tuple(tuple(spreads for _, _, spreads in row[2]) for row in rows),
        )

    def height(self, rate: float, *, count: int, shots: float, length: float) -> float:
        """Give the similarity that a share of the strangers reaches.

        Args:
            rate: Share of the strangers, above 0 and at most 1.
            count: Number of enrolled identities.
            shots: Number of shots of each identity.
            length: Length of the mean of an identity's shots before it was normalised.
        """
        row_heights = [self._of_row(row, rate, count) for row in range(len(self.shots))]
        return float(np.interp(np.log(self._worth(shots, length)), np.log(self.shots), row_heights))

    def factor(self, rate: float, *, count: int) -> float:
        """Give the factor by which the rate of a single gallery of ``count`` identities may exceed the requested rate.

        It is two standard deviations: the rate depends on which identities are enrolled, more so if they are few.
        """
        # The number of shots changes it little.
        of_counts = [spread_at(rate, spreads) for spreads in self.spreads[0]]
        counts = self.counts[0]
        spread = np.interp(np.log(count), np.log(counts), of_counts) * min(1.0, counts[-1] / count) ** 0.5
        return float(1 + 2 * spread)

    @property
    def most_identities(self) -> int:
        """The largest number of identities for which heights are valid: four times the largest that was enrolled."""
        return 4 * min(counts[-1] for counts in self.counts)

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types."""
        return {
            "shots": list(self.shots),
            "lengths": list(self.lengths),
            "counts": [list(counts) for counts in self.counts],
            "tails": [[tail.to_dict() for tail in tails] for tails in self.tails],
            "spreads": [[list(spreads) for spreads in row] for row in self.spreads],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StrangerScores:
        """Build the scores from the values that ``to_dict`` gave.

        Raises:
            ValueError: If a value is missing, unknown, or cannot be that of such scores.
        """
        try:
            found = cls(
                shots=tuple(values["shots"]),
                lengths=tuple(values["lengths"]),
                counts=tuple(tuple(counts) for counts in values["counts"]),
                tails=tuple(tuple(ScoreTail.from_dict(tail) for tail in tails) for tails in values["tails"]),
                spreads=tuple(tuple(tuple(spreads) for spreads in row) for row in values["spreads"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the scores of strangers: {error}") from error
        check_numbers(found.shots, "shots", low=1)
        check_rising(found.shots, "shots", strictly=True)
        rows = len(found.shots)
        check_numbers(found.lengths, "lengths", length=rows, low=0, high=1 + 1e-3)
        for name in ("counts", "tails", "spreads"):
            if len(getattr(found, name)) != rows:
                raise ValueError(f"{name} has {len(getattr(found, name))} rows; expected {rows}")
        for counts, tails, spreads in zip(found.counts, found.tails, found.spreads, strict=True):
            check_numbers(counts, "counts", length=len(tails), low=1)
            check_rising(counts, "counts", strictly=True)
            if len(spreads) != len(tails):
                raise ValueError(f"there are spreads of {len(spreads)} counts; expected {len(tails)}")
            for of_count in spreads:
                check_numbers(of_count, "spreads", most=len(SPREAD_RATES), low=0)
        return found

    def _worth(self, shots: float, length: float) -> float:
        """Convert a number of shots to an equivalent number of measured ones: nearly equal shots count as one."""
        by_length = float(np.exp(np.interp(-length, -np.array(self.lengths), np.log(self.shots))))
        return max(1.0, min(shots, by_length))

    def _of_row(self, row: int, rate: float, count: int) -> float:
        counts, tails = self.counts[row], self.tails[row]
        most = counts[-1]
        if count >= most:
            # Beyond the enrolled numbers, rates add as if the further identities were independent.
            return tails[-1].height(1 - (1 - rate) ** (most / count))
        return float(np.interp(np.log(count), np.log(counts), [tail.height(rate) for tail in tails]))


@dataclass(frozen=True)
class _Cohort:
    """Images that are compared with the enrolled identities: ``[n, D]`` and the object of each."""

    features: NDArray[np.float32]
    objects: NDArray[np.int64]


@dataclass(frozen=True)
class _Enrollable:
    """Images by group: ``[N, D]``, and for each group its rows and their objects."""

    features: NDArray[np.float32]
    rows: list[NDArray[np.int64]]
    objects: list[NDArray[np.int64]]

    @classmethod
    def of(cls, features: NDArray[np.float32], groups: NDArray[np.int64], objects: NDArray[np.int64]) -> _Enrollable:
        order = np.argsort(groups, kind="stable")
        order = order[groups[order] != NO_GROUP]
        starts = np.flatnonzero(np.diff(groups[order])) + 1
        rows = np.split(order, starts) if len(order) else []
        return cls(features, rows, [np.unique(objects[members]) for members in rows])

    def with_images(self, least: int) -> NDArray[np.int64]:
        """Give the groups of at least ``least`` images."""
        return np.flatnonzero([len(members) >= least for members in self.rows])


def _enrolments(
    enrolled: _Enrollable, cohort: _Cohort, large: NDArray[np.int64], count: int, shots: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """Score random enrolments: ``[n, draws]`` scores, whether each is of a stranger, and lengths of the means."""
    draws = max(_FEWEST_DRAWS, _ENROLLED // count)
    order: list[int] = []
    sums, own = [], []
    for _ in range(draws):
        if len(order) < count:
            # Each group is enrolled equally often.
            order = rng.permutation(large).tolist()
        chosen, order = order[:count], order[count:]
        taken = np.stack([rng.choice(enrolled.rows[one], size=shots, replace=False) for one in chosen])
        sums.append(enrolled.features[taken].sum(axis=1))
        own.append(np.concatenate([enrolled.objects[one] for one in chosen]))
    means = np.concatenate(sums)
    norms = np.linalg.norm(means, axis=1)
    means /= np.maximum(norms, 1e-12)[:, None]
    best = (cohort.features @ means.T).reshape(len(cohort.features), draws, count).max(axis=2)
    strange = np.stack([~np.isin(cohort.objects, objects) for objects in own], axis=1)
    return best, strange, norms / shots


def _spread_of_galleries(scores: NDArray[np.float32], strange: NDArray[np.bool_], height: float, rate: float) -> float:
    """Compute the relative standard deviation, over enrolments, of the share of strangers above a height."""
    met = strange.sum(axis=0)
    named = ((scores >= height) & strange).sum(axis=0)[met > 0] / met[met > 0]
    # The sampling variance of counting strangers is subtracted: it is not a difference of galleries.
    variance = float(named.var()) - rate * (1 - rate) / float(met[met > 0].mean())
    return float(np.sqrt(max(0.0, variance))) / rate
