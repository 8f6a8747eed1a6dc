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
_MOST_STEPS = 200
_LEAST_CURVATURE = 1e-12
_SHORTEST_STEP = 1e-10


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

    to_one, from_minus_one, offset = _most_likely(terms, target, weights).tolist()
    return to_one, from_minus_one, offset


def _most_likely(
    terms: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Minimise the logistic loss of ``terms @ parameters`` over parameters of which the first two are not negative.

    The loss is strictly convex, so that its minimum within the bounds is the free minimum of those parameters that are
    not zero there: each choice of them is tried. This stands here, in place of ``scipy.optimize``, because loading that
    takes as long as the rest of ``spcl identify``.

    Args:
        terms: ``[n, 3]`` the two logarithms and ones.
        target: ``[n]`` probability of a match.
        weights: ``[n]`` weight of each row.

    Returns:
        ``[3]`` the parameters.
    """
    shrinking = np.array([_RIDGE, _RIDGE, 0.0])
    least, best = np.inf, np.zeros(3)
    for free in ([0, 1, 2], [0, 2], [1, 2], [2]):
        parameters = np.zeros(3)
        parameters[free], loss = _free_minimum(terms[:, free], target, weights, shrinking[free])
        if (parameters[:2] >= 0).all() and loss < least:
            least, best = loss, parameters
    return best


def _free_minimum(
    terms: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64], ridge: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Minimise the logistic loss without bounds, by Newton's method with halved steps; the parameters and the loss."""

    def loss_of(parameters: NDArray[np.float64]) -> float:
        log_odds = terms @ parameters
        return float(weights @ (np.logaddexp(0, log_odds) - target * log_odds) + 0.5 * ridge @ parameters**2)

    parameters = np.zeros(terms.shape[1])
    loss = loss_of(parameters)
    for _ in range(_MOST_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(terms @ parameters, -700, 700)))
        slope = terms.T @ (weights * (probability - target)) + ridge * parameters
        curvature = (terms.T * (weights * probability * (1 - probability))) @ terms + np.diag(ridge + _LEAST_CURVATURE)
        step = np.linalg.solve(curvature, slope)
        while (tried := loss_of(parameters - step)) > loss and np.abs(step).max() > _SHORTEST_STEP:
            step = step / 2
        if tried >= loss:
            break
        parameters, loss = parameters - step, tried
    return parameters, loss


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take some thousands of values, evenly spaced among the sorted ones, which have the same distribution."""
    if len(values) <= _MOST_FITTED:
        return values
    places = (np.arange(_MOST_FITTED) + 0.5) * len(values) / _MOST_FITTED
    return np.asarray(np.sort(values)[places.astype(np.int64)])
