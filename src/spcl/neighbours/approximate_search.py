"""The approximate search of a set in itself: rows are compared with those of the nearest regions only.

An inverted file, as in Jegou et al., *Product Quantization for Nearest Neighbor Search*, TPAMI 2011: k-means cuts the
set into regions, and a row is compared with all rows of the regions whose centres lie nearest to it. The products are
dense matrix products (all rows that visit a region times all rows of that region), which are fast on the hardware.

The number of regions that a row visits is measured. The true neighbours of a sample are found first; their regions
give the recall for each number of visits. The smallest number with enough recall is taken, and the reported recall is
measured on the result, on rows that were not used for the choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch.nn import functional as F

from spcl.arrays import Neighbours, Progress
from spcl.compiled import PARALLEL
from spcl.neighbours import exact_search
from spcl.neighbours.exact_search import insert

WANTED_RECALL = 0.97
"""Recall for which the number of visits is chosen; above the promised 0.95, because it is estimated on a sample."""

SAMPLE_ROWS = 512
_TRAINING_ROWS_PER_REGION = 64
_ROUNDS = 8
_ROWS_AT_ONCE = 16384
VISITS_AT_ONCE = 2**25
"""Largest number of visits of rows to regions that are listed at a time, 0.3 GB."""

BLOCK_BYTES = 64 * 2**20
FEWEST_ROWS = 4096


def search(
    database: torch.Tensor,
    k: int,
    rows: range,
    *,
    wanted_recall: float = WANTED_RECALL,
    seed: int = 0,
    progress: Progress | None = None,
) -> Neighbours:
    """Find most of the ``k`` nearest rows of each row.

    Args:
        database: ``[N, D]`` float32 rows to search in, on any device.
        k: Number of neighbours, at most N.
        rows: The rows to search for.
        wanted_recall: Share of the true neighbours to find, averaged over rows.
        seed: Seed of the k-means and the samples.
        progress: Called with (rows compared, all rows).

    Returns:
        Neighbours, with the recall measured on a separate sample; -1 where a row was compared with fewer than ``k``
        others. A set that is too small or too unstructured for regions is searched exactly.
    """
    num_rows = len(database)
    if num_rows < FEWEST_ROWS:
        return _exactly(database, k, rows, progress)
    plan = region_plan(database, k, wanted_recall=wanted_recall, seed=seed)
    if plan.visits is None:
        return _exactly(database, k, rows, progress)
    best, indices = _search_regions(database, plan.centres, plan.home, k, rows, plan.visits, progress)
    inside = [at for at, row in enumerate(plan.sample) if rows.start <= row < rows.stop]
    recall = recall_of(indices[plan.sample[inside] - rows.start], plan.truth[inside])
    return Neighbours(indices, best, engine="approximate", recall=recall)


class RegionPlan(NamedTuple):
    """The regions of a set, and how many of them a row visits.

    Attributes:
        centres: ``[R, D]`` unit rows, on the device of the set.
        home: ``[N]`` int32, the region of each row.
        visits: Number of regions that a row visits; None: an exact search is as fast.
        sample: ``[S]`` int64, rows to measure the recall on.
        truth: ``[S, k]`` int64, their nearest rows.
    """

    centres: torch.Tensor
    home: NDArray[np.int32]
    visits: int | None
    sample: NDArray[np.int64]
    truth: NDArray[np.int64]


def region_plan(database: torch.Tensor, k: int, *, wanted_recall: float = WANTED_RECALL, seed: int = 0) -> RegionPlan:
    """Cut a set into regions, and choose the number of visits.

    Args:
        database: ``[N, D]`` float32 rows, which may lie in a mapped file: they are read in order, and samples of them.
        k: Number of neighbours.
        wanted_recall: Share of the true neighbours to find, averaged over rows.
        seed: Seed of the k-means and the samples.
    """
    num_rows = len(database)
    rng = np.random.default_rng(seed)
    centres = region_centres(database, rng)
    home = nearest_centres(database, centres, 1)[:, 0]
    if num_rows < FEWEST_ROWS:
        nothing = np.empty((0, k), dtype=np.int64)
        return RegionPlan(centres, home, None, nothing[:, 0], nothing)
    sample = np.sort(rng.choice(num_rows, size=min(2 * SAMPLE_ROWS, num_rows), replace=False))
    truth = exact_search.search(database, database[sample], k, BLOCK_BYTES, None).indices
    chosen = rng.permutation(len(sample))
    for_choice, for_report = chosen[: len(sample) // 2], chosen[len(sample) // 2 :]
    visits = visits_needed(database[sample[for_choice]], centres, home, truth[for_choice], wanted_recall)
    return RegionPlan(centres, home, visits, sample[for_report], truth[for_report])


def recall_of(found: NDArray[np.integer], truth: NDArray[np.int64]) -> float:
    """Compute the share of the true neighbours ``[S, k]`` that are among those found; NaN for no rows."""
    shares = [len(np.intersect1d(*pair)) / truth.shape[1] for pair in zip(found, truth, strict=True)]
    return float(np.mean(shares)) if shares else float("nan")


def _exactly(database: torch.Tensor, k: int, rows: range, progress: Progress | None) -> Neighbours:
    return exact_search.search(
        database, database[rows.start : rows.stop], k, BLOCK_BYTES, progress, own_from=rows.start
    )


def region_centres(database: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Compute ``[R, D]`` unit rows by spherical k-means on a sample, about as many regions as rows in each."""
    count = 2 ** int(np.log2(np.sqrt(len(database))))
    size = min(len(database), _TRAINING_ROWS_PER_REGION * count)
    sample = database[torch.from_numpy(np.sort(rng.choice(len(database), size=size, replace=False)))]
    centres = F.normalize(sample[torch.from_numpy(rng.choice(size, size=count, replace=False))], dim=1)
    for _ in range(_ROUNDS):
        nearest = nearest_centres(sample, centres, 1)
        members = torch.from_numpy(nearest[:, 0].astype(np.int64)).to(database.device)
        sums = torch.zeros_like(centres).index_add_(0, members, sample)
        empty = torch.bincount(members, minlength=count) == 0
        # An empty region is initialised again, at a random row.
        sums[empty] = sample[torch.from_numpy(rng.choice(size, size=int(empty.sum()), replace=False))]
        centres = F.normalize(sums, dim=1)
    return centres


def nearest_centres(rows: torch.Tensor, centres: torch.Tensor, count: int) -> NDArray[np.int32]:
    """Find the nearest centres of each row, ``[M, count]`` int32, nearest first."""
    found = np.empty((len(rows), count), dtype=np.int32)
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        top = torch.topk(rows[at : at + _ROWS_AT_ONCE] @ centres.T, count, dim=1)
        found[at : at + _ROWS_AT_ONCE] = top.indices.cpu().numpy()
    return found


def visits_needed(
    rows: torch.Tensor,
    centres: torch.Tensor,
    home: NDArray[np.int32],
    truth: NDArray[np.int64],
    wanted_recall: float,
) -> int | None:
    """Give the number of regions that a row must visit; None if an exact search is as fast."""
    order = torch.argsort(rows @ centres.T, dim=1, descending=True)
    place = torch.empty_like(order)
    place.scatter_(1, order, torch.arange(len(centres), device=order.device).expand_as(order).contiguous())
    # The visit at which each true neighbour is found.
    met = np.take_along_axis(place.cpu().numpy(), home[truth].astype(np.int64), axis=1)
    needed = int(np.quantile(met, wanted_recall, method="higher")) + 1
    # The exact search of a whole set needs half of all products, and does not gather rows.
    return needed if needed <= len(centres) // 4 else None


def _search_regions(
    database: torch.Tensor,
    centres: torch.Tensor,
    home: NDArray[np.int32],
    k: int,
    rows: range,
    visits: int,
    progress: Progress | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    living_bounds, living = by_region(home[:, None], len(centres))
    best = np.full((len(rows), k), -np.inf, dtype=np.float32)
    indices = np.full((len(rows), k), -1, dtype=np.int64)
    # Each row is its own first neighbour, in whichever region it is.
    best[:, 0], indices[:, 0] = np.inf, np.arange(rows.start, rows.stop)
    together = max(_ROWS_AT_ONCE, VISITS_AT_ONCE // visits)
    for start in range(0, len(rows), together):
        stop = min(start + together, len(rows))
        part = database[rows.start + start : rows.start + stop]
        bounds, visitors = by_region(nearest_centres(part, centres, visits), len(centres))
        for region in range(len(centres)):
            members = living[living_bounds[region] : living_bounds[region + 1]].astype(np.int64)
            guests = visitors[bounds[region] : bounds[region + 1]].astype(np.int64)
            if not len(members) or not len(guests):
                continue
            columns = database[torch.from_numpy(members).to(database.device)]
            height = max(1, BLOCK_BYTES // (4 * len(members)))
            for at in range(0, len(guests), height):
                some = guests[at : at + height]
                product = part[torch.from_numpy(some).to(database.device)] @ columns.T
                ids = rows.start + start + some
                offer(product.cpu().numpy(), (some, ids), members, best[start:stop], indices[start:stop])
            if progress is not None:
                progress(start * visits + int(bounds[region + 1]), len(rows) * visits)
        best[start:stop, 0] = torch.linalg.vecdot(part, part).cpu().numpy()
    return best, indices


def by_region(regions: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Order row numbers by region: region r has ``rows[bounds[r] : bounds[r + 1]]``."""
    flat = regions.reshape(-1)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(flat, minlength=count))]).astype(np.int64)
    ordered = np.empty(len(flat), dtype=np.int32)
    _counting_sort(flat, bounds[:-1].copy(), regions.shape[1], ordered)
    return bounds, ordered


@njit(cache=True)
def _counting_sort(flat, place, columns, ordered):  # type: ignore[no-untyped-def]
    for at in range(len(flat)):
        region = flat[at]
        ordered[place[region]] = at // columns
        place[region] += 1


@njit(cache=True, parallel=PARALLEL)
def offer(product, guests, members, best, indices):  # type: ignore[no-untyped-def]
    """Compare each visiting row with the rows of a region; each pair is compared once.

    Args:
        product: ``[guests, members]`` similarities.
        guests: Places of the visiting rows in ``best``, and their row numbers.
        members: Row numbers of the region's rows.
        best: ``[rows, k]`` largest similarities so far; changed.
        indices: ``[rows, k]`` row numbers of ``best``; changed.
    """
    guest_places, guest_numbers = guests
    k = best.shape[1]
    num_columns = product.shape[1]
    for at in prange(len(guest_places)):
        row = guest_places[at]
        own = guest_numbers[at]
        values = product[at]
        worst = best[row, k - 1]
        for start in range(0, num_columns, 64):
            stop = min(start + 64, num_columns)
            highest = np.float32(-np.inf)
            for column in range(start, stop):
                highest = max(highest, values[column])
            if highest < worst:
                continue
            for column in range(start, stop):
                similarity = values[column]
                index = members[column]
                if index == own:
                    continue
                if similarity > worst or (similarity == worst and index < indices[row, k - 1]):
                    insert(best[row], indices[row], similarity, index)
                    worst = best[row, k - 1]
