"""The cluster memory: each rule by hand, entries of unit length, un-clustered images as entries, and the loss on it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from spcl.errors import InputError
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.training.cluster_memory import ClusterMemory, ClusterMemorySettings
from spcl.training.refreshed_memory import RefreshedMemory


@dataclass(frozen=True)
class MemoryOf:
    """A source of given features."""

    given: torch.Tensor

    def features(self):
        return self.given


LABELS = torch.tensor([0, 1, 1, 1, 2])


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def memory(rule, momentum=0.2):
    made = ClusterMemory(5, 4, momentum, rule)
    made.put(0, unit(5, 4))
    made.relabel(LABELS)
    return made


def moved(old, new, momentum=0.2):
    return F.normalize(momentum * old + (1 - momentum) * new, dim=-1)


@pytest.mark.parametrize("rule", ["momentum", "mean", "hardest"])
def test_each_rule_by_hand(rule):
    made = memory(rule)
    rows, before = made.features.clone(), made.class_means.clone()
    torch.testing.assert_close(before[1], F.normalize(rows[1:4].mean(dim=0), dim=0))
    features = unit(3, 4, seed=1)
    made.update(features, torch.tensor([1, 4, 2]))
    entry = before[1]
    if rule == "momentum":
        expected = moved(moved(entry, features[0]), features[2])
    elif rule == "mean":
        expected = moved(entry, (features[0] + features[2]) / 2)
    else:
        expected = moved(entry, min((features[0], features[2]), key=lambda each: float(each @ entry)))
    torch.testing.assert_close(made.class_means[1], expected)
    torch.testing.assert_close(made.class_means[2], moved(before[2], features[1]))
    assert torch.equal(made.class_means[0], before[0])
    torch.testing.assert_close(made.features[1], moved(rows[1], features[0]))
    torch.testing.assert_close(made.class_means.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("rule", ["momentum", "mean", "hardest"])
def test_entries_equal_a_loop_over_the_images_of_each_class(rule):
    made = ClusterMemory(40, 6, 0.3, rule)
    made.put(0, unit(40, 6))
    made.relabel(torch.arange(40) % 7)
    generator = torch.Generator().manual_seed(5)
    for number in range(5):
        slots = torch.randint(0, 40, (16,), generator=generator)
        features, expected = unit(16, 6, seed=10 + number), made.class_means.clone()
        for label in set((slots % 7).tolist()):
            images, entry = features[slots % 7 == label], expected[label]
            if rule == "mean":
                images = images.mean(dim=0, keepdim=True)
            if rule == "hardest":
                images = images[(images @ entry).argmin()].unsqueeze(0)
            for image in images:
                entry = moved(entry, image, 0.3)
            expected[label] = entry
        before = features.clone()
        made.update(features, slots)
        torch.testing.assert_close(made.class_means, expected)
        assert torch.equal(features, before)


@pytest.mark.parametrize("rule", ["momentum", "mean", "hardest"])
def test_a_step_reads_no_value_from_the_device(rule, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())
    made = memory(rule).to("meta")  # a value of a tensor on this device cannot be read
    features = torch.empty(4, 4, device="meta")
    assert contrastive_loss(features, torch.tensor([0, 1, 1, 3]), made).shape == (4,)
    made.update(features, torch.tensor([0, 1, 1, 3]))


def test_degenerate_batches_and_classes():
    made = memory("hardest")
    before = made.class_means.clone()
    made.update(torch.empty(0, 4), torch.empty(0, dtype=torch.int64))
    assert torch.equal(made.class_means, before)
    made.relabel(torch.tensor([0, 3, 3, 3, 0]))
    assert torch.equal(made.class_means[1], torch.zeros(4))
    made.update(unit(5, 4, seed=6).to(torch.bfloat16), torch.arange(5))
    assert made.class_means.dtype == torch.float32
    unlabelled = ClusterMemory(5, 4, 0.2, "mean")
    with pytest.raises(ValueError, match="relabel"):
        unlabelled.update(unit(1, 4), torch.tensor([0]))


def test_entries_start_from_extracted_features():
    made, found = memory("momentum"), unit(3, 4, seed=8)
    source_rows = made.features[:2].clone()
    assert torch.equal(RefreshedMemory(MemoryOf(found), made, num_source_classes=2).features(), found)
    made.relabel(torch.tensor([0, 1, 2, 2, 3]))
    torch.testing.assert_close(made.class_means[2], F.normalize(found[0] + found[1], dim=0))
    torch.testing.assert_close(made.features[2:], found)
    assert torch.equal(made.features[:2], source_rows)


def test_an_image_that_is_drawn_twice_moves_its_row_twice():
    made = memory("mean")
    row, features = made.features[3].clone(), unit(2, 4, seed=2)
    made.update(features, torch.tensor([3, 3]))
    torch.testing.assert_close(made.features[3], moved(moved(row, features[0]), features[1]))


def test_the_loss_is_a_softmax_over_the_entries():
    made, features = memory("momentum"), unit(2, 4, seed=3)
    found = contrastive_loss(features, torch.tensor([2, 4]), made, temperature=0.1)
    expected = F.cross_entropy(features @ made.class_means.T / 0.1, torch.tensor([1, 2]), reduction="none")
    torch.testing.assert_close(found, expected)


def test_a_state_is_restored_with_entries_that_moved():
    made = memory("momentum")
    made.update(unit(1, 4, seed=4), torch.tensor([2]))
    other = ClusterMemory(5, 4, 0.2, "momentum")
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.class_means, made.class_means)
    for each in (made, other):
        each.update(unit(2, 4, seed=7), torch.tensor([3, 4]))
    assert torch.equal(other.class_means, made.class_means)


@pytest.mark.parametrize("values", [{"momentum": 1.5}, {"update": "median"}])
def test_settings_out_of_range(values):
    with pytest.raises(InputError) as error:
        ClusterMemorySettings(**values)
    assert error.value.code == "setting-out-of-range"
