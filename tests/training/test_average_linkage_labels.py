"""Labels by average linkage: chosen without labels, averaged over epochs, and better than DBSCAN where chains join."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from spcl.errors import InputError
from spcl.grouping.eps_choice import suggest
from spcl.reporting.console import SilentReporter
from spcl.reporting.epoch_report import EpochReport
from spcl.runtime import Runtime
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
from spcl.training.average_linkage_labels import AverageLinkageLabeller, AverageLinkageSettings
from spcl.training.parts import TargetView

TRUTH = np.repeat(np.arange(15), 10)
VIEW = TargetView(150, np.full(150, -1))


def mixture(noise: float, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(15, 16))[TRUTH] + noise * rng.normal(size=(150, 16))
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def labeller(**settings) -> AverageLinkageLabeller:
    return AverageLinkageLabeller(AverageLinkageSettings(**settings), Runtime("cpu"), SilentReporter())


def test_easy_groups_are_found():
    part = labeller()
    found = part.label(mixture(0.3), VIEW)
    assert adjusted_rand_score(TRUTH, found.labels) > 0.95
    assert set(part.figures()) == {"k1", "threshold", "coherence"}


def test_hard_groups_are_found_better_than_by_dbscan():
    ours, theirs = [], []
    for seed in range(3):
        rows = mixture(0.9, seed)
        ours.append(adjusted_rand_score(TRUTH, labeller().label(rows, VIEW).labels))
        best = suggest(rows)
        found = pseudo_labels(rows, k1=best.k1, k2=best.k2, eps=best.eps)
        theirs.append(adjusted_rand_score(TRUTH, PseudoLabels.from_labels(found.scales.normal).labels))
    assert np.mean(ours) > np.mean(theirs)


def test_ratings_are_averaged_over_epochs_and_restored():
    first, second = mixture(0.3), mixture(0.9, seed=1)
    part = labeller(smoothing=0.5)
    part.label(first, VIEW)
    one = np.array(part.ratings)
    state = part.state_dict()
    after = part.label(second, VIEW)
    alone = labeller()
    alone.label(second, VIEW)
    np.testing.assert_allclose(part.ratings, (one + np.array(alone.ratings)) / 2)
    resumed = labeller(smoothing=0.5)
    resumed.load_state_dict(state)
    assert np.array_equal(resumed.label(second, VIEW).labels, after.labels)


def test_given_settings_are_kept():
    part = labeller(k1=8, threshold=0.6)
    part.label(mixture(0.5), VIEW)
    assert part.chosen["k1"] == 8 and part.chosen["threshold"] == 0.6


def test_advice():
    part = labeller()
    assert part.advice(PseudoLabels.from_labels(TRUTH)) is None
    assert "no clusters" in part.advice(PseudoLabels.from_labels(np.full(150, -1)))
    assert "merging" in part.advice(PseudoLabels.from_labels(np.zeros(150, np.int64)))
    poor, good = EpochReport(1, num_clusters=1), EpochReport(2, num_clusters=9)
    assert part.advice_at_end([poor, poor, good], 150) is not None
    assert part.advice_at_end([poor, good, good], 150) is None


def test_without_images_and_out_of_range():
    empty = labeller().label(torch.zeros(0, 4), TargetView(0, np.empty(0, np.int64)))
    assert len(empty.labels) == 0
    for values in ({"k1": 1}, {"threshold": 0.99}, {"smoothing": 1.0}):
        with pytest.raises(InputError) as error:
            AverageLinkageSettings(**values)
        assert error.value.code == "setting-out-of-range"


def test_a_known_number_of_images_sets_neighbours_and_links():
    """Three images of each of 50 objects: with more neighbours than that, clusters of two objects are rated higher."""
    truth = np.repeat(np.arange(50), 3)
    found: dict[int, list[float]] = {0: [], 3: []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(50, 16))[truth] + 0.7 * rng.normal(size=(150, 16))
        features = torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)
        for few, scores in found.items():
            part = labeller(images_per_object=few)
            scores.append(adjusted_rand_score(truth, part.label(features, VIEW).labels))
            assert part.chosen["k1"] in ((4, 5) if few else (6, 12, 20, 30))
    assert np.mean(found[3]) > np.mean(found[0])
    assert labeller(images_per_object=3, k1=9).label(mixture(0.3), VIEW).num_clusters > 1
    for number in (1, 11):
        with pytest.raises(InputError, match="images_per_object"):
            AverageLinkageSettings(images_per_object=number)
