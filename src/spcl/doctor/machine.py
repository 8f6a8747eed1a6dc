"""The machine: processor, memory, GPU, and how fast its precisions are."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from spcl.doctor.findings import Finding
from spcl.errors import InputError, first_line
from spcl.runtime import Runtime
from spcl.threads import num_threads, usable_cores

_LITTLE_MEMORY = 4 * 10**9
_WORTH_IT = 1.15
_REPEATS = 3


def processor() -> Finding:
    """Name, cores, threads and memory of this machine."""
    memory = psutil.virtual_memory()
    values = {
        "cpu": _name_of_cpu(),
        "system": platform.platform(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "threads": num_threads(),
        "memory_bytes": int(memory.total),
        "free_memory_bytes": int(memory.available),
    }
    text = (
        f"{values['cpu']}, {values['usable_cores']} of {values['cores']} cores may be used, "
        f"{values['threads']} threads compute, "
        f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB of memory are free"
    )
    if memory.available < _LITTLE_MEMORY:
        step = "end other programs, or give a smaller --batch-size and fewer --workers"
        return Finding("machine", "note", text, step, values)
    return Finding("machine", "ok", text, "", values)


def _name_of_cpu() -> str:
    info = Path("/proc/cpuinfo")
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(named, "") or platform.processor() or platform.machine()


def device(wanted: str) -> tuple[Finding, Runtime | None]:
    """The device that the work runs on, with a small computation on it; None where it cannot be used.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    """
    values: dict[str, Any] = {"cuda_build": torch.version.cuda, "mps": torch.backends.mps.is_available()}
    try:
        runtime = Runtime(wanted)
        computed = float((torch.ones(64, 64, device=runtime.device) @ torch.ones(64, 64, device=runtime.device)).sum())
    except (InputError, RuntimeError, AssertionError) as error:
        step = "run spcl doctor --device cpu, and read the error of the driver (nvidia-smi)"
        return Finding("device", "failed", f"{wanted} cannot be used: {first_line(error)}", step, values), None
    if computed != 64**3:
        text = f"{runtime.device} computes wrong: a sum is {computed:g} in place of {64**3}"
        return Finding("device", "failed", text, "update its driver, or give --device cpu", values), None
    values["device"] = str(runtime.device)
    if runtime.device.type == "cuda":
        return _gpu(runtime, values), runtime
    if runtime.device.type == "mps":
        return Finding("device", "ok", "Apple's GPU (mps) is used", "", values), runtime
    if torch.version.cuda and not torch.cuda.is_available():
        text = (
            f"the CPU is used: this torch is built for CUDA {torch.version.cuda}, and there is no GPU that it can use"
        )
        return Finding("device", "ok", text, "", values), runtime
    return Finding("device", "ok", "the CPU is used", "", values), runtime


def _gpu(runtime: Runtime, values: dict[str, Any]) -> Finding:
    about = torch.cuda.get_device_properties(runtime.device)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    values |= {"gpu": about.name, "gpu_memory_bytes": int(about.total_memory), "cudnn": cudnn}
    text = (
        f"{about.name}, {about.total_memory / 1e9:.1f} GB, CUDA {torch.version.cuda}, cuDNN {cudnn or 'missing'}, "
        f"{torch.cuda.device_count()} GPU(s)"
    )
    return Finding("device", "ok", text, "", values)


def precisions(runtime: Runtime) -> Finding:
    """How fast a few convolutions are in each precision, forward and backward, against float32."""
    names = ("bf16", "fp16") if runtime.device.type == "cuda" else ("bf16",)
    seconds = {"fp32": _seconds(runtime)}
    for name in names:
        try:
            seconds[name] = _seconds(Runtime(str(runtime.device), name))
        except (InputError, RuntimeError):
            continue
    speeds = {name: seconds["fp32"] / value for name, value in seconds.items() if name != "fp32"}
    faster = {name: speed for name, speed in speeds.items() if speed >= _WORTH_IT}
    measured = ", ".join(f"{name} is {speed:.2g} times as fast as fp32" for name, speed in speeds.items())
    best = max(faster, key=lambda name: faster[name], default="fp32")
    advice = f"--precision {best} saves time here" if faster else "--precision fp32, the default, is right here"
    text = f"{measured or 'only fp32 can be used'}: {advice}"
    return Finding("precision", "ok", text, "", {"times_as_fast_as_fp32": speeds, "advised": best})


def _seconds(runtime: Runtime) -> float:
    """The shortest of a few passes through two convolutions, forward and backward."""
    # No random numbers are drawn: those of a caller must not depend on a measurement.
    network = nn.Sequential(nn.Conv2d(32, 64, 3, bias=False), nn.ReLU(), nn.Conv2d(64, 64, 3, bias=False))
    for weight in network.parameters():
        nn.init.constant_(weight, 0.01)
    network = network.to(runtime.device)
    images = torch.ones(4, 32, 48, 24, device=runtime.device)
    best = float("inf")
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        with runtime.autocast():
            value = network(images).float().mean()
        value.backward()
        value.detach().item()  # waits for the device
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        best = min(best, time.perf_counter() - begun)
    return best
