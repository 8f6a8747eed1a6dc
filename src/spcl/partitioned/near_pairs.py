"""Jaccard distances between the rows of a part and those of all later parts, up to a cutoff.

The encodings of a part are stored by column (``columns_of``), with the columns that the part has. Rows of two parts
overlap only in the columns that both have, so that a part is compared with the entries of later parts in its own
columns: nothing else is read. The distances are summed as in ``retrieval/jaccard.py``, by its own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.partitioned.part_files import Parts
from spcl.partitioned.renumbering import places_in
from spcl.partitioned.streamed_dbscan import Pairs
from spcl.retrieval.compressed_rows import CompressedRows
from spcl.retrieval.jaccard import near_pairs
from spcl.retrieval.mirrored import UpperPairs
from spcl.retrieval.near_order import by_column

_MOST_PARTS_TOGETHER = 16


def columns_of(encoding: CompressedRows) -> dict[str, NDArray[Any]]:
    """Convert the encodings of a part to columns, as they are stored.

    Args:
        encoding: The rows of the part, columns by name.

    Returns:
        ``names [C]`` int32, the columns that occur, ascending; ``starts [C + 1]`` int64; ``rows`` int32, the rows of
        each column, counted from the first of the part, ascending; ``values`` float32.
    """
    names = np.unique(encoding.columns)
    local = places_in(names.astype(np.int64), encoding.columns)
    shape = (len(encoding.starts) - 1, max(1, len(names)))
    starts, rows, values = by_column(csr_array((encoding.values, local, encoding.starts), shape=shape))
    return {"names": names, "starts": starts, "rows": rows, "values": values}


def pairs_of_part(part: int, columns: Parts, names: NDArray[np.int32], *, cutoff: float, most_entries: int) -> Pairs:
    """Find the pairs of a part's rows with themselves, with each other and with all later rows.

    Args:
        part: Number of the part.
        columns: The encodings of all rows, by column, in parts.
        names: ``[N]`` int32, the name of the row at each place.
        cutoff: The largest distance that is found.
        most_entries: Entries of later parts to compare with at once; those of one part may be more.

    Returns:
        The pairs, rows by name.
    """
    own_names, starts, rows, values = (
        np.array(columns.array(part, name)) for name in ("names", "starts", "rows", "values")
    )
    here = columns.rows(part)
    own = CompressedRows(starts, rows, values)
    own_rows = _by_row(own, len(own_names), len(here))
    found = [_named(near_pairs(_padded(own_rows, len(own_names)), own, len(here), cutoff), here, here, names)]
    for first, stop, lists in _later_lists(part, own_names, columns, most_entries):
        later = range(columns.rows(first).start, columns.rows(stop - 1).stop)
        # The later rows are numbered behind those of the part.
        theirs = _by_row(lists, len(own_names), len(later))
        by_row = CompressedRows(
            np.concatenate([own_rows.starts, own_rows.starts[-1] + theirs.starts[1:]]),
            np.concatenate([own_rows.columns, theirs.columns]),
            np.concatenate([own_rows.values, theirs.values]),
        )
        behind = CompressedRows(lists.starts, lists.columns + np.int32(len(here)), lists.values)
        near = near_pairs(_padded(by_row, len(own_names)), behind, len(here), cutoff)
        found.append(_named(near._replace(columns=near.columns - np.int32(len(here))), here, later, names))
    return Pairs(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _by_row(lists: CompressedRows, num_columns: int, num_rows: int) -> CompressedRows:
    """Convert columns to rows; the entries of a row ascend by column."""
    shape = (num_columns, num_rows)
    if not num_columns:
        return CompressedRows(np.zeros(num_rows + 1, dtype=np.int64), lists.columns, lists.values)
    return by_column(csr_array((lists.values, lists.columns, lists.starts), shape=shape))


def _padded(by_row: CompressedRows, num_columns: int) -> CompressedRows:
    """Add empty rows, up to a square array: columns are below the number of rows."""
    missing = max(0, num_columns - (len(by_row.starts) - 1))
    return by_row._replace(starts=np.concatenate([by_row.starts, np.full(missing, by_row.starts[-1])]))


def _named(near: UpperPairs, here: range, there: range, names: NDArray[np.int32]) -> Pairs:
    order = np.argsort(near.starts)
    rows = np.repeat(order, near.counts[order])
    of_part, of_others = names[here.start : here.stop], names[there.start : there.stop]
    return Pairs(of_part[rows], of_others[near.columns], near.distances)


def _later_lists(
    part: int, own_names: NDArray[np.int32], columns: Parts, most_entries: int
) -> Iterator[tuple[int, int, CompressedRows]]:
    """Give the entries of later parts in the columns of a part: the first part, the part behind the last, the lists."""
    first, lengths, total = part + 1, np.zeros(len(own_names), dtype=np.int64), 0
    for other in range(part + 1, len(columns)):
        of_other = _lengths(own_names, columns, other)
        entries = int(of_other.sum())
        if total and (total + entries > most_entries or other - first >= _MOST_PARTS_TOGETHER):
            yield first, other, _collected(own_names, columns, range(first, other), lengths)
            lengths, total = np.zeros(len(own_names), dtype=np.int64), 0
        if not total:
            # Parts without a common column are left out before the first with one.
            first = other
        lengths += of_other
        total += entries
    if total:
        yield first, len(columns), _collected(own_names, columns, range(first, len(columns)), lengths)


def _matched(own_names: NDArray[np.int32], columns: Parts, other: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the common columns of two parts: their places in the part, and in the other."""
    theirs = columns.array(other, "names")
    places = np.searchsorted(theirs, own_names)
    places[places == len(theirs)] = 0
    mine = np.flatnonzero(theirs[places] == own_names) if len(theirs) else np.empty(0, dtype=np.int64)
    return mine, places[mine]


def _lengths(own_names: NDArray[np.int32], columns: Parts, other: int) -> NDArray[np.int64]:
    mine, theirs = _matched(own_names, columns, other)
    starts = columns.array(other, "starts")
    lengths = np.zeros(len(own_names), dtype=np.int64)
    lengths[mine] = starts[theirs + 1] - starts[theirs]
    return lengths


def _collected(
    own_names: NDArray[np.int32], columns: Parts, others: range, lengths: NDArray[np.int64]
) -> CompressedRows:
    """Read the lists of the common columns of later parts; rows are counted from the first of these parts."""
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    lists = CompressedRows(
        starts, np.empty(int(starts[-1]), dtype=np.int32), np.empty(int(starts[-1]), dtype=np.float32)
    )
    filled = starts[:-1].copy()
    for other in others:
        mine, theirs = _matched(own_names, columns, other)
        given = CompressedRows(*(columns.array(other, name) for name in ("starts", "rows", "values")))
        _append(mine, theirs, given, (other - others.start) * columns.rows_each, filled, lists)
    return lists


@njit(cache=True)
def _append(mine, theirs, given, shift, filled, lists):  # type: ignore[no-untyped-def]
    """Append the lists of the common columns of a part to the lists that are being collected."""
    starts, rows, values = given
    _, all_rows, all_values = lists
    for at in range(len(mine)):
        place = filled[mine[at]]
        for entry in range(starts[theirs[at]], starts[theirs[at] + 1]):
            all_rows[place] = rows[entry] + shift
            all_values[place] = values[entry]
            place += 1
        filled[mine[at]] = place
