"""An evaluation at the size of a data set: mAP and CMC of queries against a gallery, plain and re-ranked.

python benchmarks/ranking.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from command import BenchmarkSettings, run
from measuring import PeakMemory, machine, shortest
from mixture import mixture
from numpy.typing import NDArray

from spcl.reporting.console import Reporter
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import rank_features
from spcl.retrieval.rerank import rank_reranked
from spcl.runtime import Runtime, product_speed

_NUM_CAMERAS = 6


@dataclass(frozen=True, kw_only=True)
class RankingSettings(BenchmarkSettings):
    """Time an evaluation: mAP and CMC of queries against a gallery, plain and after re-ranking."""

    queries: int = 3368
    """Number of query images; the default is Market-1501's."""
    gallery: int = 19732
    """Number of gallery images."""
    dim: int = 2048
    """Length of a feature."""
    no_rerank: bool = False
    """Leave re-ranking out."""
    device: str = "cpu"
    """Device of the products: cpu, auto, cuda, cuda:N or mps."""
    repeat: int = 1
    """Number of repetitions; the fastest is reported."""
    seed: int = 0
    """Seed of the features."""


def measure(settings: RankingSettings, report: Reporter) -> dict[str, Any]:
    """Measure mAP and CMC, plain and re-ranked.

    Returns:
        ``seconds`` and ``peak_memory_gb`` (of the process) of both, the speed of the products, the mAPs.
    """
    device = Runtime(settings.device).device
    rows = mixture(settings.queries + settings.gallery, settings.dim, settings.seed)
    of_rows = _labels(rows, settings)
    first = settings.queries
    query, gallery = torch.from_numpy(rows[:first]).to(device), torch.from_numpy(rows[first:]).to(device)
    labels = RankingLabels.checked(*(part for values in of_rows for part in (values[:first], values[first:])))
    small = slice(0, 64)
    of_few = RankingLabels.checked(labels.query[small], labels.query[small], protocol="no-camera")
    # Compiles the loops.
    rank_features(query[small], query[small], of_few)
    rank_reranked(query[small], query[small], of_few)
    calls = {"ranking": rank_features} | ({} if settings.no_rerank else {"re-ranking": rank_reranked})
    figures: dict[str, Any] = {
        "machine": machine(device),
        "queries": settings.queries,
        "gallery": settings.gallery,
        "dim": settings.dim,
        "features_gb": rows.nbytes / 1e9,
        "product_gflops": product_speed(device, depth=settings.dim) / 1e9,
        "seconds": {},
        "peak_memory_gb": {},
        "mAP": {},
    }
    for name, rank in calls.items():
        memory = PeakMemory()
        with report.progress(name) as advance:
            figures["seconds"][name], rated = shortest(
                lambda: rank(query, gallery, labels, progress=advance),  # noqa: B023  (called in this turn)
                settings.repeat,
            )
        peak = memory.read()
        figures["peak_memory_gb"][name] = None if peak is None else peak / 1e9
        figures["mAP"][name] = rated.mean_ap
    products = 2 * settings.queries * settings.gallery * settings.dim
    figures["ranking_gflops"] = products / figures["seconds"]["ranking"] / 1e9
    return figures


def _labels(rows: NDArray[np.float32], settings: RankingSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Identities and cameras of the rows."""
    rng = np.random.default_rng(settings.seed)
    # Identities by which side of some planes a row lies on: similar rows share one, about 25 rows to each.
    bits = max(1, int(np.log2(max(2, settings.gallery / 25))))
    planes = rng.standard_normal((settings.dim, bits), dtype=np.float32)
    identities = ((rows @ planes) > 0) @ (2 ** np.arange(bits))
    return identities, rng.integers(0, _NUM_CAMERAS, len(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    run(RankingSettings, measure, arguments)


if __name__ == "__main__":
    main()
