"""The threshold for naming probes that an encoder's calibration gives, where a gallery is too small to give its own.

It comes from the scores of strangers against as many identities (``stranger_scores.py``), or, if these were not
measured, from pairs, as if the identities were independent.
"""

from __future__ import annotations

from spcl.verification.calibration import Calibration, in_one_line
from spcl.verification.rate_spread import KEPT_FACTOR, factor_in_words
from spcl.verification.thresholds import MOST_SIMILAR, Threshold

_SURE_WITHOUT_LABELS = 0.1
"""Lowest false-match rate that is trusted for enrolled identities, if the calibration was made without labels."""


def threshold_from_pairs(
    pairs: Calibration, false_match_rate: float, *, count: int, shots: float, length: float
) -> Threshold:
    """Give the similarity to a mean from which a probe is given an identity.

    Args:
        pairs: Calibration of the encoder.
        false_match_rate: Share of probes of strangers that are given an identity, above 0 and below 1.
        count: Number of enrolled identities.
        shots: Median number of shots of an identity.
        length: Median length of the mean of an identity's shots before it was normalised, above 0.

    Returns:
        Threshold; its true-match rate is unknown.
    """
    limits = pairs.warnings(false_match_rate)
    limits.pop("few-same-pairs", None)  # this threshold does not depend on it
    if not pairs.labelled and false_match_rate < _SURE_WITHOUT_LABELS:
        # Images of enrolled identities that fell into other clusters counted as strangers (docs/results.md).
        limits["no-labels"] = "calibrated without labels: fewer images than expected get a name"
    strangers = pairs.strangers
    if strangers is None:
        # A mean is more similar to everything than its shots are on average, by its lost length.
        similarity = pairs.threshold(1 - (1 - false_match_rate) ** (1 / count)).similarity / length
    else:
        rate = pairs.careful_rate(false_match_rate)
        similarity = strangers.height(rate, count=count, shots=shots, length=length)
        # One shot of one identity is a pair. If clusters were enrolled for the measurement, strangers were nearer to
        # them than to most images, because clusters are dense: the scores of pairs correct this.
        similarity += pairs.different.height(rate) - strangers.height(rate, count=1, shots=1, length=1)
        factor = strangers.factor(false_match_rate, count=count)
        if factor > KEPT_FACTOR:
            limits["few-enrolled"] = (
                f"few identities are enrolled ({count}): strangers can get a name {factor_in_words(factor)} times as "
                "often"
            )
    return Threshold(min(MOST_SIMILAR, similarity), false_match_rate, None, in_one_line(limits))
