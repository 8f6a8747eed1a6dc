"""The memory: rows move in batch order, class means follow, nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory, NotFiniteError


def filled(num_slots: int = 12, dim: int = 5, num_classes: int = 4, seed: int = 0) -> HybridMemory:
    generator = torch.Generator().manual_seed(seed)
    memory = HybridMemory(num_slots, dim)
    memory.fill(torch.randn(num_slots, dim, generator=generator))
    memory.relabel(torch.arange(num_slots) % num_classes)
    return memory


def one_by_one(memory: HybridMemory, inputs: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    rows = memory.features.clone()
    for feature, slot in zip(inputs, slots, strict=True):
        row = memory.momentum * rows[slot] + (1 - memory.momentum) * feature
        rows[slot] = row / row.norm()
    return rows


@pytest.mark.parametrize("slots", [[0, 3, 7], [5, 5, 5, 5], [1, 2, 1, 2, 1, 9], []])
def test_update_equals_the_loop(slots):
    memory = filled()
    slots = torch.tensor(slots, dtype=torch.int64)
    inputs = F.normalize(torch.randn(len(slots), 5, generator=torch.Generator().manual_seed(1)), dim=1)
    expected = one_by_one(memory, inputs, slots)
    memory.update(inputs, slots)
    torch.testing.assert_close(memory.features, expected, atol=1e-6, rtol=0)


def test_class_means_follow_the_rows():
    memory = filled()
    generator = torch.Generator().manual_seed(2)
    for _ in range(30):
        slots = torch.randint(0, 12, (6,), generator=generator)
        memory.update(F.normalize(torch.randn(6, 5, generator=generator), dim=1), slots)
    kept = memory.class_means.clone()
    memory.relabel(memory.labels)
    torch.testing.assert_close(kept, memory.class_means, atol=1e-5, rtol=0)


def test_update_takes_no_gradient_and_leaves_its_inputs():
    memory = filled()
    inputs = F.normalize(torch.randn(2, 5), dim=1).requires_grad_()
    before = inputs.detach().clone()
    memory.update(inputs, torch.tensor([0, 0]))
    assert not memory.features.requires_grad
    assert torch.equal(inputs.detach(), before)


def test_fill_normalises_and_relabel_counts():
    memory = filled(num_classes=3)
    torch.testing.assert_close(memory.features.norm(dim=1), torch.ones(12))
    assert memory.class_sizes.tolist() == [4, 4, 4]
    torch.testing.assert_close(memory.class_means[1], memory.features[1::3].mean(dim=0))


def test_rows_are_put_in_parts_and_have_no_class_before_labels():
    generator = torch.Generator().manual_seed(5)
    rows = torch.randn(12, 5, generator=generator)
    whole, parts = HybridMemory(12, 5), HybridMemory(12, 5)
    whole.fill(rows)
    parts.put(0, rows[:7])
    parts.put(7, rows[7:])
    assert torch.equal(whole.features, parts.features)
    one = torch.tensor([0])
    for use in (lambda: parts.update(rows[:1], one), lambda: contrastive_loss(rows[:1], one, parts)):
        with pytest.raises(ValueError, match="no classes yet"):
            use()
    parts.relabel(torch.arange(12))
    assert torch.equal(whole.class_means, parts.class_means)
    parts.put(3, rows[:1])
    assert torch.equal(parts.features[3], whole.features[0])
    assert len(parts.class_means) == 0


def test_filling_and_labelling_take_rows_and_means_and_no_more():
    num_slots, dim = 40_000, 64
    one = 4 * num_slots * dim
    rows = torch.randn(num_slots, dim)

    def fill() -> HybridMemory:
        memory = HybridMemory(num_slots, dim)
        for at in range(0, num_slots, 1000):
            memory.put(at, rows[at : at + 1000])
        return memory

    assert peak_of(fill) < 1.3 * one
    memory = fill()
    assert peak_of(lambda: memory.relabel(torch.arange(num_slots))) < 1.2 * one
    assert peak_of(lambda: memory.fill(rows)) < 1.6 * one


def peak_of(call) -> int:
    """The most bytes that torch held at a time on the host, beside what it held before."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as watched:
        call()
    held = peak = 0
    for event in watched.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def test_an_empty_class_takes_no_part():
    rows = F.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(3)), dim=1)
    gap = HybridMemory.from_rows(rows, torch.tensor([0, 0, 2, 3]))
    dense = HybridMemory.from_rows(rows, torch.tensor([0, 0, 1, 2]))
    inputs, slots = rows[[0, 2, 3]], torch.tensor([1, 2, 3])
    loss = contrastive_loss(inputs, slots, gap)
    torch.testing.assert_close(loss, contrastive_loss(inputs, slots, dense))
    assert torch.isfinite(loss).all()


def test_state_comes_back_exactly_though_the_number_of_classes_differs():
    memory = filled(num_classes=5)
    memory.update(F.normalize(torch.randn(3, 5), dim=1), torch.tensor([0, 4, 4]))
    other = HybridMemory(12, 5)
    other.load_state_dict(memory.state_dict())
    for name, value in memory.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda memory: memory.fill(torch.zeros(3, 5)), "rows have shape"),
        (lambda memory: memory.put(9, torch.zeros(4, 5)), "rows from 9 on have shape"),
        (lambda memory: memory.put(0, torch.zeros(4, 6)), "rows from 0 on have shape"),
        (lambda memory: memory.relabel(torch.zeros(3, dtype=torch.int64)), "labels have shape"),
        (lambda memory: memory.relabel(torch.full((12,), -1)), "must not be negative"),
        (lambda memory: HybridMemory(2, 2, momentum=1.5), "momentum is 1.5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(filled())


def test_what_enters_a_memory_is_checked():
    rows = F.normalize(torch.randn(4, 3), dim=1)
    labels = torch.tensor([0, 0, 1, 2])
    memory = HybridMemory.from_rows(rows, labels)
    assert torch.equal(memory.features, rows)
    with pytest.warns(UserWarning, match="not of unit length"):
        assert torch.allclose(HybridMemory.from_rows(1e30 * rows, labels).features, rows, atol=1e-6)
    for value, message in ((0.0, "rows of zeros.*: row 2"), (torch.nan, "not finite.*: row 2")):
        wrong = rows.clone()
        wrong[2] = value
        for fill in (memory.fill, lambda given: HybridMemory.from_rows(given, labels)):
            with pytest.raises(ValueError, match=message):
                fill(wrong)
    memory = HybridMemory.from_rows(rows, labels)
    slots = torch.tensor([0, 3])
    for inputs, where, message in (
        (rows[:2], torch.tensor([0, 4]), "slots lie from 0 to 4; the memory has rows 0 to 3"),
        (rows[:2], torch.tensor([-1, 0]), "slots lie from -1"),
        (rows[:2], torch.tensor([0.0, 1.0]), "expected int64"),
        (rows[:3], slots, r"expected int64 \[3\]"),
        (rows[:2, :2], slots, r"expected floating-point \[B, 3\]"),
        (rows[0], slots, "expected floating-point"),
    ):
        for use in (memory.update, lambda *given: contrastive_loss(*given, memory)):
            with pytest.raises(ValueError, match=message):
                use(inputs, where)
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature is"):
            contrastive_loss(rows[:2], slots, memory, temperature=temperature)
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="momentum is"):
            HybridMemory(4, 3, momentum=momentum)
    with pytest.raises(ValueError, match="expected whole numbers"):
        memory.relabel(torch.tensor([0.0, 0.5, 1.0, 2.0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_feature_that_is_not_finite_leaves_the_memory_as_it_was(value):
    memory = HybridMemory(5, 3)
    memory.fill(torch.eye(5, 3) + 0.1)
    before = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    inputs = torch.nn.functional.normalize(torch.ones(3, 3), dim=1)
    inputs[1, 2] = value
    with pytest.raises(NotFiniteError, match=r"rows \[1\]"):
        memory.update(inputs, torch.arange(3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in memory.state_dict().items())


def test_arrays_of_numpy_are_as_good_as_tensors():
    memory, other = HybridMemory(5, 3), HybridMemory(5, 3)
    inputs, slots = torch.nn.functional.normalize(torch.ones(2, 3), dim=1), torch.tensor([4, 1])
    for one in (memory, other):
        one.fill(torch.eye(5, 3) + 0.1)
    loss = contrastive_loss(inputs, slots, memory)
    assert torch.equal(contrastive_loss(inputs.numpy(), slots.numpy(), memory), loss)
    memory.update(inputs, slots)
    other.update(inputs.numpy(), slots.numpy())
    assert torch.equal(memory.features, other.features)
