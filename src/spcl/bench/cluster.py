"""The label stage: the neighbour search against what the hardware needs for it, and each step after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.arrays import Neighbours
from spcl.bench.features import mixture
from spcl.bench.measuring import PeakMemory, machine, shortest
from spcl.neighbours.nearest import Engine, nearest_neighbours
from spcl.reporting.console import Reporter
from spcl.retrieval.jaccard import jaccard_of_near
from spcl.retrieval.k_reciprocal import near_encoding
from spcl.runtime import product_speed
from spcl.selfpaced.clustering import cluster_at_three_scales
from spcl.selfpaced.pseudo_labels import labels_of_scales, pseudo_labels


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


def bench_cluster(
    num: int,
    dim: int,
    *,
    k1: int = 30,
    k2: int = 6,
    eps: float = 0.6,
    eps_gap: float = 0.02,
    min_samples: int = 4,
    engine: Engine = "auto",
    device: str = "cpu",
    repeat: int = 3,
    with_full_product: bool = True,
    seed: int = 0,
    report: Reporter,
) -> dict[str, Any]:
    """Measure the label stage on a mixture of ``num`` rows of length ``dim``.

    Args:
        num: N.
        dim: D.
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        eps: DBSCAN's largest distance of two neighbours.
        eps_gap: Difference of eps to the tight and the loose scale.
        min_samples: Neighbours that make a core sample.
        engine: Engine of the neighbour search.
        device: Device of the neighbour search.
        repeat: Number of repetitions; the fastest is reported.
        with_full_product: Measure also the search that does not use the symmetry.
        seed: Seed of the features.
        report: Receives progress.

    Returns:
        Sizes, ``seconds`` by step, ratios, ``peak_memory_gb`` of the process during one whole stage, GFLOP/s.
    """
    where = torch.device(device)
    pseudo_labels(mixture(600, dim), k1=k1, k2=k2, eps=eps, eps_gap=eps_gap)  # compile
    report.say(f"features: a mixture of {num} x {dim}")
    rows = mixture(num, dim, seed)
    on_device = torch.from_numpy(rows).to(where)

    def search() -> Neighbours:
        with report.progress("search") as advance:
            return nearest_neighbours(on_device, k1, engine=engine, progress=advance)

    memory = PeakMemory()
    passes = [
        _timed_pass(search, rows, k1=k1, k2=k2, eps=eps, eps_gap=eps_gap, min_samples=min_samples)
        for _ in range(max(1, repeat))
    ]
    peak = memory.read()
    last = passes[-1]
    seconds = {step: min(done.seconds[step] for done in passes) for step in last.seconds}
    whole = min(sum(done.seconds.values()) for done in passes)
    after = sum(taken for step, taken in seconds.items() if step != "search")
    result: dict[str, Any] = {
        "machine": machine(where),
        "n": num,
        "dim": dim,
        "k1": k1,
        "k2": k2,
        "engine": last.engine,
        "recall": last.recall,
        "seconds": seconds,
        "after_the_search_seconds": after,
        "whole_stage_seconds": whole,
        "after_the_search_by_search": after / seconds["search"],
        "peak_memory_gb": None if peak is None else peak / 1e9,
        "features_gb": rows.nbytes / 1e9,
        "clusters": last.num_clusters,
        "unclustered": last.num_unclustered,
        "encoding_entries_per_row": last.num_entries / num,
        "distances_per_row": last.num_distances / num,
    }
    if last.engine == "torch":
        result["product_gflops"] = product_speed(where, depth=dim) / 1e9
        # Each pair once: N^2 D multiplications and additions, on every device.
        result["search_gflops"] = num * num * dim / seconds["search"] / 1e9
    if with_full_product and last.engine == "torch":

        def full() -> Neighbours:
            with report.progress("full product with top-k") as advance:
                return nearest_neighbours(on_device, k1, queries=on_device, progress=advance)

        seconds["full product with top-k"], _ = shortest(full, repeat)
        result["search_by_full_product"] = seconds["search"] / seconds["full product with top-k"]
    return result


def _timed_pass(
    search: Callable[[], Neighbours],
    rows: NDArray[np.float32],
    *,
    k1: int,
    k2: int,
    eps: float,
    eps_gap: float,
    min_samples: int,
) -> _Pass:
    """The steps of ``pseudo_labels``, each timed; what a step has used up is let go, as there."""
    seconds: dict[str, float] = {}
    seconds["search"], found = shortest(search, 1)
    seconds["encoding"], encoding = shortest(lambda: near_encoding(rows, found.indices, k1=k1, k2=k2), 1)
    num_entries = encoding.rows.nnz
    seconds["jaccard"], distance = shortest(partial(jaccard_of_near, encoding, cutoff=eps + eps_gap), 1)
    del encoding
    cluster = partial(cluster_at_three_scales, distance, eps=eps, eps_gap=eps_gap, min_samples=min_samples)
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
