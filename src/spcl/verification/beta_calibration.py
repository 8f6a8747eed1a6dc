"""Beta calibration: the log odds of a match as a monotone function of the similarity (Kull, Silva Filho, Flach 2017).

It has three parameters: ``offset - to_one * log((1 - similarity) / 2) + from_minus_one * log((1 + similarity) / 2)``.
Probabilities and thresholds are computed from it in ``calibration.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_FITTED = 20_000
_LEAST_GAP = 1e-6
_RIDGE = 1e-6


def logarithms(similarities: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute ``-log((1 - s) / 2)`` and ``log((1 + s) / 2)``, with s kept a little inside -1 and 1."""
    share = np.clip((1 + similarities) / 2, _LEAST_GAP, 1 - _LEAST_GAP)
    return -np.log1p(-share), np.log(share)


def fit_beta_calibration(same: NDArray[np.float64], different: NDArray[np.float64]) -> tuple[float, float, float]:
    """Fit ``to_one``, ``from_minus_one`` and ``offset`` by maximum likelihood, the first two not negative.

    Args:
        same: ``[n]`` similarities of images of one object.
        different: ``[m]`` similarities of images of two objects; both kinds have the same total weight.
    """
    same, different = _thinned(same), _thinned(different)
    both = np.concatenate([same, different])
    terms = np.stack([*logarithms(both), np.ones(len(both))], axis=1)
    # Targets a little inside 0 and 1 (Platt 1999) keep separable pairs finite.
    count = np.array([len(same), len(different)])
    weights = np.repeat(0.5 / count, count)
    target = np.repeat([(count[0] + 1) / (count[0] + 2), 1 / (count[1] + 2)], count)

    def cost(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = terms @ parameters
        loss = np.logaddexp(0, log_odds) - target * log_odds
        slope = weights * (1 / (1 + np.exp(-np.clip(log_odds, -700, 700))) - target)
        shrinking = _RIDGE * parameters * [1, 1, 0]
        return float(weights @ loss + 0.5 * shrinking @ parameters), terms.T @ slope + shrinking

    # Imported here because it takes a second to load, and comparing two images fits nothing.
    from scipy.optimize import minimize

    found = minimize(
        cost, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)]
    )
    to_one, from_minus_one, offset = found.x.tolist()
    return to_one, from_minus_one, offset


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take some thousands of values, evenly spaced among the sorted ones, which have the same distribution."""
    if len(values) <= _MOST_FITTED:
        return values
    places = (np.arange(_MOST_FITTED) + 0.5) * len(values) / _MOST_FITTED
    return np.asarray(np.sort(values)[places.astype(np.int64)])
