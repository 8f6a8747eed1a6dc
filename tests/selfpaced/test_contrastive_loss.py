"""The loss equals the paper's sum over all rows, in plain loops, and reads the memory without changing it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory


def in_plain_loops(inputs, slots, memory, temperature):
    losses = []
    for feature, slot in zip(inputs.tolist(), slots.tolist(), strict=True):
        similarities: dict[int, list[float]] = {}
        for row, label in zip(memory.features.tolist(), memory.labels.tolist(), strict=True):
            similarities.setdefault(label, []).append(sum(a * b for a, b in zip(feature, row, strict=True)))
        logits = {label: sum(values) / len(values) / temperature for label, values in similarities.items()}
        total = sum(math.exp(logit) for logit in logits.values())
        losses.append(math.log(total) - logits[memory.labels[slot].item()])
    return torch.tensor(losses)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_equals_the_paper(temperature):
    generator = torch.Generator().manual_seed(0)
    memory = HybridMemory(15, 6)
    memory.fill(torch.randn(15, 6, generator=generator))
    memory.relabel(torch.arange(15) // 2)
    inputs = F.normalize(torch.randn(7, 6, generator=generator), dim=1)
    slots = torch.randint(0, 15, (7,), generator=generator)
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    loss = contrastive_loss(inputs, slots, memory, temperature=temperature)
    torch.testing.assert_close(loss, in_plain_loops(inputs, slots, memory, temperature), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(memory.state_dict()[name], value) for name, value in before.items())


def test_gradient_flows_into_the_inputs_only():
    memory = HybridMemory(4, 3)
    memory.fill(torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    inputs = F.normalize(torch.randn(2, 3, generator=torch.Generator().manual_seed(2)), dim=1).requires_grad_()
    contrastive_loss(inputs, torch.tensor([0, 3]), memory).sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0


def test_half_precision_inputs_give_a_single_precision_loss():
    memory = HybridMemory(4, 3)
    memory.fill(torch.randn(4, 3, generator=torch.Generator().manual_seed(3)))
    inputs = memory.features[:2].to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(inputs, torch.tensor([0, 1]), memory, temperature=0.01)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive_loss(inputs.float(), torch.tensor([0, 1]), memory, temperature=0.01))


def test_a_sharp_temperature_stays_finite():
    memory = HybridMemory.from_rows(torch.eye(3), torch.arange(3))
    loss = contrastive_loss(torch.eye(3), torch.tensor([1, 1, 2]), memory, temperature=1e-3)
    assert torch.isfinite(loss).all()
    assert loss[1] < 1e-6 < loss[0]


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature is 0"):
        contrastive_loss(torch.eye(2), torch.tensor([0, 1]), HybridMemory(2, 2), temperature=0)
