"""The label-free score and the agreement of two epochs, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from spcl.neighbours.nearest import nearest_neighbours
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.training.average_linkage_labels import AverageLinkageSettings
from spcl.training.label_score import label_agreement, label_score
from spcl.training.labels_each_epoch import LabelsEachEpochSettings
from spcl.training.parts import RatesLabels, TargetView
from spcl.training.self_paced_labels import SelfPacedLabelSettings

TRUTH = np.repeat(np.arange(6), 8)
VIEW = TargetView(48, np.full(48, -1))


def rows(noise: float) -> torch.Tensor:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 16))[TRUTH] + noise * rng.normal(size=(48, 16))
    return torch.nn.functional.normalize(torch.from_numpy(features.astype(np.float32)), dim=1)


def test_score_by_hand():
    neighbours = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    pairs = 2 * 0.5**2
    assert label_score(np.array([0, 0, 1, 1]), neighbours) == pytest.approx(1 - 2 * pairs / (1 + pairs), abs=1e-6)
    assert label_score(np.zeros(4, np.int64), neighbours) == 0
    assert label_score(np.full(4, -1), neighbours) < 0


def test_true_labels_score_better_than_merged_torn_and_random_ones():
    neighbours = nearest_neighbours(rows(0.5), 10).indices
    best = label_score(TRUTH, neighbours)
    for worse in (TRUTH // 2, np.arange(48) // 2, np.random.default_rng(1).permutation(TRUTH)):
        assert label_score(worse, neighbours) < best


def test_agreement_is_the_adjusted_rand_index():
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.integers(0, 5, 40), rng.integers(0, 7, 40)
        assert label_agreement(first, second) == pytest.approx(adjusted_rand_score(first, second), abs=1e-6)
    assert label_agreement(TRUTH, TRUTH) == 1
    assert label_agreement(np.arange(4), np.arange(4)) is None
    assert label_agreement(np.empty(0, np.int64), np.empty(0, np.int64)) is None


@pytest.mark.parametrize("settings", [SelfPacedLabelSettings, LabelsEachEpochSettings, AverageLinkageSettings])
def test_the_package_s_labellers_rate_their_labels(settings):
    class Context:
        runtime, report = Runtime("cpu"), SilentReporter()

    part = settings().build(Context())
    assert isinstance(part, RatesLabels) and part.label_score() is None
    found = part.label(rows(0.5), VIEW)
    neighbours = nearest_neighbours(rows(0.5), 4).indices
    assert part.label_score() == label_score(found.labels, neighbours)
    easy = part.label_score()
    part.label(rows(3.0), VIEW)
    assert part.label_score() < easy
    assert len(part.label(torch.zeros(0, 4), TargetView(0, np.empty(0, np.int64))).labels) == 0
