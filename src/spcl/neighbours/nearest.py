"""Nearest neighbours by cosine similarity: one function with several engines.

This is the first step of every epoch, and of re-ranking. The default engine is exact (``exact_search.py``); for sets
in which comparing every pair takes too long, an approximate one is chosen (``approximate_search.py``), and its recall
is measured and reported. Memory beside the features and the result is bounded for any number of rows: by
``block_bytes``, or by some hundreds of megabytes for the approximate engine. No N x N array is made.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.arrays import Features, Neighbours, Progress, finite_rows
from spcl.neighbours import exact_search, faiss_search
from spcl.settings_checks import check_count

Engine = Literal["auto", "torch", "faiss", "approximate"]

MOST_EXACT_PRODUCTS = {"cpu": 8e13, "cuda": 1e16, "mps": 1e15}
"""Largest number of multiplications (N x N x D) for which ``auto`` searches exactly, some minutes of search."""


def nearest_neighbours(
    features: Features,
    k: int,
    *,
    queries: Features | None = None,
    rows: range | None = None,
    engine: Engine = "auto",
    device: str | torch.device | None = None,
    block_bytes: int = exact_search.BLOCK_BYTES,
    progress: Progress | None = None,
) -> Neighbours:
    """Find the ``k`` rows of ``features`` with the largest inner product, for each query.

    Args:
        features: ``[N, D]`` rows to search in, of unit length for cosine similarity.
        k: Number of neighbours; the result has ``min(k, N)`` columns.
        queries: ``[Q, D]`` rows to search for. None: the set itself; each row's first neighbour is then the row itself,
            also if other rows are identical to it.
        rows: The rows to search for if ``queries`` is None, so that several processes can share a search. None: all.
        engine: ``torch``: exact, every pair. ``faiss``: exact, if faiss is installed. ``approximate``: compares rows in
            the same regions of the set, and finds at least 95 % of the true neighbours, measured on a sample. ``auto``:
            torch for ``queries``, and for sets up to ``MOST_EXACT_PRODUCTS``; approximate for larger sets.
        device: Device of the multiplication; None: the device of ``features``.
        block_bytes: Largest memory of a block of similarities, in bytes.
        progress: Called with (steps done, all steps).

    Returns:
        Neighbours; exact in float32 unless its ``recall`` is below 1.

    Raises:
        ValueError: If shapes do not fit, ``k`` is not positive, a value is NaN or infinite, the engine is unknown, or
            ``queries`` are given to the approximate engine.
        ModuleNotFoundError: If the engine is ``faiss`` and it is not installed.

    Cost:
        ``N^2 D`` flops for a set in itself (half the plain product), ``2 Q N D`` for queries or some of its rows.
    """
    database = finite_rows(features, "features")
    _check_engine(engine, queries)
    where = torch.device(device) if device is not None else database.device
    database = database.to(where)
    k = min(check_count(k, "k"), len(database))
    own_from = None
    if queries is None:
        part = range(len(database)) if rows is None else rows
        if part.step != 1 or part.start < 0 or part.stop > len(database):
            raise ValueError(f"rows are {part}; expected consecutive ones from 0 to {len(database)}")
        wanted, own_from = database[part.start : part.stop], part.start
    else:
        wanted = finite_rows(queries, "queries").to(where)
        if wanted.shape[1] != database.shape[1]:
            raise ValueError(
                f"queries have {wanted.shape[1]} columns, features {database.shape[1]}; they must be equal"
            )
    chosen = (
        choose_engine(len(database), database.shape[1], where.type) if engine == "auto" and queries is None else engine
    )
    if chosen == "approximate":
        # Imported here because the exact engines do not need this compiled code.
        from spcl.neighbours import approximate_search

        return approximate_search.search(database, k, range(len(database)) if rows is None else rows, progress=progress)
    if chosen == "faiss":
        return faiss_search.search(database, wanted, k, own_from, progress)
    return exact_search.search(database, wanted, k, block_bytes, progress, own_from=own_from)


def neighbours_and_lowest(
    features: torch.Tensor, k: int, *, block_bytes: int = exact_search.BLOCK_BYTES, progress: Progress | None = None
) -> tuple[Neighbours, NDArray[np.float32]]:
    """Find exact neighbours of a set in itself, and each row's smallest similarity, from the same products.

    Args:
        features: ``[N, D]`` float32 rows, of unit length for cosine similarity.
        k: Number of neighbours; the result has ``min(k, N)`` columns.
        block_bytes: Largest memory of a block of similarities, in bytes.
        progress: Called with (steps done, all steps).

    Returns:
        Neighbours, each row itself first, and ``[N]`` float32.
    """
    lowest = np.empty(len(features), dtype=np.float32)
    found = exact_search.search(
        features, features, min(k, len(features)), block_bytes, progress, own_from=0, lowest=lowest
    )
    return found, lowest


def choose_engine(num: int, dim: int, device_type: str) -> Literal["torch", "approximate"]:
    """Choose the engine of ``auto`` for a set of this size. It depends on the size only, so that runs repeat."""
    limit = MOST_EXACT_PRODUCTS.get(device_type, MOST_EXACT_PRODUCTS["cpu"])
    return "torch" if float(num) * num * dim <= limit else "approximate"


def _check_engine(engine: str, queries: Features | None) -> None:
    if engine not in get_args(Engine):
        raise ValueError(f"engine is {engine!r}; expected one of {', '.join(get_args(Engine))}")
    if engine == "approximate" and queries is not None:
        raise ValueError("the approximate engine searches a set in itself; for queries of their own use torch")
