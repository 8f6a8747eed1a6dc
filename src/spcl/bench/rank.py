"""Evaluation and re-ranking at the size of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spcl.bench.features import mixture
from spcl.bench.measuring import PeakMemory, machine, shortest
from spcl.reporting.console import Reporter
from spcl.retrieval.ranking import rank_features
from spcl.retrieval.rerank import rank_reranked
from spcl.runtime import product_speed


def bench_rank(
    num_queries: int,
    num_gallery: int,
    dim: int,
    *,
    num_cameras: int = 6,
    with_rerank: bool = True,
    device: str = "cpu",
    repeat: int = 1,
    seed: int = 0,
    report: Reporter,
) -> dict[str, Any]:
    """Measure mAP and CMC of ``num_queries`` x ``num_gallery`` features, plain and re-ranked.

    Returns:
        ``seconds`` and ``peak_memory_gb`` (of the process) of both, the speed of the products, the mAPs.
    """
    where = torch.device(device)
    rows = mixture(num_queries + num_gallery, dim, seed)
    rng = np.random.default_rng(seed)
    # Identities by which side of some planes a row lies on: similar rows share one, about 25 rows to each.
    bits = max(1, int(np.log2(max(2, num_gallery / 25))))
    planes = rng.standard_normal((dim, bits), dtype=np.float32)
    identities = ((rows @ planes) > 0) @ (2 ** np.arange(bits))
    cameras = rng.integers(0, num_cameras, len(rows))
    query, gallery = torch.from_numpy(rows[:num_queries]).to(where), torch.from_numpy(rows[num_queries:]).to(where)
    labels = (identities[:num_queries], identities[num_queries:], cameras[:num_queries], cameras[num_queries:])
    small = slice(0, 64)
    rank_features(query[small], query[small], *(labels[at][small] for at in (0, 0)), protocol="no-camera")  # compile
    rank_reranked(query[small], query[small], *(labels[at][small] for at in (0, 0)), protocol="no-camera")

    def plain() -> Any:
        with report.progress("ranking") as advance:
            return rank_features(query, gallery, *labels, progress=advance)

    def reranked() -> Any:
        with report.progress("re-ranking") as advance:
            return rank_reranked(query, gallery, *labels, progress=advance)

    result: dict[str, Any] = {
        "machine": machine(where),
        "queries": num_queries,
        "gallery": num_gallery,
        "dim": dim,
        "features_gb": rows.nbytes / 1e9,
        "product_gflops": product_speed(where, depth=dim) / 1e9,
        "seconds": {},
        "peak_memory_gb": {},
        "mAP": {},
    }
    for name, call in (("ranking", plain), *((("re-ranking", reranked),) if with_rerank else ())):
        memory = PeakMemory()
        result["seconds"][name], rated = shortest(call, repeat)
        peak = memory.read()
        result["peak_memory_gb"][name] = None if peak is None else peak / 1e9
        result["mAP"][name] = rated.mean_ap
    result["ranking_gflops"] = 2 * num_queries * num_gallery * dim / result["seconds"]["ranking"] / 1e9
    return result
