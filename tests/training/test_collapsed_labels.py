"""Labels that have merged or vanished: mended by another distance for the epoch, and left alone where none helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.training.average_linkage_labels import AverageLinkageLabeller, AverageLinkageSettings
from spcl.training.collapsed_labels import collapse_of, distances_to_try
from spcl.training.labels_each_epoch import LabelsEachEpoch, LabelsEachEpochSettings
from spcl.training.parts import TargetView
from spcl.training.self_paced_labels import SelfPacedLabeller, SelfPacedLabelSettings

VIEW = TargetView(40, np.full(40, -1))
KINDS = {
    "self-paced": (SelfPacedLabeller, SelfPacedLabelSettings),
    "self-paced-each-epoch": (LabelsEachEpoch, LabelsEachEpochSettings),
    "average-linkage": (AverageLinkageLabeller, AverageLinkageSettings),
}


def four_objects(noise: float = 1.0) -> torch.Tensor:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, 16)), 10, axis=0) + noise * rng.normal(size=(40, 16))
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def labeller(kind: str, **settings):
    part, of = KINDS[kind]
    return part(of(**settings), Runtime("cpu"), SilentReporter())


def test_ways_of_collapse():
    assert collapse_of(np.zeros(3, np.int64)) == "merged"
    assert collapse_of(np.array([0, 0, 0, 1, 2])) == "merged"
    assert collapse_of(np.array([0, 0, 1, 1])) is None
    assert collapse_of(np.array([0, 0, 1, 2])) == "vanished"
    assert collapse_of(np.arange(3)) == "vanished"
    assert collapse_of(np.full(3, -1)) == "vanished"
    assert collapse_of(np.empty(0, np.int64)) is None


def test_distances_to_try():
    assert distances_to_try(0.6, "merged", least=0.5, most=0.9) == [0.55, 0.5]
    assert distances_to_try(0.6, "vanished", least=0.5, most=0.72) == [0.65, 0.7]


def test_the_paper_merges_all_images_where_k1_is_most_of_them():
    part = labeller("self-paced")
    found = part.label(four_objects(), VIEW)
    assert (found.num_clusters, found.cluster_sizes.max()) == (1, 40)
    assert part.label_score() == 0


@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        ("self-paced-each-epoch", {"eps": 0.6, "k1": 30, "k2": 6}, "eps"),
        ("self-paced-each-epoch", {"eps": 0.6, "k1": 30, "k2": 6, "keep": "first-threshold"}, "eps"),
        ("average-linkage", {"threshold": 0.9, "k1": 30}, "threshold"),
    ],
)
def test_merged_labels_are_mended_and_without_mend_they_stay(kind, settings, name):
    part = labeller(kind, **settings)
    for _ in range(2):
        found = part.label(four_objects(), VIEW)
        assert found.num_clusters >= 2 and 2 * found.cluster_sizes.max() <= 40
        figures = part.figures()
        assert figures["mended_from"] == settings[name] > figures[name]
        assert part.label_score() > 0
    stays = labeller(kind, **settings, mend=False)
    assert stays.label(four_objects(), VIEW).num_clusters == 1
    assert "mended_from" not in stays.figures()


@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        ("self-paced-each-epoch", {"eps": 0.05, "k1": 10, "k2": 3}, "eps"),
        ("average-linkage", {"threshold": 0.001, "k1": 10}, "threshold"),
    ],
)
def test_vanished_labels_are_mended(kind, settings, name):
    part = labeller(kind, **settings)
    found = part.label(four_objects(1.5), VIEW)
    assert found.num_clusters >= 2 and part.figures()[name] > settings[name]
    assert labeller(kind, **settings, mend=False).label(four_objects(1.5), VIEW).num_clusters < 2


@pytest.mark.parametrize("kind", ["self-paced-each-epoch", "average-linkage"])
def test_equal_images_and_usable_labels_are_left_alone(kind):
    for rows in (torch.ones(40, 4) / 2, four_objects()):
        ours, plain = labeller(kind), labeller(kind, mend=False)
        assert np.array_equal(ours.label(rows, VIEW).labels, plain.label(rows, VIEW).labels)
        assert ours.figures() == plain.figures()


def test_a_smoothed_eps_goes_on_from_the_mended_one():
    part = labeller("self-paced-each-epoch", smoothing=0.5)
    part.label(four_objects(), VIEW)
    part.chosen = {"eps": 0.99, "k1": 30, "k2": 6}
    rows = four_objects()
    part.label(rows, VIEW)
    assert collapse_of(part.label(rows, VIEW).labels) is None
