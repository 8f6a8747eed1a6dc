"""The neighbours of a set on disk, found part after part, each row's as places in the order of the regions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.arrays import Progress
from spcl.errors import InputError
from spcl.neighbours import exact_search
from spcl.neighbours.approximate_search import (
    BLOCK_BYTES,
    VISITS_AT_ONCE,
    by_region,
    nearest_centres,
    offer,
    recall_of,
)
from spcl.partitioned.part_files import Parts, array_of
from spcl.partitioned.region_files import mapped_tensor


def inverse(names: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give the place of each row, ``[N]`` int32."""
    places = np.empty(len(names), dtype=np.int32)
    places[names] = np.arange(len(names), dtype=np.int32)
    return places


def renumber_given(
    read: Callable[[NDArray[np.int64]], NDArray[np.integer]], names: NDArray[np.int32], parts: Parts, progress: Progress
) -> None:
    """Store neighbours that are given by row numbers.

    Args:
        read: Gives the neighbours ``[n, k]`` of rows, which ascend: row numbers, -1 for none.
        names: ``[N]`` int32, the row at each place.
        parts: Receives ``places`` ``[N, k]`` int32.
        progress: Called with (rows done, all rows).

    Raises:
        InputError: If a number is no row.
    """
    places = inverse(names)
    for part in parts.missing():
        rows = parts.rows(part)
        wanted = names[rows.start : rows.stop]
        order = np.argsort(wanted)
        given = read(wanted[order].astype(np.int64))
        table = np.empty(given.shape, dtype=np.int64)
        table[order] = given
        if table.size and (table.max() >= len(names) or table.min() < -1):
            raise InputError(
                f"neighbours must be row numbers from 0 to {len(names) - 1}, or -1 for none", code="wrong-neighbours"
            )
        parts.save(part, {"places": np.where(table >= 0, places[table], -1).astype(np.int32)})
        progress(rows.stop, parts.num_rows)


def search_exactly(file: Path, k: int, found: Parts, progress: Progress) -> None:
    """Compare every pair, the rows of a part at a time.

    Args:
        file: ``[N, D]`` float32 unit rows, in their own order.
        k: Number of neighbours.
        found: Receives ``names`` ``[N, k]`` int32, row numbers, nearest first.
        progress: Called with (rows done, all rows).
    """
    database = mapped_tensor(array_of(file))
    for part in found.missing():
        rows = found.rows(part)

        def advance(done: int, total: int, rows: range = rows) -> None:
            progress(rows.start + len(rows) * done // total, found.num_rows)

        near = exact_search.search(
            database, database[rows.start : rows.stop], k, exact_search.BLOCK_BYTES, advance, own_from=rows.start
        )
        found.save(part, {"names": near.indices.astype(np.int32)})


def search_regions(file: Path, folder: Path, k: int, parts: Parts, progress: Progress) -> float:
    """Compare the rows of a part with those of the nearest regions.

    Args:
        file: ``[N, D]`` float32 unit rows, region after region.
        folder: The regions, from ``region_files.write_in_order``.
        k: Number of neighbours.
        parts: Receives ``places`` ``[N, k]`` int32, nearest first, -1 where fewer were compared.
        progress: Called with (rows done, all rows).

    Returns:
        Share of the true neighbours that were found, measured on a sample.
    """
    names = np.array(array_of(folder / "names.npy"))
    places = inverse(names)
    for part in parts.missing():
        rows = parts.rows(part)
        found = np.empty((len(rows), k), dtype=np.int32)
        visits = int(array_of(folder / "visits.npy")[0])
        together = max(1, min(len(rows), VISITS_AT_ONCE // visits))
        for start in range(rows.start, rows.stop, together):
            some = range(start, min(start + together, rows.stop))

            def advance(done: int, total: int, some: range = some) -> None:
                progress(some.start + len(some) * done // total, parts.num_rows)

            near = _nearest(some, file, folder, k, names, advance)
            found[some.start - rows.start : some.stop - rows.start] = np.where(near >= 0, places[near], -1)
        parts.save(part, {"places": found})
    sample, truth = np.array(array_of(folder / "sample.npy")), array_of(folder / "truth.npy")
    order = np.argsort(places[sample])
    of_sample = parts.take(places[sample][order].astype(np.int64), "places")
    return recall_of(np.where(of_sample >= 0, names[of_sample], -1), truth[order])


def _nearest(
    rows: range, file: Path, folder: Path, k: int, names: NDArray[np.int32], progress: Progress
) -> NDArray[np.int64]:
    """Search for some rows, given by place; ``[n, k]`` row numbers, as ``approximate_search`` finds them."""
    ordered = mapped_tensor(array_of(file))
    centres = torch.from_numpy(np.array(array_of(folder / "centres.npy")))
    bounds, visits = array_of(folder / "bounds.npy"), int(array_of(folder / "visits.npy")[0])
    part = ordered[rows.start : rows.stop].clone()
    of_part = names[rows.start : rows.stop]
    best = np.full((len(rows), k), -np.inf, dtype=np.float32)
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    best[:, 0], indices[:, 0] = np.inf, of_part
    guest_bounds, visitors = by_region(nearest_centres(part, centres, visits), len(centres))
    for region in range(len(centres)):
        living = slice(int(bounds[region]), int(bounds[region + 1]))
        guests = visitors[guest_bounds[region] : guest_bounds[region + 1]].astype(np.int64)
        if living.start == living.stop or not len(guests):
            continue
        # The region is one piece of the file.
        columns, members = ordered[living], names[living].astype(np.int64)
        height = max(1, BLOCK_BYTES // (4 * len(members)))
        for at in range(0, len(guests), height):
            some = guests[at : at + height]
            product = part[torch.from_numpy(some)] @ columns.T
            offer(product.numpy(), (some, of_part[some].astype(np.int64)), members, best, indices)
        progress(int(guest_bounds[region + 1]), len(rows) * visits)
    return indices


SearchEngine = Literal["auto", "torch", "approximate"]
