"""Features on disk: as unit rows, then in the order of the regions of the set, in which neighbours lie near each other.

The regions are those of ``neighbours/approximate_search.py``, so that a search reads each region as one piece of the
file, and all later steps read mostly the parts around the one they work on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from spcl.arrays import Progress, real_tensor, unit_rows
from spcl.atomic_files import written_aside
from spcl.neighbours.approximate_search import by_region, region_plan
from spcl.partitioned.feature_sources import FeatureBlocks
from spcl.partitioned.part_files import NEXT_STEP, array_of, save_arrays


def write_unit_rows(source: FeatureBlocks, file: Path, progress: Progress) -> None:
    """Write the rows of a source, normalised, as one ``.npy`` file.

    Raises:
        InputError: If the file cannot be written.
        ValueError: If rows are zero, NaN or infinite.
    """
    with written_aside(file, next_step=NEXT_STEP) as aside:
        rows = open_memmap(aside, mode="w+", dtype=np.float32, shape=(source.num_rows, source.dim))
        done = 0
        for block in source.blocks():
            rows[done : done + len(block)] = unit_rows(block, f"features from row {done} on", warns=done == 0).numpy()
            done += len(block)
            progress(done, source.num_rows)
        rows.flush()
        del rows


def write_in_order(file: Path, ordered: Path, folder: Path, k: int, rows_at_once: int, progress: Progress) -> None:
    """Cut a set into regions, and write its rows region after region.

    Args:
        file: ``[N, D]`` float32 unit rows.
        ordered: File that receives the rows, region after region.
        folder: Receives ``names.npy`` (the row at each place), ``bounds.npy`` (of the regions) and what a search needs.
        k: Number of neighbours to plan for.
        rows_at_once: Rows that are held at once.
        progress: Called with (rows written, all rows).
    """
    given = array_of(file)
    plan = region_plan(mapped_tensor(given), k)
    bounds, names = by_region(plan.home[:, None], len(plan.centres))
    places = np.empty(len(names), dtype=np.int32)
    places[names] = np.arange(len(names), dtype=np.int32)
    with written_aside(ordered, next_step=NEXT_STEP) as aside:
        moved = open_memmap(aside, mode="w+", dtype=np.float32, shape=given.shape)
        for start in range(0, len(given), rows_at_once):
            part = places[start : start + rows_at_once]
            order = np.argsort(part)
            moved[part[order]] = given[start : start + rows_at_once][order]
            progress(min(start + rows_at_once, len(given)), len(given))
        moved.flush()
        del moved
    save_arrays(
        folder,
        {
            "names": names,
            "bounds": bounds,
            "centres": plan.centres.numpy(),
            "visits": np.array([0 if plan.visits is None else plan.visits]),
            "sample": plan.sample,
            "truth": plan.truth,
        },
    )


def mapped_tensor(rows: NDArray[np.float32]) -> torch.Tensor:
    """Give a tensor on the same memory or mapped file; nothing is written to it."""
    return real_tensor(rows, "features")
