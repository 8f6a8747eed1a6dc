"""k-reciprocal encodings of a part of the rows: the steps of ``retrieval/k_reciprocal.py`` on the rows that it needs.

Rows are read from disk by their *places*, an order in which neighbours lie near each other. The entries of an encoding
are named by the original row numbers (*names*), and ascend by them, so that sums round as in the one-process result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spcl.partitioned.part_files import Parts
from spcl.partitioned.renumbering import places_in
from spcl.retrieval.compressed_rows import CompressedRows
from spcl.retrieval.k_reciprocal import softmax_weights
from spcl.retrieval.query_expansion import averaged_rows
from spcl.retrieval.reciprocal_sets import sets_of_table


def encoded_rows(
    rows: range, neighbours: Parts, features: NDArray[np.float32], names: NDArray[np.int32], *, k1: int, most_rows: int
) -> CompressedRows:
    """Compute the encodings of rows before the local query expansion.

    Args:
        rows: The rows, by place.
        neighbours: ``[N, k]`` int32 in parts: the places of each row's nearest, -1 for none.
        features: ``[N, D]`` float32 unit rows, mapped.
        names: ``[N]`` int32, the name of each row.
        k1: Number of neighbours.
        most_rows: Rows that may be read at once: where neighbours of neighbours are more, fewer rows are computed
            at once.

    Returns:
        The encodings, columns by name, ascending.
    """
    half = round(k1 / 2) + 1
    finished: list[CompressedRows] = []
    waiting = [rows]
    while waiting:
        part = waiting.pop()
        table = neighbours.take(np.arange(part.start, part.stop), "places")
        near = np.unique(table[table >= 0]).astype(np.int64)
        beyond = neighbours.take(near, "places")[:, :half]
        others = np.union1d(near, beyond[beyond >= 0])
        others = others[(others < part.start) | (others >= part.stop)]
        if len(part) + len(others) > most_rows and len(part) > 1:
            middle = part.start + len(part) // 2
            waiting += [range(middle, part.stop), range(part.start, middle)]
            continue
        finished.append(_encoded(part, others, table, neighbours, features, names, k1))
    return joined(finished)


def _encoded(
    part: range,
    others: NDArray[np.int64],
    table: NDArray[np.int32],
    neighbours: Parts,
    features: NDArray[np.float32],
    names: NDArray[np.int32],
    k1: int,
) -> CompressedRows:
    """Compute the encodings of a part from its rows and the other rows that these touch."""
    there = np.concatenate([np.arange(part.start, part.stop), others])
    known = np.concatenate([table, neighbours.take(others, "places")])
    local = places_in(there, known)
    by_name = np.argsort(names[there])
    ranks = np.empty(len(there), dtype=np.int64)
    ranks[by_name] = np.arange(len(there))
    # The members of each set, and so the sums, are in the order of the names.
    indptr, indices = sets_of_table(local, ranks, k1, len(part))
    order = there[by_name]
    rows = np.empty((len(there), features.shape[1]), dtype=np.float32)
    ascending = np.argsort(order)
    rows[ascending] = features[order[ascending]]
    weights = softmax_weights(rows, ranks, indptr, indices)
    return CompressedRows(indptr, names[order].astype(np.int32)[indices], weights)


def expanded_rows(rows: range, neighbours: Parts, encodings: Parts, *, k2: int) -> Iterator[CompressedRows]:
    """Compute the encodings of rows after the local query expansion, some rows at a time.

    Args:
        rows: The rows, by place.
        neighbours: ``[N, k]`` int32 in parts, the places of each row's nearest, -1 for none.
        encodings: The encodings of all rows before it, in parts.
        k2: Number of neighbours; 1: none.

    Yields:
        The encodings of the next rows, columns by name, ascending.
    """
    step = rows if k2 == 1 else range(rows.start, rows.stop, max(1, len(rows) // k2))
    for start in [rows.start] if k2 == 1 else step:
        stop = rows.stop if k2 == 1 else min(start + step.step, rows.stop)
        wanted = np.arange(start, stop)
        if k2 == 1:
            yield encodings.take_compressed(wanted)
            continue
        table = neighbours.take(wanted, "places")[:, :k2]
        there = np.unique(table[table >= 0]).astype(np.int64)
        yield averaged_rows(encodings.take_compressed(there), places_in(there, table))


def joined(parts: list[CompressedRows]) -> CompressedRows:
    """Put compressed rows one after the other."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return CompressedRows(
        starts, np.concatenate([part.columns for part in parts]), np.concatenate([part.values for part in parts])
    )
