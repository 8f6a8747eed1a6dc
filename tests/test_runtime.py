"""Devices and precision in one process: what is set up, what is left alone, how half precision steps."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from spcl.launched import _VARIABLES, is_main_process, launched
from spcl.processes import _require_devices
from spcl.runtime import Runtime, lost_another_process
from tests.input_errors import input_error


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
    ("device", "precision", "code"),
    [
        ("cpu", "fp16", "precision-not-supported"),
        ("cpu", "fp8", "setting-out-of-range"),
        ("cuda:77", "fp32", "no-such-device"),
        ("tpu9", "fp32", "no-such-device"),
    ],
)
def test_what_is_not_there_is_named(device, precision, code):
    with input_error(code):
        Runtime(device, precision)


def test_a_scaled_step_is_the_step_and_one_that_overflows_is_left_out():
    """What fp16 does on a GPU, with the host's scaler."""
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10)):
        runtime = Runtime("cpu")
        runtime._scaler = scaler
        weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        runtime.clear_gradients(optimizer)
        for _ in range(2):
            runtime.backward((weight * weight).sum() / 2)
        runtime.optimise(optimizer)
        weights.append(weight.detach().clone())
    assert torch.equal(weights[0], torch.tensor([0.8, -1.6]))
    assert torch.equal(weights[0], weights[1])
    runtime.clear_gradients(optimizer)
    runtime.backward((weight * torch.inf).sum())
    runtime.optimise(optimizer)
    assert torch.equal(weight.detach(), weights[1])
    state = runtime.state_dict()
    assert state["loss_scale"]["scale"] == 2.0**9
    again = Runtime("cpu")
    again._scaler = torch.amp.GradScaler("cpu")
    again.load_state_dict(state)
    assert again.state_dict()["loss_scale"] == state["loss_scale"]


def test_half_precision_is_not_silently_unscaled(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with input_error("precision-not-supported", "mps"):
        Runtime("mps", "fp16")


def test_more_processes_than_gpus_are_refused_before_they_join(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with input_error("too-few-devices", "--nproc-per-node 1"):
        Runtime("cuda")
    # A launcher that gives each process its own GPU shows it that one alone.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    _require_devices(torch.device("cuda"))


@pytest.mark.parametrize(
    ("text", "is_gone"),
    [
        ("ncclInvalidUsage: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000", False),
        ("ncclUnhandledCudaError: Call to CUDA function failed. Last error: out of memory", False),
        ("NCCL error, remote process exited or there was a network error, NCCL version 2.21", True),
        ("ncclRemoteError: socketProgress: Connection closed by remote peer host<4711>", True),
        ("store->get('0') got error: Connection was likely closed. Did the remote server shutdown or crash?", True),
        ("Watchdog caught collective operation timeout: ran for 600014 milliseconds before timing out", True),
    ],
)
def test_which_errors_of_nccl_say_that_another_process_is_gone(monkeypatch, text, is_gone):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    assert lost_another_process(torch.distributed.DistBackendError(text)) == is_gone


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (1, 0, 0)),
        ({"WORLD_SIZE": "", "RANK": ""}, (1, 0, 0)),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, (4, 3, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, (2, 1, 1)),
        ({"WORLD_SIZE": "1", "RANK": "0", "PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "0"}, (2, 1, 0)),
    ],
)
def test_size_and_rank_are_those_of_the_launcher(monkeypatch, variables, expected):
    for name in (name for names in _VARIABLES for name in names):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
    assert is_main_process() == (expected[1] == 0)
