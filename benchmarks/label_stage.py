"""The label stage of an epoch: the neighbour search against what the hardware allows, and each step after it.

python benchmarks/label_stage.py --n 30000 --dim 2048
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from command import BenchmarkSettings, run
from measuring import PeakMemory, machine, shortest
from mixture import mixture
from numpy.typing import NDArray

from spcl.arrays import Neighbours
from spcl.errors import InputError
from spcl.neighbours.faiss_search import is_installed
from spcl.neighbours.nearest import nearest_neighbours
from spcl.reporting.console import Reporter
from spcl.retrieval.jaccard import jaccard_of_near
from spcl.retrieval.k_reciprocal import near_encoding
from spcl.runtime import Runtime, product_speed
from spcl.selfpaced.clustering import cluster_at_three_scales
from spcl.selfpaced.pseudo_labels import labels_of_scales, pseudo_labels


@dataclass(frozen=True, kw_only=True)
class LabelStageSettings(BenchmarkSettings):
    """Time the neighbours, the Jaccard distance, the clusters at three scales and the reliability of an epoch."""

    n: int = 30000
    """Number of images."""
    dim: int = 2048
    """Length of a feature."""
    k1: int = 30
    """Neighbours in the k-reciprocal encoding."""
    k2: int = 6
    """Neighbours in the local query expansion."""
    eps: float = 0.6
    """Largest distance of two neighbours in DBSCAN."""
    eps_gap: float = 0.02
    """Difference of eps to the tight and the loose scale."""
    min_samples: int = 4
    """Neighbours that make a core sample."""
    engine: Literal["auto", "torch", "faiss", "approximate"] = "auto"
    """Engine of the neighbour search; auto goes by size."""
    device: str = "cpu"
    """Device of the neighbour search: cpu, auto, cuda, cuda:N or mps."""
    no_full_product: bool = False
    """Leave out the search without symmetry, which the search is compared with."""
    seed: int = 0
    """Seed of the features."""

    def check(self) -> None:
        super().check()
        if self.engine == "faiss" and not is_installed():
            raise InputError(
                'faiss is not installed: pip install "spcl[faiss]", or leave --engine out', code="not-installed"
            )


@dataclass(frozen=True)
class _Pass:
    """One label stage: seconds of its steps, in their order, and what came of it."""

    seconds: dict[str, float]
    engine: str
    recall: float
    num_entries: int
    num_distances: int
    num_clusters: int
    num_unclustered: int


def measure(settings: LabelStageSettings, report: Reporter) -> dict[str, Any]:
    """Measure the label stage on a mixture of clusters.

    Returns:
        Sizes, ``seconds`` by step, ratios, ``peak_memory_gb`` of the process during one whole stage, GFLOP/s.
    """
    device = Runtime(settings.device).device
    # Compiles the loops.
    pseudo_labels(
        mixture(600, settings.dim), k1=settings.k1, k2=settings.k2, eps=settings.eps, eps_gap=settings.eps_gap
    )
    report.say(f"features: a mixture of {settings.n} x {settings.dim}")
    rows = mixture(settings.n, settings.dim, settings.seed)
    on_device = torch.from_numpy(rows).to(device)

    def search() -> Neighbours:
        with report.progress("search") as advance:
            return nearest_neighbours(on_device, settings.k1, engine=settings.engine, progress=advance)

    def full() -> Neighbours:
        with report.progress("full product with top-k") as advance:
            return nearest_neighbours(on_device, settings.k1, queries=on_device, progress=advance)

    memory = PeakMemory()
    passes = [_timed_pass(search, rows, settings) for _ in range(settings.repeat)]
    figures = _figures(settings, passes, memory.read(), rows.nbytes, device)
    if not settings.no_full_product and passes[-1].engine == "torch":
        figures["seconds"]["full product with top-k"], _ = shortest(full, settings.repeat)
        figures["search_by_full_product"] = figures["seconds"]["search"] / figures["seconds"]["full product with top-k"]
    return figures


def _figures(
    settings: LabelStageSettings, passes: Sequence[_Pass], peak: int | None, num_bytes: int, device: torch.device
) -> dict[str, Any]:
    last = passes[-1]
    seconds = {step: min(done.seconds[step] for done in passes) for step in last.seconds}
    after = sum(taken for step, taken in seconds.items() if step != "search")
    figures: dict[str, Any] = {
        "machine": machine(device),
        "n": settings.n,
        "dim": settings.dim,
        "k1": settings.k1,
        "k2": settings.k2,
        "engine": last.engine,
        "recall": last.recall,
        "seconds": seconds,
        "after_the_search_seconds": after,
        "whole_stage_seconds": min(sum(done.seconds.values()) for done in passes),
        "after_the_search_by_search": after / seconds["search"],
        "peak_memory_gb": None if peak is None else peak / 1e9,
        "features_gb": num_bytes / 1e9,
        "clusters": last.num_clusters,
        "unclustered": last.num_unclustered,
        "encoding_entries_per_row": last.num_entries / settings.n,
        "distances_per_row": last.num_distances / settings.n,
    }
    if last.engine == "torch":
        figures["product_gflops"] = product_speed(device, depth=settings.dim) / 1e9
        # Each pair once: N^2 D multiplications and additions, on every device.
        figures["search_gflops"] = settings.n**2 * settings.dim / seconds["search"] / 1e9
    return figures


def _timed_pass(search: Callable[[], Neighbours], rows: NDArray[np.float32], settings: LabelStageSettings) -> _Pass:
    """The steps of ``pseudo_labels``, each timed; what a step has used up is freed, as in that function."""
    eps, gap = settings.eps, settings.eps_gap
    seconds: dict[str, float] = {}
    seconds["search"], found = shortest(search, 1)
    seconds["encoding"], encoding = shortest(
        lambda: near_encoding(rows, found.indices, k1=settings.k1, k2=settings.k2), 1
    )
    num_entries = encoding.rows.nnz
    seconds["jaccard"], distance = shortest(partial(jaccard_of_near, encoding, cutoff=eps + gap), 1)
    del encoding
    cluster = partial(cluster_at_three_scales, distance, eps=eps, eps_gap=gap, min_samples=settings.min_samples)
    seconds["dbscan x 3"], scales = shortest(cluster, 1)
    seconds["reliability"], labels = shortest(lambda: labels_of_scales(scales, None), 1)
    return _Pass(
        seconds=seconds,
        engine=found.engine,
        recall=found.recall,
        num_entries=num_entries,
        num_distances=distance.nnz,
        num_clusters=labels.num_clusters,
        num_unclustered=labels.num_unclustered,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    run(LabelStageSettings, measure, arguments)


if __name__ == "__main__":
    main()
