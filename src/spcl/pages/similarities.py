"""Similarities of images of one object and of different objects: histograms, and the calibration of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.inference.embedding import EmbeddedImages, Encoder
from spcl.pages.charts import Bars, Mark, histogram
from spcl.pages.shown_images import ShownImages
from spcl.randomness import generator
from spcl.records import Record, cameras_of
from spcl.verification.calibration import Calibration
from spcl.verification.pairs import different_pairs, pair_similarities, same_pairs
from spcl.verification.stored_calibration import stored_calibration
from spcl.verification.thresholds import Threshold

MOST_PAIRS = 100_000
_BARS = 60
_FEWEST_PAIRS = 20


@dataclass(frozen=True)
class UsedCalibration:
    """The calibration that a page uses.

    Attributes:
        calibration: Maps similarities to probabilities.
        origin: Where it comes from, in a phrase.
        rate: False-match rate of the threshold.
    """

    calibration: Calibration
    origin: str
    rate: float = 0.01

    @property
    def threshold(self) -> Threshold:
        """The similarity from which two images count as one object, at the page's rate."""
        return self.calibration.threshold(self.rate)

    def probability(self, similarity: float) -> float:
        """Give the probability that two images of this similarity show one object, for a prior of 0.5."""
        return float(self.calibration.probability(similarity))


@dataclass(frozen=True)
class SimilaritySection:
    """Histograms of similarities.

    Attributes:
        chart: Both histograms.
        basis: What counts as one object: the identities, or the groups.
        num_same: Number of pairs of one object.
        num_different: Number of pairs of different objects.
        overlap: Share of the pairs of different objects that are more similar than the median pair of one object.
        threshold: The threshold, where there is a calibration.
        origin: Origin of the calibration; empty: there is none.
    """

    chart: Markup
    basis: str
    num_same: int
    num_different: int
    overlap: float
    threshold: Threshold | None
    origin: str


def used_calibration(
    images: ShownImages, records: Sequence[Record], encoder: Encoder | None, *, rate: float = 0.01
) -> tuple[UsedCalibration | None, str]:
    """Give the calibration of an encoder: the one in its checkpoint, otherwise one that is fitted to the identities.

    Args:
        images: The images with their features.
        records: ``[N]`` their records with identities, or without any.
        encoder: The encoder; None: unknown.
        rate: False-match rate of the threshold.

    Returns:
        The calibration, and an empty text; or None, and why there is none.
    """
    reason = "no calibration: spcl calibrate makes one (docs/compare.md)"
    try:
        stored = None if encoder is None else stored_calibration(encoder)
    except InputError as error:
        stored, reason = None, str(error)
    if stored is not None:
        return UsedCalibration(stored.calibration, f"the checkpoint's calibration, from {stored.origin}", rate), ""
    if images.features is None or all(record.identity is None for record in records):
        return None, reason
    from spcl.verification.calibration_pairs import labelled_pairs

    try:
        pairs = labelled_pairs(EmbeddedImages(tuple(records), images.features), generator(0, "pairs of a page"))
        return UsedCalibration(pairs.fit(), "fitted to the identities of these images", rate), ""
    except ValueError as error:
        return None, f"no calibration: {error}"


def similarity_section(
    images: ShownImages, objects: NDArray[np.int64], basis: str, calibration: UsedCalibration | None
) -> SimilaritySection | None:
    """Make the histograms of pairs of one object and of different objects.

    Args:
        images: The images with their features.
        objects: ``[N]`` identity or group of each image, -1 unknown.
        basis: What ``objects`` are, in a phrase.
        calibration: Calibration whose threshold is drawn; None: none.

    Returns:
        None without features, or where pairs of either kind are few.
    """
    if images.features is None:
        return None
    rng = generator(0, "similarities of a page")
    same = same_pairs(objects, cameras_of(images.records), most=MOST_PAIRS, rng=rng)
    different = different_pairs(objects, most=MOST_PAIRS, rng=rng)
    if min(len(same), len(different)) < _FEWEST_PAIRS:
        return None
    alike, unlike = (pair_similarities(images.features, pairs) for pairs in (same, different))
    low = max(-1.0, float(min(alike.min(), np.quantile(unlike, 0.001))))
    shares = [np.histogram(values, _BARS, (low, 1.0))[0] / len(values) for values in (alike, unlike)]
    threshold = None if calibration is None else calibration.threshold
    marks = [] if threshold is None else [Mark(threshold.similarity, f"threshold {threshold.similarity:.3f}")]
    bars = [Bars("different objects", shares[1].tolist(), 1), Bars("one object", shares[0].tolist(), 0)]
    title = f"Histograms of similarities: {len(alike)} pairs of one object, {len(unlike)} of different objects"
    return SimilaritySection(
        chart=histogram(bars, low, 1.0, title=title, x_title="cosine similarity", marks=marks),
        basis=basis,
        num_same=len(alike),
        num_different=len(unlike),
        overlap=float((unlike >= np.median(alike)).mean()),
        threshold=threshold,
        origin="" if calibration is None else calibration.origin,
    )
