"""Nearest neighbours by cosine similarity: exact, in blocks, on any device.

The first step of every epoch (which images lie near which), and of re-ranking. A set searched in itself uses the
symmetry of the inner product: each pair of blocks is multiplied once and serves the rows of both.

Memory is bounded by ``block_bytes``, whatever the number of rows: an N x N array never exists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

Features = NDArray[np.floating] | torch.Tensor
Progress = Callable[[int, int], None]

DEFAULT_BLOCK_BYTES = 64 * 2**20
_COLUMNS_AT_ONCE = 65536


class Neighbours(NamedTuple):
    """The result of a search, nearest first.

    Attributes:
        indices: ``[Q, k]`` int64, row numbers of the searched set; ties go to the smaller row number.
        similarities: ``[Q, k]`` float32, inner products.
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest_neighbours(
    features: Features,
    k: int,
    *,
    queries: Features | None = None,
    device: str | torch.device | None = None,
    block_bytes: int = DEFAULT_BLOCK_BYTES,
    progress: Progress | None = None,
) -> Neighbours:
    """The ``k`` rows of ``features`` with the largest inner product, for each query.

    Args:
        features: ``[N, D]`` rows to search in, of unit length where cosine similarity is meant.
        k: How many; ``min(k, N)`` columns come back.
        queries: ``[Q, D]`` rows to search for. None: the set itself, and then each row's first neighbour is the
            row itself, also where other rows are identical to it.
        device: Where to multiply; None: where ``features`` lie.
        block_bytes: The most memory one block of similarities may take.
        progress: Called with (operations done, operations in all), in units of block products.

    Returns:
        Neighbours, exact in float32.

    Raises:
        ValueError: If shapes do not fit, ``k`` is not positive, or a value is not finite.

    Cost:
        ``N^2 D`` multiply-adds for a set in itself (half the plain product), ``2 Q N D`` flops otherwise.
    """
    database = as_float32(features, "features")
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    where = torch.device(device) if device is not None else database.device
    database = database.to(where)
    k = min(k, len(database))
    if queries is None:
        search = _search_itself if where.type == "cpu" else _search_itself_topk
        return search(database, k, block_bytes, progress)
    wanted = as_float32(queries, "queries").to(where)
    if wanted.shape[1] != database.shape[1]:
        raise ValueError(f"queries have {wanted.shape[1]} columns, features {database.shape[1]}; they must be equal")
    return _search_topk(database, wanted, k, block_bytes, progress)


def as_float32(features: Features, name: str) -> torch.Tensor:
    """``[N, D]`` float32 tensor over the given array, contiguous, checked for shape and finite values."""
    tensor = features.detach() if isinstance(features, torch.Tensor) else torch.as_tensor(np.asarray(features))
    if tensor.ndim != 2:
        raise ValueError(f"{name} have shape {tuple(tensor.shape)}; expected [rows, columns]")
    tensor = tensor.to(torch.float32).contiguous()
    # The sum of a row is finite exactly when its values are, save for overflow: and it makes no N x D copy.
    if tensor.numel() and not bool(torch.isfinite(tensor.sum(dim=1)).all()):
        bad = int((~torch.isfinite(tensor).all(dim=1)).nonzero()[0]) if not torch.isfinite(tensor).all() else -1
        if bad >= 0:
            raise ValueError(f"{name} hold a value that is not finite, first in row {bad}")
    return tensor


# --- a set in itself, on the CPU: each pair of blocks once ---------------------------------------------------


def _search_itself(database: torch.Tensor, k: int, block_bytes: int, progress: Progress | None) -> Neighbours:
    num_rows = len(database)
    block = max(1, min(2048, num_rows, math.isqrt(max(1, block_bytes // 4))))
    best = np.full((num_rows, k), -np.inf, dtype=np.float32)
    indices = np.full((num_rows, k), num_rows, dtype=np.int64)
    buffer = torch.empty(block * block, dtype=torch.float32)
    starts = range(0, num_rows, block)
    total, done = len(starts) * (len(starts) + 1) // 2, 0
    for first in starts:
        rows = database[first : first + block]
        for second in range(first, num_rows, block):
            columns = database[second : second + block]
            product = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
            torch.mm(rows, columns.T, out=product)
            _offer_rows(product.numpy(), first, second, best, indices)
            if second != first:
                _offer_columns(product.numpy(), first, second, best, indices)
            done += 1
            if progress is not None:
                progress(done, total)
    _restore_own_similarity(database, best, indices)
    return Neighbours(indices, best)


def _restore_own_similarity(database: torch.Tensor, best: NDArray[np.float32], indices: NDArray[np.int64]) -> None:
    """The row itself was put first with an infinite similarity; write the true one."""
    if len(best):
        best[:, 0] = torch.linalg.vecdot(database, database).cpu().numpy()


@njit(cache=True, inline="always")
def _insert(best, indices, similarity, index):  # type: ignore[no-untyped-def]
    """Put a candidate in its place in a list ordered by similarity, then by row number."""
    place = len(best) - 1
    while place > 0 and (
        best[place - 1] < similarity or (best[place - 1] == similarity and indices[place - 1] > index)
    ):
        best[place] = best[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    best[place] = similarity
    indices[place] = index


@njit(cache=True, parallel=True)
def _offer_rows(product, first, second, best, indices):  # type: ignore[no-untyped-def]
    """Offer each row of the block its columns as neighbours."""
    k = best.shape[1]
    num_columns = product.shape[1]
    for row in prange(product.shape[0]):
        own = first + row
        values = product[row]
        worst = best[own, k - 1]
        for start in range(0, num_columns, 64):
            stop = min(start + 64, num_columns)
            # Few blocks of 64 hold a candidate: a plain maximum is vectorised, a loop with a branch is not.
            highest = np.float32(-np.inf)
            for column in range(start, stop):
                highest = max(highest, values[column])
            if highest < worst and not (first == second and start <= row < stop):
                continue
            for column in range(start, stop):
                similarity = values[column]
                index = second + column
                if index == own:
                    similarity = np.float32(np.inf)
                if similarity > worst or (similarity == worst and index < indices[own, k - 1]):
                    _insert(best[own], indices[own], similarity, index)
                    worst = best[own, k - 1]


@njit(cache=True, parallel=True)
def _offer_columns(product, first, second, best, indices):  # type: ignore[no-untyped-def]
    """Offer each column of the block its rows as neighbours: the other half of the symmetric product."""
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
                    _insert(best[own], indices[own], similarity, index)
                    worst[column - start] = best[own, k - 1]


# --- any device: blocks of rows against blocks of columns, with the device's own top-k ---------------------


def _blocks(num_rows: int, num_columns: int, block_bytes: int) -> Iterator[tuple[slice, list[slice]]]:
    width = max(1, min(num_columns, _COLUMNS_AT_ONCE))
    height = max(1, min(num_rows, block_bytes // (4 * width)))
    columns = [slice(start, min(start + width, num_columns)) for start in range(0, num_columns, width)]
    for start in range(0, num_rows, height):
        yield slice(start, min(start + height, num_rows)), columns


def _search_topk(
    database: torch.Tensor,
    queries: torch.Tensor,
    k: int,
    block_bytes: int,
    progress: Progress | None,
    own_first: bool = False,
) -> Neighbours:
    best = torch.empty((len(queries), k), dtype=torch.float32)
    indices = torch.empty((len(queries), k), dtype=torch.int64)
    for rows, columns in _blocks(len(queries), len(database), block_bytes):
        values, places = None, None
        for part in columns:
            product = queries[rows] @ database[part].T
            if own_first:
                _mark_own(product, rows, part)
            top, at = _stable_topk(product, min(k, product.shape[1]))
            at = at + part.start
            if values is not None and places is not None:
                top, order = _stable_topk(torch.cat([values, top], dim=1), min(k, values.shape[1] + top.shape[1]))
                at = torch.cat([places, at], dim=1).gather(1, order)
            values, places = top, at
        if values is not None and places is not None:
            best[rows], indices[rows] = values.cpu(), places.cpu()
        if progress is not None:
            progress(rows.stop, len(queries))
    return Neighbours(indices.numpy(), best.numpy())


def _search_itself_topk(database: torch.Tensor, k: int, block_bytes: int, progress: Progress | None) -> Neighbours:
    indices, best = _search_topk(database, database, k, block_bytes, progress, own_first=True)
    _restore_own_similarity(database, best, indices)
    return Neighbours(indices, best)


def _mark_own(product: torch.Tensor, rows: slice, columns: slice) -> None:
    low, high = max(rows.start, columns.start), min(rows.stop, columns.stop)
    if low < high:
        own = torch.arange(low, high, device=product.device)
        product[own - rows.start, own - columns.start] = torch.inf


def _stable_topk(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Top-k with ties in order of position, which the device's own top-k does not promise."""
    top, at = torch.topk(values, k, dim=1)
    # Ties at the border may have been cut anywhere: take the first positions among those equal to the k-th value.
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
