"""The clustering as an estimator of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import check_estimator

import spcl


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts_it():
    failed = [
        (check["check_name"], check["exception"])
        for check in check_estimator(spcl.SelfPacedClustering(), on_fail=None, on_skip=None)
        if check["status"] not in ("passed", "skipped")
    ]
    assert failed == []


@pytest.fixture
def features():
    random = np.random.default_rng(3)
    centres = random.standard_normal((6, 16))
    return (np.repeat(centres, 8, axis=0) + 0.3 * random.standard_normal((48, 16))).astype(np.float32)


def test_it_is_cluster(features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = spcl.cluster(unit)
    estimator = spcl.SelfPacedClustering().fit(features)
    assert np.array_equal(estimator.labels_, found.group)
    assert np.allclose(estimator.confidence_, found.confidence)
    assert (estimator.eps_, estimator.k1_) == (found.eps, found.k1)
    piped = make_pipeline(Normalizer(), clone(estimator)).fit_predict(features)
    assert np.array_equal(piped, found.group)


def test_a_row_of_zeros_is_in_no_group(features):
    with_zeros = np.concatenate([features[:20], np.zeros((2, 16), np.float32), features[20:]])
    labels = spcl.SelfPacedClustering().fit_predict(with_zeros)
    assert labels[20:22].tolist() == [-1, -1]
    assert np.array_equal(np.delete(labels, [20, 21]), spcl.SelfPacedClustering().fit_predict(features))


def test_settings_are_checked(features):
    with pytest.raises(ValueError, match="eps"):
        spcl.SelfPacedClustering(eps=1.5).fit(features)
