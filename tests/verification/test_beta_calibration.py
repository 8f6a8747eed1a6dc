"""The fit of a beta calibration: the most likely parameters within their bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from spcl.verification.beta_calibration import fit_beta_calibration, logarithms


def loss_and_slope(parameters, terms, target, weights):
    log_odds = terms @ parameters
    ridge = 1e-6 * parameters * [1, 1, 0]
    loss = weights @ (np.logaddexp(0, log_odds) - target * log_odds) + 0.5 * ridge @ parameters
    return loss, terms.T @ (weights * (1 / (1 + np.exp(-log_odds)) - target)) + ridge


@pytest.mark.parametrize("seed", range(20))
def test_the_loss_is_as_low_as_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    num_same, num_different = rng.integers(2, 3000, 2)
    distance = rng.uniform(-0.2, 1)  # below 0: matches are less similar, and a bound holds
    same = np.clip(rng.normal(0.3 + distance, 0.01 + 0.2 * rng.random(), num_same), -1, 1)
    different = np.clip(rng.normal(0.3, 0.01 + 0.3 * rng.random(), num_different), -1, 1)
    both = np.concatenate([same, different])
    counts = np.array([num_same, num_different])
    target = np.repeat([(num_same + 1) / (num_same + 2), 1 / (num_different + 2)], counts)
    given = (np.stack([*logarithms(both), np.ones(len(both))], axis=1), target, np.repeat(0.5 / counts, counts))
    bounds = [(0, None), (0, None), (None, None)]
    found = np.array(fit_beta_calibration(same, different))
    exact = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-9}
    theirs = minimize(loss_and_slope, [1, 1, 0], args=given, jac=True, method="L-BFGS-B", bounds=bounds, options=exact)
    assert (found[:2] >= 0).all()
    assert loss_and_slope(found, *given)[0] <= theirs.fun + 1e-9
    np.testing.assert_allclose(given[0] @ found, given[0] @ theirs.x, atol=1e-3)


def test_similarities_that_say_nothing_give_even_odds():
    values = np.linspace(-0.5, 0.9, 50)
    to_one, from_minus_one, offset = fit_beta_calibration(values, values)
    assert (to_one, from_minus_one) == (0, 0)
    assert offset == pytest.approx(0, abs=1e-6)
