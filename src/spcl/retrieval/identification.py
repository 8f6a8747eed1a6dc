"""Whose image is it, or nobody's: names from several shots of each identity, and "unknown" below a threshold.

An identity is the unit-length mean of its shots. A false match is a probe of somebody who is not enrolled that is given
a name; its rate grows with the number of identities, so the threshold of two images does not do. It comes from the
gallery itself: the best similarity of each enrolled image to the means of the *other* identities is what a probe of a
stranger reaches. Where the identities are too few for that, it comes from the calibration of the encoder: from what
strangers reached when so many identities were enrolled (``stranger_scores.py``), or, where that was not measured, from
pairs as if the identities were independent. How pairs are calibrated is in ``calibration.py``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spcl.retrieval.arrays import Features, unit_rows
from spcl.retrieval.calibration import MOST_SIMILAR, Calibration, Threshold, check_rate
from spcl.retrieval.neighbours import nearest_neighbours
from spcl.retrieval.rate_spread import KEPT_FACTOR, factor_in_words
from spcl.retrieval.score_tails import FEWEST_SCORES

FEWEST_IDENTITIES = 20
"""Identities from which a gallery sets its own threshold."""

MOST_SCORED = 20_000
"""Enrolled images whose scores are taken, at most."""

_SURE_WITHOUT_LABELS = 0.1

Basis = Literal["gallery", "calibration"]


@dataclass(frozen=True)
class Identification:
    """The answer for one probe.

    Attributes:
        identity: Whose image it is; None: nobody's that is enrolled.
        similarity: Cosine similarity to the mean of the nearest identity.
        probability: That it shows the nearest identity, if half of all probes are of enrolled ones; None where neither
            several shots of an identity nor a calibration tell it.
        nearest: The nearest identity, also where it is too far.
        runner_up: The second nearest; None where one identity is enrolled.
        runner_up_similarity: To its mean.
    """

    identity: Hashable | None
    similarity: float
    probability: float | None
    nearest: Hashable
    runner_up: Hashable | None
    runner_up_similarity: float | None


@dataclass(frozen=True)
class Enrolled:
    """Identities to name probes by.

    Attributes:
        identities: ``M`` of them.
        means: ``[M, D]`` float32, unit rows.
        counts: ``[M]`` shots of each.
        lengths: ``[M]`` length of the mean before it was normalised: 1 where all shots are equal.
        genuine: Similarity of enrolled images to the mean of the other shots of their own identity.
        impostor: Best similarity of enrolled images to the means of other identities.
        impostor_rows: Place in ``identities`` of the identity of each of ``impostor``.
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
            identities: ``N``, numbers or text.
            pairs: Calibration of the encoder's pairs, for where the gallery is small.

        Raises:
            ValueError: If there is no image, numbers differ, or rows are zero, NaN or infinite.
        """
        rows = unit_rows(features).cpu().numpy()
        if len(rows) != len(identities):
            raise ValueError(f"there are {len(rows)} features and {len(identities)} identities; expected one for each")
        sums = IdentitySums(rows.shape[1])
        sums.add(rows, identities)
        return sums.enrolled(rows, identities, pairs=pairs)

    def basis(self, false_match_rate: float = 0.01) -> Basis:
        """Where the threshold comes from: the gallery's own images, or the calibration.

        The calibration, where the gallery is small, or where a calibration with labels is sure of the rate and the
        gallery, which has fewer images than that, is not.
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
        """The similarity to a mean from which a probe is given a name.

        Args:
            false_match_rate: Share of probes of strangers that are given one.

        Raises:
            ValueError: If the rate is out of range, or neither the gallery nor a calibration can tell a threshold.
        """
        check_rate(false_match_rate)
        count = len(self.identities)
        if self.basis(false_match_rate) == "gallery":
            # Each of them met one identity fewer than a stranger will.
            found = self._own.threshold(false_match_rate * (count - 1) / count)
            true_rate = found.true_match_rate if self._knows_own else None
            told = self._own.warnings(false_match_rate)
            told.pop("few pairs of one object", None)  # which this threshold does not depend on
            warning = "; ".join(told.values()) or None
            if count < FEWEST_IDENTITIES:
                warning = f"{count} enrolled {_identities(count)} few to tell strangers from"
            return Threshold(found.similarity, false_match_rate, true_rate, warning)
        if self.pairs is None:
            raise AssertionError("the basis is a calibration only where there is one")
        length = max(1e-3, float(np.median(self.lengths)))
        told = self.pairs.warnings(false_match_rate)
        told.pop("few pairs of one object", None)  # which this threshold does not depend on
        if not self.pairs.labelled and false_match_rate < _SURE_WITHOUT_LABELS:
            # Images of the enrolled that fell into other clusters counted as strangers (docs/results.md).
            told["no labels"] = (
                f"the calibration was made without labels: below {_SURE_WITHOUT_LABELS:g} strangers may be named less "
                "than half as often as asked for, and your own less often, too; labels make sure"
            )
        strangers = self.pairs.strangers
        if strangers is not None:
            rate = self.pairs.careful_rate(false_match_rate)
            similarity = strangers.height(rate, count=count, shots=float(np.median(self.counts)), length=length)
            # One shot of one identity is a pair. Where the measured ones were clusters, which lie where images are
            # dense, strangers came nearer to them than to most images: pairs know better.
            similarity += self.pairs.different.height(rate) - strangers.height(rate, count=1, shots=1, length=1)
            factor = strangers.factor(false_match_rate, count=count)
            if factor > KEPT_FACTOR:
                told["few enrolled"] = (
                    f"how often strangers are named depends on who is enrolled, and {count} {_identities(count)} few: "
                    f"in a single gallery it can well be {factor_in_words(factor)} times the {false_match_rate:.3g} "
                    "asked for"
                )
        else:
            # A mean is more similar to everything than its shots are on average, by its lost length.
            similarity = self.pairs.threshold(1 - (1 - false_match_rate) ** (1 / count)).similarity / length
        return Threshold(min(MOST_SIMILAR, similarity), false_match_rate, None, "; ".join(told.values()) or None)

    def identify(self, queries: Features, false_match_rate: float = 0.01) -> list[Identification]:
        """Name probes.

        Args:
            queries: ``[Q, D]`` rows; normalised here where they are not of unit length.
            false_match_rate: Share of probes of strangers that may be given a name.

        Raises:
            ValueError: If shapes do not fit, or there is no threshold (see ``threshold``).
        """
        least = self.threshold(false_match_rate).similarity
        if not len(queries):
            return []
        found = nearest_neighbours(self.means, 2, queries=unit_rows(queries, "queries"))
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
        """The calibration of the gallery's own scores; without several shots, its threshold alone means something."""
        if len(self.impostor) < FEWEST_SCORES:
            raise ValueError(
                f"{len(self.impostor)} images of {len(self.identities)} enrolled identities cannot tell how similar a "
                "stranger is: enrol more identities, or calibrate the encoder (spcl calibrate)"
            )
        if float(np.median(self.impostor)) >= MOST_SIMILAR:
            raise ValueError(
                "most enrolled images have an equal under another identity: nobody could be told from them. Is each "
                "image enrolled under one name?"
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
        # Bayes: each identity as likely as another, all together as likely as a stranger. The identities beyond the
        # second are as strangers: their expected likelihood ratio is 1.
        chances = self.pairs.probability(similarities * self.lengths[places])
        ratios = chances / (1 - chances)
        count = len(self.identities)
        return np.asarray(ratios[:, 0] / (ratios.sum(axis=1) + count + max(count - 2, 0)), dtype=np.float64)


def _identities(count: int) -> str:
    return "identity is" if count == 1 else "identities are"


class IdentitySums:
    """The sum of the features of each identity, gathered batch by batch.

    Args:
        dim: D, the length of a feature.
    """

    def __init__(self, dim: int) -> None:
        self._places: dict[Hashable, int] = {}
        self._sums = np.zeros((0, dim), dtype=np.float64)
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, features: NDArray[np.float32], identities: Sequence[Hashable]) -> None:
        """Add images: ``[n, D]`` unit rows and the identity of each."""
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
        """The identities, with scores of some of the images that were added.

        Args:
            sample: ``[n, D]`` of these images; beyond ``MOST_SCORED``, evenly spaced ones of them count.
            identities: Of each.
            pairs: Calibration of the encoder's pairs.

        Raises:
            ValueError: If nothing was added.
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
        """Similarity to the own identity without the image itself, and the best to another."""
        several = self._counts[places] > 1
        others = self._sums[places[several]] - images[several]
        lengths = np.linalg.norm(others, axis=1)
        genuine = np.einsum("nd,nd->n", others, images[several]) / np.maximum(lengths, 1e-12)
        if len(means) < 2 or not len(images):
            return genuine.astype(np.float32), np.empty(0, dtype=np.float32)
        found = nearest_neighbours(means, 2, queries=images)
        first_is_own = found.indices[:, 0] == places
        impostor = np.where(first_is_own, found.similarities[:, 1], found.similarities[:, 0])
        return genuine.astype(np.float32), impostor
