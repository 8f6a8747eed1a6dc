"""The label stage as a program: an estimate before the run, then neighbours and labels with progress, each epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.retrieval.estimate import estimate_label_stage
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


def check_label_stage(
    num: int,
    dim: int,
    *,
    k1: int,
    engine: Engine,
    device: torch.device,
    report: Reporter,
    free_memory: int | None = None,
    flags: Sequence[str] = ("--features", "--k1"),
) -> None:
    """Tell what labelling so many images takes where it takes long.

    Args:
        num: Target images.
        dim: Length of a feature.
        k1: Neighbours in the k-reciprocal encoding.
        engine: Of the search.
        device: Where the search multiplies.
        report: Told the estimate.
        free_memory: Bytes at hand; None: the machine is asked.
        flags: Those that the program has of ``--features`` and ``--k1``: no other is advised.

    Raises:
        InputError: If the engine is not installed, or the stage does not fit in memory; says what would.
    """
    if engine == "faiss" and not is_installed():
        raise InputError('--search faiss: faiss is not installed. pip install "spcl[faiss]", or use --search torch')
    if num < _TOLD_FROM:
        return
    estimate = estimate_label_stage(
        num, dim, k1=k1, flops_per_second=product_speed(device), engine=engine, device_type=device.type
    )
    free = psutil.virtual_memory().available if free_memory is None else free_memory
    report.say(f"labels of {num} images: {estimate.words()}; {free / 1e9:.1f} GB of memory are free")
    if estimate.memory > free:
        helps = {"--features": "shorter features (--features 256)", "--k1": f"a smaller --k1 (now {k1})"}
        fitting = int(num * free / estimate.memory * 0.9)
        raise InputError(
            f"labelling {num} images with features of length {dim} needs about {estimate.memory / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free. What helps: {''.join(f'{helps[flag]}, ' for flag in flags)}"
            f"at most about {fitting} images, or more memory"
        )
