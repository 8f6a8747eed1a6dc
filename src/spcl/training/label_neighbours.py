"""The neighbours that labels are made from, searched by all processes together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.reporting.events import Reporter
    from spcl.runtime import Runtime


def label_neighbours(
    features: Tensor,
    k: int,
    engine: Literal["auto", "torch", "faiss", "approximate"],
    runtime: Runtime,
    report: Reporter,
) -> NDArray[np.int64]:
    """Search the nearest neighbours of each row; each process searches for a part of the rows.

    Args:
        features: ``[N, D]`` unit rows, the same in every process.
        k: Number of neighbours, the row itself included.
        engine: Search engine.
        runtime: Processes of the run.
        report: Receives progress, and the recall of an approximate search.

    Returns:
        ``[N, k]`` int64, nearest first, in every process.
    """
    import torch

    from spcl.neighbours.nearest import nearest_neighbours

    own = runtime.part(len(features))
    with report.progress("clustering: neighbours") as advance:
        found = nearest_neighbours(features, k, rows=own, engine=engine, progress=advance)
    if found.recall < 1:
        report.say(f"approximate neighbours: {100 * found.recall:.1f}% of the true ones, on a sample")
    whole: NDArray[np.int64] = runtime.gather_parts(torch.from_numpy(found.indices), len(features)).numpy()
    return whole
