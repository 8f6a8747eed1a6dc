"""Seconds and memory of the label stage: the neighbour search, and each step after it.

python benchmarks/label_stage.py --n 30000 --dim 2048

Features come from a mixture with heavy-tailed cluster sizes and a tenth of noise points. The search is compared, in the
same run, with the plain blocked product of the same size (no selection of neighbours): what the hardware needs for it.
Best of ``--repeat`` for each.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from scipy.sparse import csr_array

from spcl.retrieval.jaccard import jaccard_of_encoding
from spcl.retrieval.k_reciprocal import k_reciprocal_encoding
from spcl.retrieval.neighbours import nearest_neighbours
from spcl.selfpaced.clustering import cluster_at_three_scales
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.selfpaced.reliability import cluster_agreement, independence_threshold, reliable_labels

T = TypeVar("T")


def mixture(num: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit rows: clusters of heavy-tailed sizes around random centres, and a tenth of noise points."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(2, rng.pareto(1.2, num // 8) * 6).astype(int)
    labels = np.repeat(np.arange(len(sizes)), np.minimum(sizes, num // 20))[: num - num // 10]
    labels = np.concatenate([labels, np.arange(len(sizes), len(sizes) + num - len(labels))])
    centres = rng.standard_normal((labels.max() + 1, dim), dtype=np.float32)
    rows = centres[labels]
    rows += 0.9 * rng.standard_normal((num, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[rng.permutation(num)]


def best(call: Callable[[], T], repeat: int) -> tuple[float, T]:
    """The shortest of several times, and the result."""
    seconds, result = [], None
    for _ in range(repeat):
        started = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - started)
    return min(seconds), result  # type: ignore[return-value]


def plain_product(rows: torch.Tensor, block: int = 2048) -> None:
    buffer = torch.empty(block * block)
    for at in range(0, len(rows), block):
        for to in range(0, len(rows), block):
            first, second = rows[at : at + block], rows[to : to + block]
            torch.mm(first, second.T, out=buffer[: len(first) * len(second)].view(len(first), len(second)))


def measure(num: int, dim: int, repeat: int) -> dict[str, float]:
    pseudo_labels(mixture(600, dim), k1=30)  # compile
    rows = mixture(num, dim)
    figures: dict[str, float] = {"n": num, "dim": dim}
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["plain product"], _ = best(lambda: plain_product(torch.from_numpy(rows)), repeat)
    figures["search"], found = best(lambda: nearest_neighbours(rows, 30), repeat)
    figures["encoding"], encoding = best(lambda: k_reciprocal_encoding(rows, found.indices, k1=30, k2=6), repeat)
    figures["jaccard"], distance = best(lambda: jaccard_of_encoding(encoding, cutoff=0.62), repeat)
    figures["dbscan x 3"], scales = best(lambda: clustered(distance), repeat)

    def select() -> np.ndarray:
        independence = cluster_agreement(scales.normal, scales.loose)
        compactness = cluster_agreement(scales.normal, scales.tight)
        return reliable_labels(scales, independence, compactness, independence_threshold(scales.normal, independence))

    figures["reliability"], labels = best(select, repeat)
    figures["after the search"] = sum(figures[s] for s in ("encoding", "jaccard", "dbscan x 3", "reliability"))
    figures["whole stage"] = figures["search"] + figures["after the search"]
    figures["clusters"] = int((np.bincount(labels) > 1).sum())
    figures["stored pairs per row"] = distance.nnz / num
    figures["peak memory above the features, GB"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started
    ) / 2**20
    figures["search GFLOP/s"] = num * num * dim / figures["search"] / 1e9
    figures["product GFLOP/s"] = 2 * num * num * dim / figures["plain product"] / 1e9
    figures["after the search / search"] = figures["after the search"] / figures["search"]
    figures["search / plain product"] = figures["search"] / figures["plain product"]
    return figures


def clustered(distance: csr_array):
    return cluster_at_three_scales(distance, eps=0.6, eps_gap=0.02, min_samples=4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.n, options.dim, options.repeat)
    print(
        json.dumps(result) if options.json else "\n".join(f"{name:<36} {value:10.3f}" for name, value in result.items())
    )
