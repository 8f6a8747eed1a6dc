"""The exact search on a GPU: blocks of rows against blocks of columns, with the device's own top-k.

A row receives its blocks in the order of their columns, so that of equal similarities the first column stays first.
It runs on any device; on the CPU ``exact_search.py`` is faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.arrays import Progress

_COLUMNS_AT_ONCE = 65536


def search_itself(
    database: torch.Tensor, k: int, block_bytes: int, progress: Progress | None, lowest: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the ``k`` nearest rows of each row, itself first with infinite similarity; each pair of blocks is used once.

    Args:
        database: ``[N, D]`` float32 rows to search in.
        k: Number of neighbours, at most N.
        block_bytes: Largest memory of a product and its transpose, in bytes.
        progress: Called with (pairs of blocks done, all pairs of blocks).
        lowest: ``[N]`` float32 that receives each row's smallest similarity; None: not computed.

    Returns:
        Similarities and row numbers, ``[N, k]``.
    """
    num_rows, device = len(database), database.device
    block = max(1, min(num_rows, math.isqrt(max(1, block_bytes // 8))))
    best = torch.full((num_rows, k), -torch.inf, device=device)
    indices = torch.full((num_rows, k), num_rows, dtype=torch.int64, device=device)
    smallest = torch.full((num_rows,), torch.inf, device=device)
    starts = range(0, num_rows, block)
    total, done = len(starts) * (len(starts) + 1) // 2, 0
    for first in starts:
        rows = slice(first, min(first + block, num_rows))
        for second in range(first, num_rows, block):
            columns = slice(second, min(second + block, num_rows))
            product = database[rows] @ database[columns].T
            if lowest is not None:
                smallest[rows] = torch.minimum(smallest[rows], product.amin(dim=1))
                smallest[columns] = torch.minimum(smallest[columns], product.amin(dim=0))
            if first == second:
                product.fill_diagonal_(torch.inf)
            _offer(product, second, best[rows], indices[rows])
            if first != second:
                _offer(product.T.contiguous(), first, best[columns], indices[columns])
            done += 1
            if progress is not None:
                progress(done, total)
    if lowest is not None:
        lowest[:] = smallest.cpu().numpy()
    return best.cpu().numpy(), indices.cpu().numpy()


def search_queries(
    database: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    block_bytes: int,
    progress: Progress | None,
    own_from: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Find the ``k`` nearest rows of each query.

    Args:
        database: ``[N, D]`` float32 rows to search in.
        queries: ``[Q, D]`` float32, on the same device.
        k: Number of neighbours, at most N.
        block_bytes: Largest memory of a product, in bytes.
        progress: Called with (queries done, all queries).
        own_from: Row number of the first query, if the queries are rows of the database; each then finds itself first,
            with infinite similarity. None: they are other rows.

    Returns:
        Similarities and row numbers, ``[Q, k]``.
    """
    best, indices = np.empty((len(queries), k), dtype=np.float32), np.empty((len(queries), k), dtype=np.int64)
    for rows, columns in _blocks(len(queries), len(database), block_bytes):
        here = rows.stop - rows.start
        values = torch.full((here, k), -torch.inf, device=database.device)
        places = torch.full((here, k), len(database), dtype=torch.int64, device=database.device)
        for part in columns:
            product = queries[rows] @ database[part].T
            if own_from is not None:
                _mark_own(product, rows, part, own_from)
            _offer(product, part.start, values, places)
        best[rows], indices[rows] = values.cpu().numpy(), places.cpu().numpy()
        if progress is not None:
            progress(rows.stop, len(queries))
    return best, indices


def _blocks(num_rows: int, num_columns: int, block_bytes: int) -> Iterator[tuple[slice, list[slice]]]:
    width = max(1, min(num_columns, _COLUMNS_AT_ONCE))
    height = max(1, min(num_rows, block_bytes // (4 * width)))
    columns = [slice(start, min(start + width, num_columns)) for start in range(0, num_columns, width)]
    for start in range(0, num_rows, height):
        yield slice(start, min(start + height, num_rows)), columns


def _offer(product: torch.Tensor, start: int, best: torch.Tensor, indices: torch.Tensor) -> None:
    """Insert the columns of a block, the rows from ``start`` on of the database, into each row's neighbours.

    Args:
        product: ``[rows, columns]`` similarities of the block.
        start: Row number of the first column, above all row numbers in the lists.
        best: ``[rows, k]`` largest similarities so far; changed.
        indices: ``[rows, k]`` row numbers of ``best``; changed.
    """
    k = best.shape[1]
    top, at = _stable_topk(product, min(k, product.shape[1]))
    values, order = _stable_topk(torch.cat([best, top], dim=1), k)
    best.copy_(values)
    indices.copy_(torch.cat([indices, at + start], dim=1).gather(1, order))


def _mark_own(product: torch.Tensor, rows: slice, columns: slice, own_from: int) -> None:
    low, high = max(rows.start + own_from, columns.start), min(rows.stop + own_from, columns.stop)
    if low < high:
        own = torch.arange(low, high, device=product.device)
        product[own - own_from - rows.start, own - columns.start] = torch.inf


def _stable_topk(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the top k with ties in order of position, which the device's top-k does not guarantee."""
    top, at = torch.topk(values, k, dim=1)
    # Ties at the k-th value are cut arbitrarily by topk: take the first positions among values equal to it.
    border = top[:, -1:]
    tied = (values == border).sum(dim=1) > (top == border).sum(dim=1)
    if bool(tied.any()):
        rows = tied.nonzero()[:, 0]
        order = torch.sort(values[rows], dim=1, descending=True, stable=True)
        top[rows], at[rows] = order.values[:, :k], order.indices[:, :k]
    by_position = torch.argsort(at, dim=1)
    top, at = top.gather(1, by_position), at.gather(1, by_position)
    order = torch.sort(top, dim=1, descending=True, stable=True)
    return order.values, at.gather(1, order.indices)
