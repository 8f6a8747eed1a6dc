"""The loss against single rows with several positives: by hand, against a loop, its gradient, degenerate classes."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from spcl.errors import InputError
from spcl.runtime import Runtime
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory
from spcl.training.parts import StepInputs
from spcl.training.several_positives import SeveralPositivesSettings


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def term(memory, **settings):
    return SeveralPositivesSettings(**settings).build(SimpleNamespace(memory=memory))


def losses_of(memory, features, slots, **settings):
    return term(memory, **settings)(StepInputs(features, slots, torch.full_like(slots, -1), memory))


def one_by_one(memory, features, slots, *, temperature, positives="all", num_positives=4):
    found = []
    for feature, slot in zip(features.float(), slots.tolist(), strict=True):
        logits = memory.features @ feature / temperature
        mine = memory.labels == memory.labels[slot]
        chosen = logits[mine].sort(descending=positives == "easiest").values
        if positives != "all":
            chosen = chosen[:num_positives]
        total = torch.cat([chosen, logits[~mine]]).logsumexp(dim=0)
        found.append((total - chosen).mean())
    return torch.stack(found)


def test_a_case_by_hand():
    memory = HybridMemory.from_rows(torch.tensor([[1.0, 0], [0, 1], [-1, 0]]), torch.tensor([0, 0, 1]))
    features = torch.tensor([[1.0, 0.0]])
    # exp of the similarities with the rows: e, 1 and 1 / e.
    total = torch.tensor([torch.e, 1, 1 / torch.e]).sum().log()
    found = losses_of(memory, features, torch.tensor([0]), temperature=1.0)
    torch.testing.assert_close(found, ((total - 1) + total).unsqueeze(0) / 2)
    hardest = losses_of(memory, features, torch.tensor([0]), temperature=1.0, positives="hardest", num_positives=1)
    torch.testing.assert_close(hardest, torch.tensor([1 + 1 / torch.e]).log())
    easiest = losses_of(memory, features, torch.tensor([0]), temperature=1.0, positives="easiest", num_positives=1)
    torch.testing.assert_close(easiest, torch.tensor([torch.e + 1 / torch.e]).log() - 1)


@pytest.mark.parametrize("positives", ["all", "hardest", "easiest"])
@pytest.mark.parametrize("num_positives", [1, 3, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradient_equal_a_loop(positives, num_positives, dtype):
    memory = HybridMemory.from_rows(unit(60, 8), torch.cat([torch.arange(10), 10 + torch.arange(50) ** 2 % 9]))
    features, slots = unit(12, 8, seed=1).to(dtype), torch.arange(12) * 5
    settings = {"temperature": 0.1, "positives": positives, "num_positives": num_positives}
    ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
    weights = torch.arange(12.0)
    found, expected = losses_of(memory, ours, slots, **settings), one_by_one(memory, theirs, slots, **settings)
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2 if dtype == torch.bfloat16 else 1e-4, atol=1e-4)


def test_one_positive_is_a_softmax_over_the_rows():
    memory = HybridMemory.from_rows(unit(6, 4), torch.arange(6))
    features, slots = unit(3, 4, seed=2), torch.tensor([5, 0, 2])
    expected = F.cross_entropy(features @ memory.features.T / 0.05, slots, reduction="none")
    for positives in ("all", "hardest", "easiest"):
        torch.testing.assert_close(losses_of(memory, features, slots, positives=positives), expected)


@pytest.mark.parametrize("positives", ["all", "hardest"])
def test_all_rows_in_one_class_and_features_that_are_not_finite(positives):
    memory = HybridMemory.from_rows(unit(5, 4), torch.zeros(5, dtype=torch.int64))
    features = unit(2, 4, seed=3)
    features[1] = torch.nan
    found = losses_of(memory, features, torch.tensor([0, 1]), positives=positives, num_positives=1)
    assert bool(found[0].isfinite()) and bool(found[1].isnan())
    assert losses_of(memory, features[:0], torch.empty(0, dtype=torch.int64), positives=positives).shape == (0,)


def test_a_step_reads_no_value_from_the_device(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())  # not available on this device
    # A value of a tensor on the device meta cannot be read.
    memory = HybridMemory.from_rows(unit(6, 4), torch.arange(6) // 2).to("meta")
    features = torch.empty(3, 4, device="meta", requires_grad=True)
    for positives in ("all", "hardest", "easiest"):
        losses_of(memory, features, torch.tensor([0, 1, 5]), positives=positives).sum().backward()


def test_a_sharded_memory_is_refused():
    memory = ShardedMemory(4, 3, runtime=Runtime("cpu"))
    with pytest.raises(InputError) as error:
        term(memory)
    assert error.value.code == "memory-is-sharded"


@pytest.mark.parametrize(
    "values", [{"temperature": 0}, {"weight": -1}, {"positives": "some"}, {"positives": "hardest", "num_positives": 0}]
)
def test_settings_out_of_range(values):
    with pytest.raises(InputError) as error:
        SeveralPositivesSettings(**values)
    assert error.value.code == "setting-out-of-range"
