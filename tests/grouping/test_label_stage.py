"""What is told and refused before a run: all the memory that it will need, on the host and on the device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from spcl.grouping import label_stage
from spcl.grouping.label_stage import LabelStage, check_label_stage, memory_needs
from spcl.neighbours.memory_estimate import estimate_label_stage
from spcl.reporting.console import SilentReporter
from spcl.training.hybrid_memory import HybridMemorySettings
from tests.input_errors import input_error

NUM, DIM = 600_000, 2048
ROWS = 4 * NUM * DIM


def place(device: str = "cpu", *, processes: int = 1, memory: int = 80 * 10**9, here: int | None = None):
    """A stand-in for a runtime whose device has so much memory."""
    return SimpleNamespace(
        device=torch.device(device),
        num_processes=processes,
        processes_here=here or processes,
        device_memory=lambda: memory,
        has_room=lambda num_bytes: num_bytes <= memory / 2,
    )


def needs(runtime, **memory):
    estimate = estimate_label_stage(NUM, DIM, k1=30, flops_per_second=1e11, device_type=runtime.device.type)
    return estimate, memory_needs(estimate, LabelStage(NUM, DIM, k1=30, **memory), runtime=runtime)


def test_rows_and_class_means_are_counted_beside_the_stage():
    estimate, alone = needs(place())
    assert (alone.host, alone.device) == (estimate.memory, 0)
    # The features are rows of the memory: a copy of them is counted nowhere.
    estimate, with_memory = needs(place(), num_slots=NUM)
    assert with_memory.host == estimate.memory + ROWS
    estimate, two = needs(place(processes=2), num_slots=NUM)
    assert two.host == estimate.memory + 3 * ROWS
    # On two machines each holds one.
    assert needs(place(processes=2, here=1), num_slots=NUM)[1].host == with_memory.host


def test_a_memory_in_parts_comes_together_for_the_labels():
    estimate, spread = needs(place(processes=4), num_slots=NUM, spread=True)
    # Four quarters of rows and means, and a copy of all rows for each process's search.
    assert spread.host == estimate.memory + (2 + 3) * ROWS


def test_a_device_holds_the_memory_and_searches_in_it():
    estimate, whole = needs(place("cuda"), num_slots=NUM)
    assert whole.host == estimate.memory
    assert whole.device == estimate.device_memory + ROWS
    estimate, spread = needs(place("cuda", processes=4), num_slots=NUM, spread=True)
    assert spread.device == estimate.device_memory + ROWS // 2


@pytest.fixture
def machine(monkeypatch):
    """Sets the memory that is free, and spares the measurement of the speed."""

    def set_free(num_bytes: float) -> None:
        monkeypatch.setattr(
            label_stage.psutil, "virtual_memory", lambda: SimpleNamespace(available=num_bytes, total=num_bytes)
        )

    monkeypatch.setattr(label_stage, "product_speed", lambda device: 1e11)
    set_free(1e12)
    return set_free


def check(num=NUM, runtime=None, flags=("--features", "--k1"), **memory) -> list[str]:
    report = SilentReporter()
    told: list[str] = []
    report.say = told.append  # type: ignore[method-assign]
    stage = LabelStage(num, DIM, k1=30, **memory)
    check_label_stage(stage, runtime=runtime or place(), report=report, flags=flags)
    return told


def test_a_small_set_is_not_spoken_of(machine):
    machine(1)
    assert check(19_999) == []


def test_what_fits_is_told(machine):
    (told,) = check(num_slots=NUM)
    assert "labels of 600000 images: approximate search" in told
    assert "1000.0 GB that are free" in told


def test_what_does_not_fit_is_refused_with_what_would(machine):
    estimate, needed = needs(place(), num_slots=NUM)
    # Enough for the stage, too little for what stands beside it: found out before the images are encoded.
    machine(estimate.memory + ROWS // 2)
    check()
    with input_error("memory-too-small", "of memory", "a smaller --k1 (now 30)") as refused:
        check(num_slots=NUM)
    assert "--features 256" in str(refused.value)
    fitting = int(str(refused.value).split("at most about ")[1].split()[0])
    assert 0.5 * NUM < fitting < NUM
    with input_error("memory-too-small", "What helps: at most about"):
        check(num_slots=NUM, flags=())
    machine(needed.host)
    check(num_slots=NUM)


def test_what_does_not_fit_on_the_device_is_refused(machine):
    with input_error("memory-too-small", "of the memory of cuda", "--device cpu"):
        check(runtime=place("cuda", memory=8 * 10**9), num_slots=NUM)
    check(runtime=place("cuda", memory=16 * 10**9), num_slots=NUM)


def test_rows_that_find_no_room_on_the_device_are_searched_on_the_host(machine):
    told = check(runtime=place("cuda", processes=8, memory=8 * 10**9), num_slots=NUM, spread=True)
    assert "approximate search" in told[0]  # what auto takes on a CPU
    told = check(runtime=place("cuda", processes=8), num_slots=NUM, spread=True)
    assert "torch search" in told[0]


@pytest.mark.parametrize(
    ("kind", "processes", "memory", "spread"),
    [
        ("auto", 4, 80 * 10**9, False),
        ("auto", 4, 40 * 10**9, True),
        ("auto", 1, 40 * 10**9, False),
        ("replicated", 4, 1, False),
        ("sharded", 1, 10**15, True),
    ],
)
def test_the_memory_is_spread_where_it_is_large(kind, processes, memory, spread):
    settings, where = HybridMemorySettings(placement=kind), place("cuda", processes=processes, memory=memory)
    assert settings.is_spread(NUM, DIM, where) == spread
