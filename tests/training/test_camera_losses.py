"""Losses that use cameras: by hand, equal to plain loops, with unknown cameras, with one camera, and with a source."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spcl.errors import InputError
from spcl.runtime import Runtime
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory
from spcl.selfpaced.slots import Slots
from spcl.training.camera_entropy import CameraEntropySettings, camera_entropy_weights
from spcl.training.camera_proxies import CameraProxiesSettings
from spcl.training.normalised_centroids import NormalisedCentroidsSettings
from spcl.training.parts import StepInputs, TargetView

CAMERAS = {
    "known": [0, 1, 2, 0, 1, 1, 2, 0, 0, 2],
    "one": [3] * 10,
    "one unknown": [0, 1, 2, 0, -1, 1, -1, 0, 0, 2],
}
CLASSES = [2, 2, 2, 2, 3, 3, 4, 5, 5, 2]
"""Classes of the target's images; the source has the classes 0 and 1."""


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def context_of(cameras, num_source=2, memory=None):
    cameras = np.array(cameras, dtype=np.int64)
    return SimpleNamespace(
        target=TargetView(len(cameras), cameras),
        slots=Slots(num_source, len(cameras)),
        runtime=Runtime("cpu"),
        memory=memory,
    )


def memory_of(num_source=2, classes=CLASSES):
    labels = torch.tensor([*range(num_source), *classes])
    return HybridMemory.from_rows(unit(len(labels), 6), labels)


def step_of(memory, slots, seed=5):
    features = unit(len(slots), 6, seed=seed).requires_grad_()
    return StepInputs(features, torch.tensor(slots), torch.zeros(len(slots), dtype=torch.int64), memory)


def proxies_by_loop(feature, slot, memory, cameras, num_source, settings):
    """The loss of one image, written as in the docstring."""
    if slot < num_source:
        return 0.0
    classes, means = memory.labels[num_source:].tolist(), {}
    for pair in set(zip(classes, cameras, strict=True)):
        rows = [r for r, mine in enumerate(zip(classes, cameras, strict=True)) if mine == pair]
        means[pair] = F.normalize(memory.features[num_source:][rows].sum(dim=0), dim=0)
    scores = {pair: float(feature @ mean) / settings.temperature for pair, mean in means.items()}
    own = (classes[slot - num_source], cameras[slot - num_source])
    loss = np.log(sum(np.exp(s) for p, s in scores.items() if p[1] == own[1])) - scores[own]
    positive = [s for p, s in scores.items() if p[0] == own[0] and p[1] != own[1]]
    if positive:
        hardest = sorted(s for p, s in scores.items() if p[0] != own[0])[::-1][: settings.num_negatives]
        loss += settings.inter_weight * (np.log(np.exp([*positive, *hardest]).sum()) - np.mean(positive))
    return loss


def test_proxies_by_hand():
    memory = HybridMemory.from_rows(torch.eye(4)[[0, 1, 2]], torch.tensor([0, 0, 1]))
    term = CameraProxiesSettings(temperature=1.0, num_negatives=5).build(context_of([0, 1, 0], 0, memory))
    feature = torch.tensor([[0.6, 0.0, 0.8, 0.0]])
    found = term(StepInputs(feature, torch.tensor([0]), torch.tensor([0]), memory))
    intra = np.log(np.exp(0.6) + np.exp(0.8)) - 0.6
    inter = np.log(np.exp(0.0) + np.exp(0.8)) - 0.0
    assert found.item() == pytest.approx(intra + 0.5 * inter, rel=1e-5)


@pytest.mark.parametrize("cameras", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("num_negatives", [1, 2, 50])
def test_proxies_equal_a_plain_loop(cameras, num_negatives):
    memory, settings = memory_of(), CameraProxiesSettings(num_negatives=num_negatives, temperature=0.3)
    term, slots = settings.build(context_of(cameras, 2, memory)), [0, 2, 3, 6, 8, 9, 11, 1]
    step, before = step_of(memory, slots), memory.features.clone()
    found = term(step)
    expected = [
        proxies_by_loop(feature, slot, memory, cameras, 2, settings)
        for feature, slot in zip(step.features.detach(), slots, strict=True)
    ]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert bool(step.features.grad.isfinite().all()) and torch.equal(memory.features, before)
    assert not step.features.grad[0].any() and step.features.grad[1].any()


def test_proxies_follow_the_memory_and_its_labels():
    memory = memory_of()
    term = CameraProxiesSettings().build(context_of(CAMERAS["known"], 2, memory))
    first = term(step_of(memory, [4, 8]))
    memory.update(unit(2, 6, seed=9), torch.tensor([4, 8]))
    moved = term(step_of(memory, [4, 8]))
    memory.relabel(torch.tensor([0, 1, *range(2, 12)]))
    relabelled = term(step_of(memory, [4, 8]))
    fresh = CameraProxiesSettings().build(context_of(CAMERAS["known"], 2, memory))(step_of(memory, [4, 8]))
    assert not torch.equal(first, moved) and not torch.equal(moved, relabelled)
    assert torch.equal(relabelled, fresh)


def test_proxies_of_a_run_on_the_source_alone():
    memory = HybridMemory.from_rows(unit(2, 6), torch.arange(2))
    term = CameraProxiesSettings().build(context_of([], 2, memory))
    assert term(step_of(memory, [0, 1])).tolist() == [0, 0]


@pytest.mark.parametrize("settings", [CameraProxiesSettings(), CameraEntropySettings()])
def test_a_target_without_known_cameras_is_refused(settings):
    with pytest.raises(InputError) as error:
        settings.build(context_of([-1, -1, -1], 0, memory_of(0, [0, 1, 2])))
    assert error.value.code == "no-cameras"


def test_proxies_refuse_a_sharded_memory():
    sharded = ShardedMemory(10, 6, runtime=Runtime("cpu"))
    with pytest.raises(InputError, match=r"memory\.placement") as error:
        CameraProxiesSettings().build(context_of(CAMERAS["known"], 0, sharded))
    assert error.value.code == "kind-not-usable"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CameraProxiesSettings, {"temperature": 0}),
        (CameraProxiesSettings, {"inter_weight": -1}),
        (CameraProxiesSettings, {"num_negatives": 0}),
        (CameraProxiesSettings, {"weight": -1}),
        (CameraEntropySettings, {"floor": 1.5}),
        (CameraEntropySettings, {"temperature": 0}),
    ],
)
def test_settings_out_of_range(kind, values):
    with pytest.raises(InputError) as error:
        kind(**values)
    assert error.value.code == "setting-out-of-range"


@pytest.mark.parametrize("cameras", CAMERAS.values(), ids=CAMERAS)
def test_entropy_weights_equal_a_plain_loop(cameras):
    floor, num_cameras = 0.3, len(set(cameras))
    found = camera_entropy_weights(torch.tensor(CLASSES), torch.tensor(cameras), floor)
    for row, weight in zip(range(10), found.tolist(), strict=True):
        mine = [c for c, label in zip(cameras, CLASSES, strict=True) if label == CLASSES[row]]
        shares = [mine.count(camera) / len(mine) for camera in set(mine)]
        entropy = -sum(share * np.log(share) for share in shares)
        expected = floor + (1 - floor) * entropy / np.log(num_cameras) if num_cameras > 1 else 1.0
        assert weight == pytest.approx(expected, rel=1e-6)


def test_the_entropy_loss_is_the_weighted_loss_against_normalised_centroids():
    memory, context = memory_of(), context_of(CAMERAS["known"])
    slots = [0, 2, 6, 8, 9, 1]
    plain = NormalisedCentroidsSettings(temperature=0.1).build(context)(step_of(memory, slots))
    term = CameraEntropySettings(temperature=0.1, floor=0.2).build(context)
    weights = camera_entropy_weights(torch.tensor(CLASSES), torch.tensor(CAMERAS["known"]), 0.2)
    whole = torch.cat([torch.ones(2), weights])
    torch.testing.assert_close(term(step_of(memory, slots)), plain * whole[slots])
    assert whole[slots].tolist()[0] == 1 and float(whole[slots].min()) < 0.5
    memory.relabel(torch.arange(12))
    assert not torch.equal(term(step_of(memory, slots)), plain * whole[slots])
