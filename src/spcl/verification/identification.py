"""Open-set identification: the nearest enrolled identity of a probe, or "unknown" below a threshold.

An identity is the unit-length mean of its shots (enrolled images). A stranger is an object that is not enrolled; a
false match is a stranger's probe that is given an identity. Its rate grows with the number of identities, so a
threshold for two images is too low. The threshold comes from the gallery: the best similarity of each enrolled image
to the means of the *other* identities is taken as a stranger's score. With too few identities it comes from the
encoder's calibration: from scores of strangers against as many identities (``stranger_scores.py``), or, if these were
not measured, from pairs as if the identities were independent. Pairs are calibrated in ``calibration.py``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features, unit_matrix
from spcl.verification.calibration import Calibration, in_one_line
from spcl.verification.nearest_means import two_nearest
from spcl.verification.open_set_threshold import threshold_from_pairs
from spcl.verification.score_tails import FEWEST_SCORES
from spcl.verification.thresholds import MOST_SIMILAR, Threshold, check_rate

FEWEST_IDENTITIES = 20
"""Number of identities from which the threshold comes from the gallery."""

MOST_SCORED = 20_000
"""Largest number of enrolled images whose scores are computed."""

Basis = Literal["gallery", "calibration"]


@dataclass(frozen=True)
class Identification:
    """The answer for one probe.

    Attributes:
        identity: Identity of the probe; None: unknown, no enrolled identity is similar enough.
        similarity: Cosine similarity to the mean of the nearest identity.
        probability: Probability that the probe shows the nearest identity, if half of all probes are of enrolled
            identities; None without a calibration and without several shots of an identity.
        nearest: The nearest identity, also if it is not similar enough.
        runner_up: The second nearest identity; None if one identity is enrolled.
        runner_up_similarity: Cosine similarity to the mean of the second nearest identity.
    """

    identity: Hashable | None
    similarity: float
    probability: float | None
    nearest: Hashable
    runner_up: Hashable | None
    runner_up_similarity: float | None


@dataclass(frozen=True)
class Enrolled:
    """Enrolled identities, by which probes are named.

    Attributes:
        identities: The ``M`` identities.
        means: ``[M, D]`` float32 unit rows, the mean of each identity's shots.
        counts: ``[M]`` int, number of shots of each identity.
        lengths: ``[M]`` length of the mean before it was normalised: 1 if all shots are equal.
        genuine: Similarities of enrolled images to the mean of the other shots of their identity.
        impostor: Best similarity of each enrolled image to the means of other identities.
        impostor_rows: Row in ``identities`` of the identity of each image of ``impostor``.
        pairs: Calibration of the encoder's pairs; None: there is none.
    """

    identities: tuple[Hashable, ...]
    means: NDArray[np.float32]
    counts: NDArray[np.int64]
    lengths: NDArray[np.float64]
    genuine: NDArray[np.float32]
    impostor: NDArray[np.float32]
    impostor_rows: NDArray[np.int64]
    pairs: Calibration | None

    @classmethod
    def from_features(
        cls, features: Features, identities: Sequence[Hashable], *, pairs: Calibration | None = None
    ) -> Enrolled:
        """Enrol images.

        Args:
            features: ``[N, D]`` rows; normalised here where they are not of unit length.
            identities: ``N`` identities, numbers or text.
            pairs: Calibration of the encoder's pairs, which gives the threshold of a small gallery.

        Raises:
            ValueError: If there is no image, lengths differ, or rows are zero, NaN or infinite.
        """
        rows = unit_matrix(features)
        if len(rows) != len(identities):
            raise ValueError(f"there are {len(rows)} features and {len(identities)} identities; expected one for each")
        sums = IdentitySums(rows.shape[1])
        sums.add(rows, identities)
        return sums.enrolled(rows, identities, pairs=pairs)

    def basis(self, false_match_rate: float = 0.01) -> Basis:
        """Decide whether the threshold comes from the gallery's images or from the calibration.

        It comes from the calibration if the gallery is small, or if a calibration with labels estimates the rate within
        a factor of two and the gallery does not.
        """
        if self.pairs is None:
            return "gallery"
        if not self._is_large:
            return "calibration"
        strangers = self.pairs.strangers
        is_known = self.pairs.labelled and strangers is not None and len(self.identities) <= strangers.most_identities
        is_surer = is_known and self.pairs.is_kept(false_match_rate) and not self._own.is_kept(false_match_rate)
        return "calibration" if is_surer else "gallery"

    def threshold(self, false_match_rate: float = 0.01) -> Threshold:
        """Give the similarity to a mean from which a probe is given an identity.

        Args:
            false_match_rate: Share of probes of strangers that are given an identity.

        Raises:
            ValueError: If the rate is out of range, or neither the gallery nor a calibration gives a threshold.
        """
        check_rate(false_match_rate)
        count = len(self.identities)
        if self.basis(false_match_rate) == "gallery":
            # Each enrolled image is compared with one identity fewer than a stranger's image will be.
            found = self._own.threshold(false_match_rate * (count - 1) / count)
            true_rate = found.true_match_rate if self._knows_own else None
            limits = self._own.warnings(false_match_rate)
            limits.pop("few-same-pairs", None)  # this threshold does not depend on it
            warning = in_one_line(limits)
            if count < FEWEST_IDENTITIES:
                warning = f"few identities are enrolled ({count}): the threshold is not reliable (docs/compare.md)"
            return Threshold(found.similarity, false_match_rate, true_rate, warning)
        if self.pairs is None:
            raise AssertionError("the basis is a calibration only where there is one")
        shots, length = float(np.median(self.counts)), max(1e-3, float(np.median(self.lengths)))
        return threshold_from_pairs(self.pairs, false_match_rate, count=count, shots=shots, length=length)

    def identify(self, queries: Features, false_match_rate: float = 0.01) -> list[Identification]:
        """Name the identity of each probe, or unknown.

        Args:
            queries: ``[Q, D]`` rows; normalised here where they are not of unit length.
            false_match_rate: Share of probes of strangers that may be given an identity.

        Raises:
            ValueError: If shapes do not fit, or ``threshold`` raises one.
        """
        least = self.threshold(false_match_rate).similarity
        if not len(queries):
            return []
        found = two_nearest(self.means, unit_matrix(queries, "queries"))
        probabilities = self._probabilities(found.indices, found.similarities)
        answers = []
        for row, (places, similarities) in enumerate(zip(found.indices.tolist(), found.similarities, strict=True)):
            nearest = self.identities[places[0]]
            several = len(places) > 1
            answers.append(
                Identification(
                    identity=nearest if similarities[0] >= least else None,
                    similarity=float(similarities[0]),
                    probability=None if probabilities is None else float(probabilities[row]),
                    nearest=nearest,
                    runner_up=self.identities[places[1]] if several else None,
                    runner_up_similarity=float(similarities[1]) if several else None,
                )
            )
        return answers

    @property
    def _is_large(self) -> bool:
        return len(self.identities) >= FEWEST_IDENTITIES and len(self.impostor) >= FEWEST_SCORES

    @cached_property
    def _own(self) -> Calibration:
        """The calibration of the gallery's scores; if no identity has several shots, only its threshold is valid."""
        if len(self.impostor) < FEWEST_SCORES:
            raise ValueError(
                f"{len(self.impostor)} images of {len(self.identities)} enrolled identities are too few for a "
                f"threshold: enrol more identities, or run spcl calibrate (docs/compare.md)"
            )
        if float(np.median(self.impostor)) >= MOST_SIMILAR:
            raise ValueError(
                "most enrolled images have an identical image under another identity: enrol each image under one name"
            )
        groups = np.unique(self.impostor_rows, return_inverse=True)[1].reshape(-1, 1)
        same = self.genuine if self._knows_own else np.ones(FEWEST_SCORES)
        return Calibration.fit(same, self.impostor, different_groups=groups)

    @cached_property
    def _knows_own(self) -> bool:
        return len(self.genuine) >= FEWEST_SCORES and float(np.median(self.genuine)) > float(np.median(self.impostor))

    def _probabilities(
        self, places: NDArray[np.int64], similarities: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        if self._is_large or self.pairs is None:
            return self._own.probability(similarities[:, 0]) if self._knows_own else None
        # Bayes: all identities are equally likely, and together as likely as a stranger. Identities beyond the second
        # count as strangers: their expected likelihood ratio is 1.
        chances = self.pairs.probability(similarities * self.lengths[places])
        ratios = chances / (1 - chances)
        count = len(self.identities)
        return np.asarray(ratios[:, 0] / (ratios.sum(axis=1) + count + max(count - 2, 0)), dtype=np.float64)


class IdentitySums:
    """The sum of the features of each identity, accumulated over batches.

    Args:
        dim: D, the length of a feature.
    """

    def __init__(self, dim: int) -> None:
        self._places: dict[Hashable, int] = {}
        self._sums = np.zeros((0, dim), dtype=np.float64)
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, features: NDArray[np.float32], identities: Sequence[Hashable]) -> None:
        """Add ``[n, D]`` unit rows with the identity of each."""
        places = np.array(
            [self._places.setdefault(identity, len(self._places)) for identity in identities], dtype=np.int64
        )
        new = len(self._places) - len(self._counts)
        if new:
            self._sums = np.concatenate([self._sums, np.zeros((new, self._sums.shape[1]))])
            self._counts = np.concatenate([self._counts, np.zeros(new, dtype=np.int64)])
        np.add.at(self._sums, places, features)
        self._counts += np.bincount(places, minlength=len(self._counts))

    def enrolled(
        self, sample: NDArray[np.float32], identities: Sequence[Hashable], *, pairs: Calibration | None = None
    ) -> Enrolled:
        """Give the enrolled identities, with scores of some of the images that were added.

        Args:
            sample: ``[n, D]`` features of images to score; of more than ``MOST_SCORED``, evenly spaced ones are used.
            identities: Identity of each image of ``sample``.
            pairs: Calibration of the encoder's pairs.

        Raises:
            ValueError: If no image was added.
        """
        if not self._places:
            raise ValueError("no image with an identity is enrolled")
        norms = np.linalg.norm(self._sums, axis=1)
        means = (self._sums / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
        chosen = np.unique(np.linspace(0, len(sample) - 1, min(len(sample), MOST_SCORED)).astype(np.int64))
        places = np.array([self._places[identities[row]] for row in chosen.tolist()], dtype=np.int64)
        genuine, impostor = self._scores(sample[chosen], places, means)
        return Enrolled(
            identities=tuple(self._places),
            means=means,
            counts=self._counts.copy(),
            lengths=norms / self._counts,
            genuine=genuine,
            impostor=impostor,
            impostor_rows=places if len(impostor) else places[:0],
            pairs=pairs,
        )

    def _scores(
        self, images: NDArray[np.float32], places: NDArray[np.int64], means: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the similarity to the own identity without the image itself, and the best to another identity."""
        several = self._counts[places] > 1
        others = self._sums[places[several]] - images[several]
        lengths = np.linalg.norm(others, axis=1)
        genuine = np.einsum("nd,nd->n", others, images[several]) / np.maximum(lengths, 1e-12)
        if len(means) < 2 or not len(images):
            return genuine.astype(np.float32), np.empty(0, dtype=np.float32)
        found = two_nearest(means, images)
        first_is_own = found.indices[:, 0] == places
        impostor = np.where(first_is_own, found.similarities[:, 1], found.similarities[:, 0])
        return genuine.astype(np.float32), impostor
