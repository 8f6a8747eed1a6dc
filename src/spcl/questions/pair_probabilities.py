"""Probabilities that two images of a folder show one object, from the groups of these images alone.

``Calibration.probability`` is for equally many pairs of one object and of two. In a folder, pairs of two objects are
far more frequent. Their share is estimated from the images: it is the share that equals the mean probability of all
pairs (expectation maximisation for a changed prior: Saerens, Latinne and Decaestecker, 2002).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.selfpaced.reliability import singletons_for_noise
from spcl.verification.calibration import Calibration
from spcl.verification.calibration_pairs import clusters_of
from spcl.verification.pairs import NO_GROUP, different_pairs, pair_similarities, same_pairs

MOST_PAIRS = 100_000
_FIRST_SHARE, _LEAST_SHARE, _MOST_ROUNDS = 0.05, 1e-7, 200
_BINS = 4000


def calibration_of(features: NDArray[np.float32], rng: np.random.Generator) -> Calibration:
    """Calibrate similarities without labels: members of reliable clusters against images that strict clusters separate.

    Args:
        features: ``[N, D]`` unit rows.
        rng: Generator of the random draw of pairs.

    Raises:
        ValueError: If the images give too few pairs, or clusters are not more similar than the rest.
    """
    clusters = clusters_of(features)
    reliable = np.where(np.bincount(clusters.labels)[clusters.labels] > 1, clusters.labels, NO_GROUP)
    no_cameras = np.full(len(features), NO_GROUP)
    same = same_pairs(reliable, no_cameras, most=MOST_PAIRS, rng=rng)
    different = different_pairs(singletons_for_noise(clusters.scales.tight), most=MOST_PAIRS, rng=rng)
    return Calibration.fit(pair_similarities(features, same), pair_similarities(features, different), labelled=False)


class PairProbabilities:
    """The probability that two images of a folder show one object.

    Args:
        calibration: Calibration of the encoder's similarities.
        similarities: Similarities of pairs of two images, drawn from all pairs, of any shape.

    Attributes:
        share: Estimated share of pairs of one object among all pairs.
    """

    def __init__(self, calibration: Calibration, similarities: NDArray[np.float32]) -> None:
        self._calibration = calibration
        counts, edges = np.histogram(np.clip(similarities, -1, 1), bins=_BINS, range=(-1, 1))
        even = calibration.probability((edges[1:] + edges[:-1]) / 2)
        ratios = even / (1 - even)
        share = _FIRST_SHARE
        for _ in range(_MOST_ROUNDS):
            before, weighted = share, share * ratios
            share = max(_LEAST_SHARE, float(np.average(weighted / (weighted + 1 - share), weights=counts)))
            if abs(share - before) < 1e-6 * share:
                break
        self.share = share

    def of(self, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the probabilities of similarities of any shape."""
        even = self._calibration.probability(similarities)
        weighted = self.share * even / (1 - even)
        return np.asarray(weighted / (weighted + 1 - self.share), dtype=np.float64)
