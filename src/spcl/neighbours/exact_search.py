"""Exact search with torch: every pair is compared, in blocks.

A set is searched in itself with each pair of blocks multiplied once: the product is used for the rows of both. This
is the search on the CPU, where compiled code selects the nearest; for other devices see ``device_search.py``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from spcl.arrays import Neighbours, Progress
from spcl.compiled import PARALLEL
from spcl.neighbours import device_search

BLOCK_BYTES = 64 * 2**20
"""Default of the largest memory of a block of similarities, in bytes."""

_BLOCK_ROWS = 2048
_NEVER = -(2**62)
"""Shift to the row's own column if the block does not contain it."""


def search(
    database: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    block_bytes: int,
    progress: Progress | None,
    *,
    own_from: int | None = None,
    lowest: NDArray[np.float32] | None = None,
) -> Neighbours:
    """Find the ``k`` nearest rows of each query.

    Args:
        database: ``[N, D]`` float32 rows to search in.
        queries: ``[Q, D]`` float32, on the same device.
        k: Number of neighbours, at most N.
        block_bytes: Largest memory of a block of similarities, in bytes.
        progress: Called with (steps done, all steps).
        own_from: Row number of the first query, if the queries are rows of the database; each then finds itself first.
            None: they are other rows.
        lowest: ``[N]`` float32 that receives each row's smallest similarity, for a set searched in itself; None: not
            computed.
    """
    itself = own_from == 0 and len(queries) == len(database)
    on_host = database.device.type == "cpu"
    if itself:
        search_itself = _search_itself if on_host else device_search.search_itself
        best, indices = search_itself(database, k, block_bytes, progress, lowest)
    elif lowest is not None:
        raise ValueError("the smallest similarities are found only where a set is searched in itself")
    else:
        search_queries = _search_queries if on_host else device_search.search_queries
        best, indices = search_queries(database, queries, k, block_bytes, progress, own_from)
    if own_from is not None and len(best):
        # The row itself was put first with an infinite similarity; write the true one.
        best[:, 0] = torch.linalg.vecdot(queries, queries).cpu().numpy()
    return Neighbours(indices, best)


def _empty_lists(num_rows: int, num_columns: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return np.full((num_rows, k), -np.inf, dtype=np.float32), np.full((num_rows, k), num_columns, dtype=np.int64)


def _search_itself(
    database: torch.Tensor, k: int, block_bytes: int, progress: Progress | None, lowest: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Multiply each pair of blocks once, and use the product for the rows of both."""
    num_rows = len(database)
    block = max(1, min(_BLOCK_ROWS, num_rows, math.isqrt(max(1, block_bytes // 4))))
    best, indices = _empty_lists(num_rows, num_rows, k)
    if lowest is not None:
        lowest[:] = np.inf
    buffer = torch.empty(block * block, dtype=torch.float32)
    starts = range(0, num_rows, block)
    total, done = len(starts) * (len(starts) + 1) // 2, 0
    for first in starts:
        rows = database[first : first + block]
        for second in range(first, num_rows, block):
            columns = database[second : second + block]
            product = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=product)
            if lowest is not None:
                _lower(lowest[first : first + block], product.amin(dim=1))
                _lower(lowest[second : second + block], product.amin(dim=0))
            _offer_rows(product.numpy(), second, first - second, best[first:], indices[first:])
            if second != first:
                _offer_columns(product.numpy(), first, second, best, indices)
            done += 1
            if progress is not None:
                progress(done, total)
    return best, indices


def _search_queries(
    database: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    block_bytes: int,
    progress: Progress | None,
    own_from: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    block = max(1, min(_BLOCK_ROWS, max(len(queries), len(database)), math.isqrt(max(1, block_bytes // 4))))
    best, indices = _empty_lists(len(queries), len(database), k)
    buffer = torch.empty(block * block, dtype=torch.float32)
    for first in range(0, len(queries), block):
        rows = queries[first : first + block]
        for second in range(0, len(database), block):
            columns = database[second : second + block]
            product = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=product)
            shift = _NEVER if own_from is None else own_from + first - second
            _offer_rows(product.numpy(), second, shift, best[first:], indices[first:])
        if progress is not None:
            progress(min(first + block, len(queries)), len(queries))
    return best, indices


def _lower(lowest: NDArray[np.float32], seen: torch.Tensor) -> None:
    np.minimum(lowest, seen.numpy(), out=lowest)


@njit(cache=True, inline="always")
def insert(best, indices, similarity, index):  # type: ignore[no-untyped-def]
    """Insert a candidate into a list ordered by similarity, then by row number."""
    place = len(best) - 1
    while place > 0 and (
        best[place - 1] < similarity or (best[place - 1] == similarity and indices[place - 1] > index)
    ):
        best[place] = best[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    best[place] = similarity
    indices[place] = index


@njit(cache=True, parallel=PARALLEL)
def _offer_rows(product, second, own_shift, best, indices):  # type: ignore[no-untyped-def]
    """Insert the columns of a block, the rows from ``second`` on of the database, into each row's neighbours.

    The column ``row + own_shift``, if there is one, is the row itself: it comes first.
    """
    k = best.shape[1]
    num_columns = product.shape[1]
    for row in prange(product.shape[0]):
        values = product[row]
        own = row + own_shift
        worst = best[row, k - 1]
        for start in range(0, num_columns, 64):
            stop = min(start + 64, num_columns)
            # Few blocks of 64 contain a candidate: a plain maximum is vectorised, a loop with a branch is not.
            highest = np.float32(-np.inf)
            for column in range(start, stop):
                highest = max(highest, values[column])
            if highest < worst and not start <= own < stop:
                continue
            for column in range(start, stop):
                similarity = values[column]
                if column == own:
                    similarity = np.float32(np.inf)
                index = second + column
                if similarity > worst or (similarity == worst and index < indices[row, k - 1]):
                    insert(best[row], indices[row], similarity, index)
                    worst = best[row, k - 1]


@njit(cache=True, parallel=PARALLEL)
def _offer_columns(product, first, second, best, indices):  # type: ignore[no-untyped-def]
    """Insert the rows of a block into each column's neighbours: the other half of the symmetric product."""
    k = best.shape[1]
    num_rows, num_columns = product.shape
    stripe = 64
    for part in prange((num_columns + stripe - 1) // stripe):
        start = part * stripe
        stop = min(start + stripe, num_columns)
        worst = np.empty(stripe, dtype=np.float32)
        for column in range(start, stop):
            worst[column - start] = best[second + column, k - 1]
        for row in range(num_rows):
            values = product[row]
            candidates = 0
            for column in range(start, stop):
                candidates += values[column] >= worst[column - start]
            if candidates == 0:
                continue
            index = first + row
            for column in range(start, stop):
                own = second + column
                similarity = values[column]
                if similarity > worst[column - start] or (
                    similarity == worst[column - start] and index < indices[own, k - 1]
                ):
                    insert(best[own], indices[own], similarity, index)
                    worst[column - start] = best[own, k - 1]
