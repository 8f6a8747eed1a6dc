"""Time and memory of the label stage, estimated and compared with the free memory before a run."""

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
class LabelStage:
    """The size of a label stage and of the hybrid memory.

    Attributes:
        num: Number of target images.
        dim: D, the length of a feature.
        k1: Neighbours in the k-reciprocal encoding.
        engine: Engine of the neighbour search.
        num_slots: Rows of the hybrid memory; 0: there is no memory, and the features are a separate array.
        spread: Whether each process holds a part of the rows.
    """

    num: int
    dim: int
    k1: int
    engine: Engine = "auto"
    num_slots: int = 0
    spread: bool = False


@dataclass(frozen=True)
class MemoryNeeds:
    """Largest number of bytes that the label stage and the hybrid memory need together.

    Attributes:
        host: Bytes of this machine's memory that all its processes need.
        device: Bytes of this process's device memory; 0 on the host.
    """

    host: int
    device: int


def memory_needs(estimate: Estimate, stage: LabelStage, *, runtime: Runtime) -> MemoryNeeds:
    """Compute the memory that a run needs, without that of the network.

    Args:
        estimate: Estimate of the label stage.
        stage: Size of the label stage.
        runtime: Device and processes.
    """
    rows = 4 * stage.num * stage.dim
    # As many class means as rows, if no instance is in a cluster.
    memory = 2 * 4 * stage.num_slots * stage.dim // (runtime.num_processes if stage.spread else 1)
    # Labels are computed from the rows of the memory. A copy is needed only if these are spread over processes.
    copied = rows if stage.spread or not stage.num_slots else 0
    if estimate.device_memory:
        return MemoryNeeds(estimate.memory, estimate.device_memory - rows + memory + copied)
    # One process computes the labels; each process holds its memory, and its copy if there is one.
    return MemoryNeeds(estimate.memory - rows + runtime.processes_here * (memory + copied), 0)


def check_label_stage(
    stage: LabelStage,
    *,
    runtime: Runtime,
    report: Reporter,
    flags: Sequence[str] = ("--features", "--k1"),
) -> None:
    """Report the estimated time and memory of the label stage if it takes long.

    Args:
        stage: Size of the label stage.
        runtime: Device of the search, and the processes that share the memory of this machine.
        report: Receives the estimate as a message.
        flags: The flags among ``--features`` and ``--k1`` that the program has; the error advises only these.

    Raises:
        InputError: If the engine is not installed, or the stage does not fit in memory; says what would fit.
    """
    num, dim, k1 = stage.num, stage.dim, stage.k1
    if stage.engine == "faiss" and not is_installed():
        raise InputError(
            '--search faiss: faiss is not installed. pip install "spcl[faiss]", or use --search torch',
            code="package-not-installed",
        )
    if num < _REPORTED_FROM:
        return
    # Rows that are spread over processes are gathered on the host if the device has no room for them.
    device = runtime.device if not stage.spread or runtime.has_room(4 * stage.num_slots * dim) else torch.device("cpu")
    estimate = estimate_label_stage(
        num, dim, k1=k1, flops_per_second=product_speed(device), engine=stage.engine, device_type=device.type
    )
    needed = memory_needs(estimate, stage, runtime=runtime)
    free = int(psutil.virtual_memory().available)
    # The words of the estimate describe the stage alone; compared is the memory of the whole run.
    report.say(
        f"labels of {num} images: {estimate.words()}; at most {needed.host / 1e9:.1f} GB with everything beside, of "
        f"{free / 1e9:.1f} GB that are free"
    )
    helps = {"--features": "shorter features (--features 256)", "--k1": f"a smaller --k1 (now {k1})"}
    places = [(needed.host, free, "of memory", [helps[flag] for flag in flags])]
    if needed.device:
        # Neighbours are kept on the host, so that a smaller k1 does not help here.
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
