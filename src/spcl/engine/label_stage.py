"""The label stage as a program: an estimate before the run, then neighbours and labels with progress, each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.retrieval.estimate import Estimate, estimate_label_stage
from spcl.retrieval.faiss_search import is_installed
from spcl.retrieval.neighbours import Engine, nearest_neighbours
from spcl.runtime import Runtime, product_speed
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
from spcl.selfpaced.suggestion import searched, suggest

_TOLD_FROM = 20_000
"""Images from which labelling takes more than a few seconds."""


def make_labeller(
    *,
    k1: int,
    k2: int,
    eps: float,
    eps_gap: float,
    min_samples: int,
    search: Engine,
    runtime: Runtime,
    report: Reporter,
) -> Callable[..., PseudoLabels]:
    """A function from target features ``[N, D]`` and the frozen threshold to the labels of an epoch.

    What is suggested, eps, k1 and k2, takes the place of what is given here.

    Several processes search for a part of the rows each; what comes after the search is a fraction of it, and is done
    by one.
    """

    def label(
        features: torch.Tensor, threshold: float | None, suggested: Mapping[str, Any] | None = None
    ) -> PseudoLabels:
        settings = {"k1": k1, "k2": k2, "eps": eps} | dict(suggested or {})
        neighbours = _shared_search(features, settings["k1"], search, runtime, report)
        return runtime.on_main(
            lambda: pseudo_labels(
                features,
                **settings,
                eps_gap=eps_gap,
                min_samples=min_samples,
                neighbours=neighbours,
                independence_threshold=threshold,
            )
        )

    return label


def make_suggester(
    *, min_samples: int, search: Engine, runtime: Runtime, report: Reporter
) -> Callable[[torch.Tensor], dict[str, Any]]:
    """A function from target features ``[N, D]`` to the eps, k1 and k2 that fit them, told with the reasons."""

    def suggested(features: torch.Tensor) -> dict[str, Any]:
        neighbours = _shared_search(features, searched("auto", min_samples), search, runtime, report)
        with report.progress("trying settings of the clustering") as advance:
            found = runtime.on_main(
                lambda: suggest(features, min_samples=min_samples, neighbours=neighbours, progress=advance)
            )
        report.say(f"eps auto: eps {found.eps:g}, k1 {found.k1}, k2 {found.k2} for the whole run, because")
        for reason in found.reasons:
            report.say(f"  {reason}")
        return {"eps": found.eps, "k1": found.k1, "k2": found.k2}

    return suggested


def _shared_search(
    features: torch.Tensor, k: int, engine: Engine, runtime: Runtime, report: Reporter
) -> NDArray[np.int64]:
    own = runtime.part(len(features))
    with report.progress("clustering: neighbours") as advance:
        found = nearest_neighbours(features, k, rows=own, engine=engine, progress=advance)
    if found.recall < 1:
        report.say(f"approximate neighbours: {100 * found.recall:.1f}% of the true ones, on a sample")
    whole: NDArray[np.int64] = runtime.gather_parts(torch.from_numpy(found.indices), len(features)).numpy()
    return whole


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes that labelling, and the hybrid memory beside it, need at most.

    Attributes:
        host: Of this machine, by all processes on it.
        device: Of this process's device; 0 where that is the host.
    """

    host: int
    device: int


def memory_needs(
    estimate: Estimate, num: int, dim: int, *, runtime: Runtime, num_slots: int = 0, spread: bool = False
) -> MemoryNeeds:
    """What a run needs beside the network.

    Args:
        estimate: Of its label stage.
        num: Target images.
        dim: Length of a feature.
        runtime: Its device and processes.
        num_slots: Rows of the hybrid memory; 0: there is none, and the features are an array of their own.
        spread: Whether each process holds a part of them.
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
    """Tell what labelling so many images takes where it takes long.

    Args:
        num: Target images.
        dim: Length of a feature.
        k1: Neighbours in the k-reciprocal encoding.
        engine: Of the search.
        runtime: Where the search multiplies; shares the machine's memory with how many processes.
        report: Told the estimate.
        num_slots: Rows of the hybrid memory; 0: there is none.
        spread: Whether each process holds a part of them.
        flags: Those that the program has of ``--features`` and ``--k1``: no other is advised.

    Raises:
        InputError: If the engine is not installed, or the stage does not fit in memory; says what would.
    """
    if engine == "faiss" and not is_installed():
        raise InputError('--search faiss: faiss is not installed. pip install "spcl[faiss]", or use --search torch')
    if num < _TOLD_FROM:
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
                f"at most about {int(num * there / wanted * 0.9)} images, or more memory"
            )
