"""What a similarity means, against distributions of which it is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from spcl.verification.calibration import Calibration
from spcl.verification.rate_spread import rounded_up
from spcl.verification.stranger_scores import StrangerScores
from tests.mixtures import mixture, true_pairs

SAME, DIFFERENT = beta(8, 2), beta(3, 6)


def drawn(distribution, count, seed):
    return 2 * distribution.rvs(count, random_state=seed) - 1


@pytest.fixture(scope="module")
def fitted():
    return Calibration.fit(drawn(SAME, 20_000, 0), drawn(DIFFERENT, 60_000, 1))


def test_the_probability_is_the_true_one_under_a_balanced_prior(fitted):
    similarities = np.linspace(-0.6, 0.8, 15)
    share = (1 + similarities) / 2
    truth = SAME.pdf(share) / (SAME.pdf(share) + DIFFERENT.pdf(share))
    # Beta distributions are what beta calibration is exact for; ten times more different pairs change nothing.
    np.testing.assert_allclose(fitted.probability(similarities), truth, atol=0.02)


def test_the_probability_grows_with_the_similarity_up_to_the_ends(fitted):
    values = fitted.probability(np.linspace(-1, 1, 2001))
    assert (np.diff(values) >= 0).all()
    assert 0 < values[0] < 0.01 < 0.99 < values[-1] < 1


@pytest.mark.parametrize(("rate", "factor"), [(0.1, 1.1), (0.01, 1.2), (0.001, 1.3), (1e-4, 1.5), (1e-5, 3)])
def test_the_false_match_rate_is_kept(fitted, rate, factor):
    threshold = fitted.threshold(rate)
    assert rate / factor < DIFFERENT.sf((1 + threshold.similarity) / 2) < rate * factor
    assert threshold.true_match_rate == pytest.approx(SAME.sf((1 + threshold.similarity) / 2), abs=0.02)
    assert (threshold.warning is not None) == (rate <= 1e-4)
    if threshold.warning:
        assert "60000 pairs of different objects" in threshold.warning


def test_verdicts(fitted):
    low, high = fitted.lower_threshold(0.01), fitted.threshold(0.01).similarity
    assert low < high
    assert SAME.cdf((1 + low) / 2) == pytest.approx(0.01, rel=0.2)
    answers = [fitted.verdict(value, 0.01) for value in (low - 0.01, low + 0.01, high - 0.01, high, 1.0)]
    assert answers == ["different", "unsure", "unsure", "same", "same"]


def test_objects_that_never_resemble_each_other_leave_nothing_unsure():
    rng = np.random.default_rng(0)
    apart = Calibration.fit(rng.uniform(0.9, 1, 100), rng.uniform(-0.1, 0.1, 100))
    assert apart.lower_threshold(0.01) == apart.threshold(0.01).similarity
    assert apart.probability(0.95) > 0.9
    assert apart.probability(0.0) < 0.1


def test_on_other_identities_the_rate_is_kept_within_a_factor_of_two():
    features, identities = mixture(num_identities=300, per_identity=6, seed=0)
    known = identities < 150
    fitted = Calibration.fit(*true_pairs(features[known], identities[known]))
    _, different = true_pairs(features[~known], identities[~known])
    for rate in (0.1, 0.01, 0.001):
        observed = (different >= fitted.threshold(rate).similarity).mean()
        assert rate / 2 < observed < 2 * rate


def test_few_objects_are_told():
    def warning_of(num_identities):
        features, identities = mixture(num_identities=num_identities, per_identity=20, seed=3)
        first, second = np.triu_indices(len(features), 1)
        similarities = (features[first] * features[second]).sum(axis=1)
        is_same = identities[first] == identities[second]
        groups = np.stack([identities[first], identities[second]], axis=1)[~is_same]
        fitted = Calibration.fit(similarities[is_same], similarities[~is_same], different_groups=groups)
        # What one cannot be sure of makes the threshold stricter.
        assert fitted.threshold(0.001).similarity > fitted.different.height(0.001)
        return fitted.threshold(0.001).warning, fitted.spread(0.001)

    few, many = warning_of(4), warning_of(40)
    assert few[1] > 2 * many[1]
    assert "few or similar objects (4)" in few[0]


def of_labels(features, identities):
    first, second = np.triu_indices(len(features), 1)
    similarities = np.einsum("pd,pd->p", features[first], features[second])
    is_same = identities[first] == identities[second]
    groups = np.stack([identities[first], identities[second]], axis=1)[~is_same]
    return Calibration.fit(similarities[is_same], similarities[~is_same], different_groups=groups)


def test_the_error_is_that_of_leaving_out_one_object_after_the_other():
    features, identities = mixture(num_identities=9, per_identity=4, seed=6)
    first, second = np.triu_indices(len(features), 1)
    similarities = np.einsum("pd,pd->p", features[first], features[second]).astype(np.float64)
    # Groups as clusters are: some pairs are inside one.
    groups = np.stack([identities[first] // 2, identities[second] // 2], axis=1)
    fitted = Calibration.fit(np.linspace(0.9, 1, 20), similarities, different_groups=groups)
    hits = similarities >= fitted.different.height(0.1)
    shares = np.array([hits[(groups != one).all(axis=1)].mean() for one in range(5)])
    expected = np.sqrt(4 / 5 * ((shares - shares.mean()) ** 2).sum()) / hits.mean()
    assert fitted.spread(0.1) == pytest.approx(expected, rel=1e-6)


def test_what_is_called_sure_is_kept_within_a_factor_of_two():
    kept = {True: [], False: []}
    for seed in range(8):
        for num in (12, 30, 80):
            features, identities = mixture(num_identities=num + 120, per_identity=4, seed=seed)
            known = identities < num
            fitted = of_labels(features[known], identities[known])
            _, different = true_pairs(features[~known], identities[~known])
            for rate in (0.1, 0.01, 0.001):
                observed = (different >= fitted.threshold(rate).similarity).mean() / rate
                kept[fitted.is_kept(rate)].append(0.5 < observed < 2)
                warnings = set(fitted.warnings(rate)) - {"few-same-pairs"}
                assert fitted.is_kept(rate) == (not warnings)
    assert min(len(kept[True]), len(kept[False])) > 15  # neither is said of all
    assert np.mean(kept[True]) >= 0.95
    assert np.mean(kept[False]) < np.mean(kept[True])


def test_what_is_said_of_pairs_of_one_object_and_of_clusters(fitted):
    rng = np.random.default_rng(0)
    few = Calibration.fit(rng.uniform(0.7, 1, 12), rng.uniform(-0.2, 0.2, 5000))
    assert "extrapolated from 12 pairs of one object" in few.threshold(0.01).warning
    assert fitted.warnings(0.01) == {}
    features, identities = mixture(num_identities=200, per_identity=4, seed=1)
    labels = of_labels(features, identities)
    assert labels.is_kept(0.005)
    # Clusters never make a rate sure that is so rare.
    clusters = replace(labels, labelled=False)
    assert clusters.least_rate() == pytest.approx(0.01, rel=0.15)
    assert not clusters.is_kept(0.005)
    assert set(clusters.warnings(0.005)) - set(labels.warnings(0.005)) == {"no-labels"}
    assert "few or similar objects: " in replace(labels, num_objects=None, spreads=(2.0,) * 7).warning(0.1)


def test_the_least_rate_that_is_sure():
    features, identities = mixture(num_identities=100, per_identity=5, seed=1)
    many = of_labels(features, identities)
    least = many.least_rate()
    assert 1e-4 < least < 0.03
    assert many.is_kept(least)
    assert not many.is_kept(least * 0.8)
    assert "few-objects" in many.warnings(1e-4)
    few = of_labels(features[:75], identities[:75])
    assert few.least_rate() is None
    assert "few or similar objects (15)" in few.warning(0.1)
    unknown = Calibration.fit(*true_pairs(features, identities))
    assert unknown.least_rate() is None
    assert unknown.warning(0.1) is None


@pytest.mark.parametrize(
    ("rate", "rounded"), [(0.0032, 0.004), (0.004, 0.004), (0.01, 0.01), (0.096, 0.1), (0.00011, 0.0002)]
)
def test_rates_are_rounded_up_to_one_digit(rate, rounded):
    assert rounded_up(rate) == pytest.approx(rounded, rel=1e-9)


def test_calibrations_of_earlier_versions():
    features, identities = mixture(num_identities=100, per_identity=5, seed=1)
    now = of_labels(features, identities)
    values = {
        name: value for name, value in now.to_dict().items() if name not in ("strangers", "labelled", "num_objects")
    }
    before = Calibration.from_dict(values | {"spreads": values["spreads"][:5]})
    assert before.strangers is None
    assert before.threshold(0.01) == now.threshold(0.01)
    assert before.spread(0.0001) == before.spread(0.001) == now.spread(0.001)


def test_plain_values_and_back(fitted):
    assert Calibration.from_dict(fitted.to_dict()) == fitted
    features, identities = mixture(num_identities=30, per_identity=4, seed=1)
    strangers = StrangerScores.measure(features, identities, identities, np.random.default_rng(0))
    whole = replace(of_labels(features, identities), strangers=strangers)
    assert Calibration.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    with pytest.raises(ValueError, match="not a calibration"):
        Calibration.from_dict({"offset": 1.0})


@pytest.mark.parametrize(
    ("same", "different", "message"),
    [
        (np.ones(9), np.zeros(50), "9 same-object pairs; a calibration needs at least 10"),
        (np.ones(20), np.zeros(0), "0 different-object pairs"),
        (np.full(20, 3.0), np.zeros(20), "must lie between -1 and 1: are the features of unit length"),
        (np.full(20, np.nan), np.zeros(20), "must lie between -1 and 1"),
        (np.zeros(20), np.full(20, 0.5), "similarity does not separate them"),
    ],
)
def test_refusals(same, different, message):
    with pytest.raises(ValueError, match=message):
        Calibration.fit(same, different)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan")])
def test_a_rate_is_a_share(fitted, rate):
    with pytest.raises(ValueError, match="expected above 0 and below 1"):
        fitted.threshold(rate)
