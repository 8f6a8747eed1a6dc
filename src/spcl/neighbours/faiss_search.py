"""Exact search by faiss, if it is installed (``pip install "spcl[faiss]"``)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch

from spcl.arrays import Neighbours, Progress

_ROWS_AT_ONCE = 4096


def is_installed() -> bool:
    """Whether faiss can be imported."""
    return find_spec("faiss") is not None


def search(
    database: torch.Tensor, queries: torch.Tensor, k: int, own_from: int | None, progress: Progress | None
) -> Neighbours:
    """Find the ``k`` nearest rows of each query, as ``exact_search.search`` does.

    Args:
        database: ``[N, D]`` float32 rows to search in.
        queries: ``[Q, D]`` float32 rows to search for.
        k: Number of neighbours, at most N.
        own_from: Row number of the first query, if the queries are rows of the database; None: they are other rows.
        progress: Called with (queries done, all queries).

    Returns:
        Neighbours. Ties inside the result go to the smaller row number; faiss decides which of several rows tied for
        the last place is returned.

    Raises:
        ModuleNotFoundError: If faiss is not installed.
    """
    if not is_installed():
        raise ModuleNotFoundError('the engine faiss is not installed: pip install "spcl[faiss]", or use engine torch')
    faiss = import_module("faiss")
    index = faiss.IndexFlatIP(database.shape[1])
    index.add(database.cpu().numpy())
    rows = queries.cpu().numpy()
    best = np.empty((len(rows), k), dtype=np.float32)
    indices = np.empty((len(rows), k), dtype=np.int64)
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(at, min(at + _ROWS_AT_ONCE, len(rows)))
        similarity, found = index.search(rows[part], k)
        rank_by = similarity.copy()
        if own_from is not None:
            own = np.arange(part.start, part.stop) + own_from
            missing = ~(found == own[:, None]).any(axis=1)
            found[missing, -1] = own[missing]
            similarity[missing, -1] = (rows[part][missing] ** 2).sum(axis=1)
            rank_by = np.where(found == own[:, None], np.float32(np.inf), similarity)
        order = np.lexsort((found, -rank_by), axis=1)
        best[part], indices[part] = (np.take_along_axis(array, order, axis=1) for array in (similarity, found))
        if progress is not None:
            progress(part.stop, len(rows))
    return Neighbours(indices, best, engine="faiss")
