"""The label stage out of core: seconds of each stage, the memory of the process and the space on disk.

python benchmarks/label_stage_in_parts.py --n 1000000 --dim 64
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import BenchmarkSettings, run
from measuring import PeakMemory, machine
from mixture import mixture

from spcl.partitioned.label_parts import pseudo_labels_out_of_core
from spcl.partitioned.label_request import PartitionedLabelRequest
from spcl.partitioned.memory_and_disk import room_for
from spcl.partitioned.partitioned_search import SearchEngine
from spcl.reporting.console import Reporter


@dataclass(frozen=True, kw_only=True)
class PartsSettings(BenchmarkSettings):
    """Time the label stage on features and intermediate arrays that lie on disk."""

    n: int = 100_000
    """Number of images."""
    dim: int = 64
    """Length of a feature."""
    k1: int = 30
    """Neighbours in the k-reciprocal encoding."""
    engine: SearchEngine = "approximate"
    """Engine of the neighbour search."""
    memory_gb: float = 0.0
    """Memory that may be used, in GB; 0: three quarters of what is free."""
    folder: str = ""
    """Folder for the files; empty: a temporary one. It is removed at the end."""
    seed: int = 0
    """Seed of the features."""


class _Watch(threading.Thread):
    """Reads, ten times a second, the memory of the process that is no mapped file, and the space in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._done = folder, threading.Event()
        self.memory, self.disk = 0, 0

    def run(self) -> None:
        status = Path("/proc/self/status")
        while not self._done.wait(0.1):
            if status.exists():
                lines = status.read_text(encoding="ascii").splitlines()
                own = next((line for line in lines if line.startswith("RssAnon")), "RssAnon: 0 kB")
                self.memory = max(self.memory, int(own.split()[1]) * 1024)
            self.disk = max(self.disk, _space(self._folder))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _space(folder: Path) -> int:
    total = 0
    for place in folder.rglob("*"):
        try:
            total += place.stat().st_blocks * 512
        except OSError:  # renamed meanwhile
            continue
    return total


def measure(settings: PartsSettings, report: Reporter) -> dict[str, Any]:
    """Measure the label stage in parts on a mixture of clusters.

    Returns:
        Sizes, ``seconds`` by stage, memory with and without the mapped files, space on disk, and their estimates.
    """
    folder = Path(settings.folder or tempfile.mkdtemp())
    memory = int(settings.memory_gb * 1e9) or None
    try:
        # Compiles the loops.
        few = mixture(600, settings.dim)
        pseudo_labels_out_of_core(PartitionedLabelRequest(few, folder / "few", k1=settings.k1))
        report.say(f"features: a mixture of {settings.n} x {settings.dim}")
        np.save(folder / "features.npy", mixture(settings.n, settings.dim, settings.seed))
        room = room_for(settings.n, settings.dim, settings.k1, memory)
        work = folder / "work"
        watch, peak = _Watch(work), PeakMemory()
        watch.start()
        request = PartitionedLabelRequest(
            folder / "features.npy", work, k1=settings.k1, engine=settings.engine, memory=memory
        )
        found = pseudo_labels_out_of_core(request, report=report)
        watch.stop()
        resident = peak.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "machine": machine(torch.device("cpu")),
        "n": settings.n,
        "dim": settings.dim,
        "engine": found.engine,
        "recall": found.recall,
        "rows_of_a_part": room.rows_each,
        "seconds": found.seconds,
        "processor_seconds": found.processor_seconds,
        "whole_stage_processor_seconds": sum(found.processor_seconds.values()),
        "whole_stage_seconds": sum(found.seconds.values()),
        "peak_memory_gb": watch.memory / 1e9,
        "estimated_memory_gb": room.memory / 1e9,
        "peak_memory_with_mapped_files_gb": None if resident is None else resident / 1e9,
        "peak_disk_gb": watch.disk / 1e9,
        "estimated_disk_gb": room.disk / 1e9,
        "features_gb": 4 * settings.n * settings.dim / 1e9,
        "clusters": found.labels.num_clusters,
        "unclustered": found.labels.num_unclustered,
        "encoding_entries_per_row": found.num_entries / settings.n,
        "pairs_per_row": found.num_pairs / settings.n,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    run(PartsSettings, measure, arguments)


if __name__ == "__main__":
    main()
