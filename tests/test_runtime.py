"""Devices and precision in one process: what is set up, what is left alone, how half precision steps."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from spcl.errors import InputError
from spcl.runtime import Runtime


def test_a_callers_own_accelerator_stays_as_it_is():
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        theirs = Accelerator(cpu=True, mixed_precision="bf16")
        Runtime("cpu", "fp32")
        assert theirs.mixed_precision == "bf16"
        assert theirs.state.mixed_precision == "bf16"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_one_process_is_all_there_is():
    runtime = Runtime("cpu")
    assert (runtime.num_processes, runtime.rank, runtime.processes_here, runtime.is_main) == (1, 0, 1, True)
    rows = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(runtime.gather_to_main(rows, 3), rows)
    assert runtime.together(lambda: 7) == 7
    torch.manual_seed(5)
    runtime.draw_apart(9)
    first = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(first, torch.rand(3))


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cpu", "fp16", "precision fp16 needs a GPU"),
        ("cpu", "fp8", "expected one of fp32, bf16, fp16"),
        ("cuda:77", "fp32", "is not there"),
        ("tpu9", "fp32", "expected auto, cpu, cuda"),
    ],
)
def test_what_is_not_there_is_named(device, precision, message):
    with pytest.raises(InputError, match=message):
        Runtime(device, precision)


def test_a_scaled_step_is_the_step_and_one_that_overflows_is_left_out():
    """What fp16 does on a GPU, with the host's scaler."""
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10)):
        runtime = Runtime("cpu")
        runtime._scaler = scaler
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        runtime.step(((weight * weight).sum() / 2 for _ in range(2)), optimizer)
        weights.append(weight.detach().clone())
    assert torch.equal(weights[0], torch.tensor([0.8, -1.6]))
    assert torch.equal(weights[0], weights[1])
    runtime.step([(weight * torch.inf).sum()], optimizer)
    assert torch.equal(weight.detach(), weights[1])
    state = runtime.state_dict()
    assert state["loss_scale"]["scale"] == 2.0**9
    again = Runtime("cpu")
    again._scaler = torch.amp.GradScaler("cpu")
    again.load_state_dict(state)
    assert again.state_dict()["loss_scale"] == state["loss_scale"]
