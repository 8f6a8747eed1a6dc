"""What labelling will take, estimated before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from spcl.errors import InputError
from spcl.neighbours.faiss_search import is_installed
from spcl.neighbours.memory_estimate import Estimate, estimate_label_stage
from spcl.neighbours.nearest import Engine
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime, product_speed

_REPORTED_FROM = 20_000
"""Images from which labelling takes more than a few seconds."""


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes that labelling, and the hybrid memory beside it, need at most.

    Attributes:
        host: Bytes of this machine's memory that all its processes need.
        device: Bytes of this process's device memory; 0 on the host.
    """

    host: int
    device: int


def memory_needs(
    estimate: Estimate, num: int, dim: int, *, runtime: Runtime, num_slots: int = 0, spread: bool = False
) -> MemoryNeeds:
    """What a run needs beside the network.

    Args:
        estimate: Estimate of the label stage.
        num: Number of target images.
        dim: D, the length of a feature.
        runtime: Device and processes.
        num_slots: Rows of the hybrid memory; 0: there is none, and the features are an array of their own.
        spread: Whether each process holds a part of the rows.
    """
    rows = 4 * num * dim
    # Rows, and where every instance is alone as many class means.
    memory = 2 * 4 * num_slots * dim // (runtime.num_processes if spread else 1)
    # Labels are made from the memory's own rows, but for one that is spread: its rows come together in a copy.
    copied = rows if spread or not num_slots else 0
    if estimate.device_memory:
        return MemoryNeeds(estimate.memory, estimate.device_memory - rows + memory + copied)
    # One process makes the labels; each holds its memory, and its copy where there is one.
    return MemoryNeeds(estimate.memory - rows + runtime.processes_here * (memory + copied), 0)


def check_label_stage(
    num: int,
    dim: int,
    *,
    k1: int,
    engine: Engine,
    runtime: Runtime,
    report: Reporter,
    num_slots: int = 0,
    spread: bool = False,
    flags: Sequence[str] = ("--features", "--k1"),
) -> None:
    """Report the estimated time and memory of the label stage if it takes long.

    Args:
        num: Number of target images.
        dim: D, the length of a feature.
        k1: Neighbours in the k-reciprocal encoding.
        engine: Engine of the neighbour search.
        runtime: Where the search multiplies; shares the machine's memory with how many processes.
        report: Receives the estimate as a message.
        num_slots: Rows of the hybrid memory; 0: there is none.
        spread: Whether each process holds a part of the rows.
        flags: Those that the program has of ``--features`` and ``--k1``: no other is advised.

    Raises:
        InputError: If the engine is not installed, or the stage does not fit in memory; says what would.
    """
    if engine == "faiss" and not is_installed():
        raise InputError(
            '--search faiss: faiss is not installed. pip install "spcl[faiss]", or use --search torch',
            code="package-not-installed",
        )
    if num < _REPORTED_FROM:
        return
    # Rows that come together for the search do so on the host where the device has no room for them.
    device = runtime.device if not spread or runtime.has_room(4 * num_slots * dim) else torch.device("cpu")
    estimate = estimate_label_stage(
        num, dim, k1=k1, flops_per_second=product_speed(device), engine=engine, device_type=device.type
    )
    needed = memory_needs(estimate, num, dim, runtime=runtime, num_slots=num_slots, spread=spread)
    free = int(psutil.virtual_memory().available)
    # The estimate's words are of the stage; what is compared is all that the run holds meanwhile.
    report.say(
        f"labels of {num} images: {estimate.words()}; at most {needed.host / 1e9:.1f} GB with everything beside, of "
        f"{free / 1e9:.1f} GB that are free"
    )
    helps = {"--features": "shorter features (--features 256)", "--k1": f"a smaller --k1 (now {k1})"}
    places = [(needed.host, free, "of memory", [helps[flag] for flag in flags])]
    if needed.device:
        # Neighbours wait on the host: k1 says nothing here.
        others = [helps[flag] for flag in flags if flag != "--k1"] + ["--device cpu"]
        places.append((needed.device, runtime.device_memory(), f"of the memory of {runtime.device}", others))
    for wanted, there, what, others in places:
        if wanted > there:
            raise InputError(
                f"labelling {num} images with features of length {dim} needs about {wanted / 1e9:.1f} GB {what}, and "
                f"{there / 1e9:.1f} GB are free. What helps: {''.join(f'{other}, ' for other in others)}"
                f"at most about {int(num * there / wanted * 0.9)} images, or more memory",
                code="memory-too-small",
            )
