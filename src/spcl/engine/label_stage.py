"""The label stage as a program: an estimate before the run, then neighbours and labels with progress, each epoch."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch

from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.retrieval.estimate import estimate_label_stage
from spcl.retrieval.faiss_search import is_installed
from spcl.retrieval.neighbours import Engine, nearest_neighbours
from spcl.runtime import Runtime, product_speed
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels

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
) -> Callable[[torch.Tensor, float | None], PseudoLabels]:
    """A function from target features ``[N, D]`` and the frozen threshold to the labels of an epoch.

    Several processes search for a part of the rows each; what comes after the search is a fraction of it, and is done
    by one.
    """

    def label(features: torch.Tensor, threshold: float | None) -> PseudoLabels:
        own = runtime.part(len(features))
        with report.progress("clustering: neighbours") as advance:
            found = nearest_neighbours(features, k1, rows=own, engine=search, progress=advance)
        if found.recall < 1:
            report.say(f"approximate neighbours: {100 * found.recall:.1f}% of the true ones, on a sample")
        neighbours = runtime.gather_parts(torch.from_numpy(found.indices), len(features)).numpy()
        return runtime.on_main(
            lambda: pseudo_labels(
                features,
                k1=k1,
                k2=k2,
                eps=eps,
                eps_gap=eps_gap,
                min_samples=min_samples,
                neighbours=neighbours,
                independence_threshold=threshold,
            )
        )

    return label


def check_label_stage(
    num: int,
    dim: int,
    *,
    k1: int,
    engine: Engine,
    device: torch.device,
    report: Reporter,
    free_memory: int | None = None,
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
        fitting = int(num * free / estimate.memory * 0.9)
        raise InputError(
            f"labelling {num} images with features of length {dim} needs about {estimate.memory / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free. What helps: shorter features (--features 256), a smaller --k1 (now {k1}), "
            f"at most about {fitting} images, or more memory"
        )
