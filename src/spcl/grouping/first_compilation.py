"""Compiling the loops of the label stage before the work, where numba has not stored them yet.

It takes about a minute, once after an installation. In the stages themselves it would count as their time, so that
their estimates of the remaining time would be far too long.
"""

from __future__ import annotations

import numpy as np

from spcl.compiled import is_compiled
from spcl.grouping.groups import cluster
from spcl.neighbours import exact_search
from spcl.neighbours.nearest import nearest_neighbours
from spcl.reporting.console import Reporter
from spcl.retrieval import jaccard, k_reciprocal
from spcl.selfpaced import clustering

STAGE = "compiling, once after an installation"

_KERNELS = (
    exact_search._offer_rows,
    k_reciprocal.softmax_weights,
    jaccard._upper_rows_kernel,
    clustering._core_samples,
)
"""One of each step's loops: these are stored or missing together."""


def compile_label_stage(report: Reporter) -> bool:
    """Compile the loops of search and clustering by a run on 64 small rows, if one of them is not stored.

    Args:
        report: Receives the name of the stage and its progress.

    Returns:
        Whether something was compiled.
    """
    if all(is_compiled(kernel) for kernel in _KERNELS):
        return False
    report.say(f"{STAGE}: about a minute")
    rows = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with report.progress(STAGE) as advance:
        # Several blocks, so that both halves of a product are used.
        neighbours = nearest_neighbours(rows, 8, block_bytes=4 * 32**2).indices
        advance(1, 2)
        cluster(rows, k1=8, neighbours=neighbours)
        advance(2, 2)
    return True
