"""Two views of un-clustered images: what the sampler draws, the pairs of a batch, and the loss between them."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spcl.data.identity_sampler import IdentityBatches
from spcl.errors import InputError
from spcl.runtime import Runtime
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory
from spcl.selfpaced.slots import Slots
from spcl.training.parts import SamplerContext, StepInputs
from spcl.training.two_view_sampling import TwoViewSamplerSettings
from spcl.training.two_views import TwoViewsSettings, first_views

# One source class, then two images of a cluster and three un-clustered ones.
LABELS = torch.tensor([0, 1, 1, 2, 3, 4])


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def losses_of(memory, features, slots, *, num_source_classes=1, **settings):
    context = SimpleNamespace(memory=memory, slots=Slots(num_source_classes, len(memory.labels) - num_source_classes))
    return TwoViewsSettings(**settings).build(context)(StepInputs(features, slots, torch.full_like(slots, -1), memory))


def sampler(labels, *, batch_size=8, num_instances=4):
    labels = np.asarray(labels)
    context = SamplerContext(labels, np.full(len(labels), -1), batch_size, seed=1, domain=1)
    return TwoViewSamplerSettings(num_instances).build(context)


def test_un_clustered_images_are_drawn_twice_at_an_even_place():
    labels = np.array([0] * 5 + [7] * 2 + list(range(20, 31)))
    drawn, clustered = sampler(labels), 0
    for iteration in range(12):
        rows = drawn.batch(0, iteration)
        assert rows.shape == (8,)
        first, second = rows.reshape(4, 2).T
        alone = labels[first] >= 20
        assert (first[alone] == second[alone]).all()
        assert (labels[second[~alone]] == labels[first[~alone]]).all()
        clustered += int((~alone).sum())
    assert clustered
    assert (drawn.batch(0, 3) == sampler(labels).batch(0, 3)).all()


def test_with_clusters_only_the_sampler_is_that_of_kind_identity():
    labels = np.arange(40) // 4
    usual = IdentityBatches(labels, np.full(40, -1), batch_size=8, num_instances=4, seed=1, domain=1)
    for iteration in range(6):
        assert (sampler(labels).batch(2, iteration) == usual.batch(2, iteration)).all()


def test_only_un_clustered_images():
    rows = sampler(np.arange(3)).batch(0, 0)
    assert rows.shape == (8,) and (rows[::2] == rows[1::2]).all()


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ([], []),
        ([5], []),
        ([5, 5], [0]),
        ([0, 0, 5, 5, 6, 7, 7], [2, 5]),
        ([3, 3, 3], [0]),
        ([3, 3, 3, 3, 4], [0, 2]),
        ([3, 4, 3], []),
    ],
)
def test_pairs_of_a_batch(slots, expected):
    assert first_views(torch.tensor(slots, dtype=torch.int64), 1).tolist() == expected


def test_a_case_by_hand():
    rows = torch.tensor([[-1.0, 0], [0, 1], [0, 1], [1, 0], [0, -1], [-0.6, -0.8]])
    memory = HybridMemory.from_rows(rows, LABELS)
    features = torch.tensor([[1.0, 0], [0.6, 0.8]])
    found = losses_of(memory, features, torch.tensor([3, 3]), temperature=1.0)
    # The positive is the similarity of the views, 0.6; the negatives are the four other classes.
    first = torch.tensor([0.6, -1, 0, 0, -0.6]).logsumexp(dim=0) - 0.6
    second = torch.tensor([0.6, -0.6, 0.8, -0.8, -1.0]).logsumexp(dim=0) - 0.6
    torch.testing.assert_close(found, torch.stack([first, second]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_equal_a_loop(dtype):
    memory = HybridMemory.from_rows(unit(6, 4), LABELS)
    slots = torch.tensor([0, 0, 1, 1, 3, 3, 5, 4, 4, 2])
    given = unit(10, 4, seed=1).to(dtype)
    ours, theirs = given.clone().requires_grad_(), given.clone().requires_grad_()
    expected = [torch.zeros(())] * 10
    features = theirs.float()
    for here, other in ((4, 5), (5, 4), (7, 8), (8, 7)):
        label = int(memory.labels[slots[here]])
        logits = list(features[here] @ memory.class_means.T / 0.1)
        logits[label] = features[here] @ features[other] / 0.1
        expected[here] = torch.stack(logits).logsumexp(dim=0) - logits[label]
    found = losses_of(memory, ours, slots, temperature=0.1)
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_batch_without_a_pair_has_a_loss_and_a_gradient_of_zero():
    memory = HybridMemory.from_rows(unit(6, 4), LABELS)
    features = unit(3, 4).requires_grad_()
    found = losses_of(memory, features, torch.tensor([3, 4, 5]))
    assert torch.equal(found, torch.zeros(3))
    found.sum().backward()
    assert torch.equal(features.grad, torch.zeros(3, 4))


def test_a_step_reads_no_value_from_the_device(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())  # not available on this device
    # A value of a tensor on the device meta cannot be read.
    memory = HybridMemory.from_rows(unit(6, 4), LABELS).to("meta")
    features = torch.empty(4, 4, device="meta", requires_grad=True)
    losses_of(memory, features, torch.tensor([3, 3, 4, 1])).sum().backward()


def test_a_sharded_memory_is_refused():
    with pytest.raises(InputError) as error:
        losses_of(ShardedMemory(6, 4, runtime=Runtime("cpu")), unit(2, 4), torch.tensor([3, 3]))
    assert error.value.code == "memory-is-sharded"


@pytest.mark.parametrize("given", [0, 1, 3])
def test_an_odd_number_of_instances_is_refused(given):
    with pytest.raises(InputError) as error:
        TwoViewSamplerSettings(given)
    assert error.value.code == "setting-out-of-range"
