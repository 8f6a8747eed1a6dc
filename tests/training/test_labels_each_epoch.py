"""Pseudo labels with settings of the epoch: suggested again, smoothed, and the clusters that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import spcl
from spcl.errors import InputError
from spcl.grouping.eps_choice import suggest
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.selfpaced.reliability import singletons_for_noise
from spcl.training.labels_each_epoch import LabelsEachEpoch, LabelsEachEpochSettings
from spcl.training.parts import TargetView


def mixture(noise: float, seed: int = 0, per: int = 12, groups: int = 10) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(groups, 16)), per, axis=0) + noise * rng.normal(size=(groups * per, 16))
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def labeller(**settings) -> LabelsEachEpoch:
    return LabelsEachEpoch(LabelsEachEpochSettings(**settings), Runtime("cpu"), SilentReporter())


VIEW = TargetView(120, np.full(120, -1))


def test_eps_moves_half_way_to_what_is_suggested():
    first, second = mixture(0.2), mixture(0.8)
    part = labeller(smoothing=0.5)
    part.label(first, VIEW)
    one = suggest(first).eps
    assert part.chosen["eps"] == pytest.approx(one)
    part.label(second, VIEW)
    two = suggest(second)
    assert two.eps != one
    assert part.chosen["eps"] == pytest.approx((one + two.eps) / 2)
    assert part.chosen["k1"] == two.k1
    assert part.figures()["eps"] == part.chosen["eps"]


def test_every_cluster_is_kept_whole():
    rows = mixture(0.8)
    found = labeller(smoothing=0.0).label(rows, VIEW)
    assert found.num_clusters == len(set(found.scales.normal) - {-1})
    expected = np.unique(singletons_for_noise(found.scales.normal), return_inverse=True)[1]
    assert np.array_equal(found.labels, expected)


def test_the_threshold_is_set_in_each_epoch_or_by_the_first():
    first, second = mixture(0.3), mixture(1.0, seed=1)
    again, frozen = labeller(keep="reliable"), labeller(keep="first-threshold")
    for part in (again, frozen):
        part.label(first, VIEW)
    before = frozen.independence_threshold
    chosen = dict(again.chosen)
    found = again.label(second, VIEW)
    used = again.chosen
    alone = spcl.pseudo_labels(second, k1=used["k1"], k2=used["k2"], eps=used["eps"])
    assert np.array_equal(found.labels, alone.labels) and again.independence_threshold == alone.independence_threshold
    frozen.label(second, VIEW)
    assert frozen.independence_threshold == before
    assert chosen != used


def test_a_given_eps_is_kept():
    part = labeller(eps=0.5, k1=8, k2=3)
    for noise in (0.2, 0.8):
        found = part.label(mixture(noise), VIEW)
        alone = spcl.pseudo_labels(mixture(noise), k1=8, k2=3, eps=0.5)
        assert np.array_equal(found.scales.normal, alone.scales.normal)
    assert part.chosen is None


def test_without_images_and_out_of_range():
    part = labeller()
    for _ in range(2):
        assert len(part.label(torch.zeros(0, 4), TargetView(0, np.empty(0, np.int64))).labels) == 0
    with pytest.raises(InputError) as error:
        LabelsEachEpochSettings(smoothing=1.0)
    assert error.value.code == "setting-out-of-range"
