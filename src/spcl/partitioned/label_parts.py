"""Pseudo labels of features that do not fit in memory: each step of ``selfpaced/pseudo_labels.py``, on disk, in parts.

The result equals that of ``pseudo_labels`` with the same neighbours, numbers of the clusters included. A run that was
killed goes on behind the last part that it has written.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import whole_tensor
from spcl.atomic_files import check_way
from spcl.errors import InputError
from spcl.file_lock import held_lock
from spcl.neighbours.approximate_search import FEWEST_ROWS
from spcl.neighbours.nearest import choose_engine
from spcl.partitioned.encodings import encoded_rows, expanded_rows, joined
from spcl.partitioned.feature_sources import FeatureBlocks, feature_blocks
from spcl.partitioned.label_request import PartitionedLabelRequest, PartitionedLabels
from spcl.partitioned.memory_and_disk import GATHERED_ROWS, room_for
from spcl.partitioned.near_pairs import columns_of, pairs_of_part
from spcl.partitioned.part_files import Parts, array_of, save_arrays
from spcl.partitioned.partitioned_search import renumber_given, search_exactly, search_regions
from spcl.partitioned.region_files import write_in_order, write_unit_rows
from spcl.partitioned.stage_log import StageLog
from spcl.partitioned.streamed_dbscan import Pairs, dbscan_of_pairs
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.selfpaced.clustering import Scales
from spcl.selfpaced.pseudo_labels import PseudoLabels, labels_of_scales

_MOST_ROWS = 2**31 - 1


def pseudo_labels_out_of_core(request: PartitionedLabelRequest, *, report: Reporter | None = None) -> PartitionedLabels:
    """Cluster features that are larger than memory, and keep the reliable clusters and members.

    Args:
        request: Features, folder and settings.
        report: Receives progress; None: nothing is shown.

    Returns:
        PartitionedLabels; ``labels`` equals the result of ``spcl.pseudo_labels`` with the same neighbours.

    Raises:
        InputError: If the features cannot be read, the folder belongs to another run, or memory or disk are too small.
        ValueError: If rows are zero, NaN or infinite.

    Examples:
        ::

            found = spcl.pseudo_labels_out_of_core(spcl.PartitionedLabelRequest("features.npy", "work"))
            found.labels.num_clusters

    Cost: the neighbour search, which takes most of the time; each later step reads and writes a few files once, and
    the comparison of parts reads the columns that two parts share. Memory: ``memory_and_disk.py``.
    Paper: Algorithm 1, section 3.3.
    """
    source, folder = feature_blocks(request.features), Path(request.work_dir)
    if not 0 < source.num_rows <= _MOST_ROWS:
        raise InputError(
            f"the features have {source.num_rows} rows; expected 1 to {_MOST_ROWS}", code="wrong-number-of-rows"
        )
    k1 = min(request.k1, source.num_rows)
    room = room_for(source.num_rows, source.dim, k1, request.memory)
    check_way(folder)
    folder.mkdir(parents=True, exist_ok=True)
    busy = InputError(f"another run labels features in {folder}; wait until it has ended", code="busy")
    with held_lock(folder / ".lock", longest_wait=0, busy=busy, place=str(folder)):
        log = StageLog(folder, {**_plan(request, source, k1), "rows_each": room.rows_each})
        if not log.stages:
            _check_disk(folder, room.disk)
        return _Run(request, source, folder, log, report or LoggingReporter()).result()


def _plan(request: PartitionedLabelRequest, source: FeatureBlocks, k1: int) -> dict[str, Any]:
    """Give what decides the files in the folder, plain values."""
    neighbours = None
    if request.neighbours is not None:
        neighbours = list(request.neighbours.shape)
        if request.neighbours.ndim != 2 or neighbours[0] != source.num_rows:
            raise InputError(
                f"neighbours have shape {tuple(neighbours)}; expected [{source.num_rows}, k]", code="wrong-neighbours"
            )
        whole_tensor(request.neighbours[:1], "neighbours")
    engine = choose_engine(source.num_rows, source.dim, "cpu") if request.engine == "auto" else request.engine
    if request.neighbours is not None:
        engine = "given"  # type: ignore[assignment]
    return {
        "format": 1,
        "rows": source.num_rows,
        "dim": source.dim,
        "features": source.digest(),
        "neighbours": neighbours,
        "engine": engine,
        "k1": k1,
        "k2": request.k2,
        "eps": request.eps,
        "eps_gap": request.eps_gap,
        "min_samples": request.min_samples,
        "independence_threshold": request.independence_threshold,
    }


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"labelling in parts needs up to {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free "
            "there; free some space, or give a folder on another disk",
            code="disk-too-small",
        )


class _Run:
    """The stages of a run, in their order; each removes the files that no later one reads."""

    def __init__(
        self,
        request: PartitionedLabelRequest,
        source: FeatureBlocks,
        folder: Path,
        log: StageLog,
        report: Reporter,
    ) -> None:
        self.request, self.source, self.folder, self.log, self.report = request, source, folder, log, report
        self.k1, self.rows_each = int(log.plan["k1"]), int(log.plan["rows_each"])

    def result(self) -> PartitionedLabels:
        for stage, (work, not_read_later) in {
            "features": (self._features, ()),
            "regions": (self._regions, ()),
            "search": (self._search, ("found", "features.npy")),
            "encoding": (self._encoding, ("ordered.npy",)),
            "expansion": (self._expansion, ("encodings", "neighbours")),
            "pairs": (self._pairs, ("columns", "regions")),
            "clusters": (self._clusters, ("pairs",)),
        }.items():
            self.log.run(stage, work)
            # Only now: a stage that is not recorded as finished reads its files again.
            self._remove(*not_read_later)
        stages = self.log.stages
        return PartitionedLabels(
            labels=self._labels(),
            engine=str(stages["search"]["engine"]),
            recall=float(stages["search"]["recall"]),
            seconds={name: float(facts["seconds"]) for name, facts in stages.items()},
            processor_seconds={name: float(facts["processor_seconds"]) for name, facts in stages.items()},
            num_entries=int(stages["expansion"]["entries"]),
            num_pairs=int(stages["pairs"]["pairs"]),
        )

    def _parts(self, name: str) -> Parts:
        return Parts(self.folder / name, self.source.num_rows, self.rows_each)

    def _names(self) -> NDArray[np.int32]:
        return np.array(array_of(self.folder / "regions" / "names.npy"))

    def _remove(self, *names: str) -> None:
        for name in names:
            place = self.folder / name
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)

    def _features(self) -> None:
        with self.report.progress("reading features") as advance:
            write_unit_rows(self.source, self.folder / "features.npy", advance)

    def _regions(self) -> None:
        with self.report.progress("regions") as advance:
            file, regions = self.folder / "features.npy", self.folder / "regions"
            write_in_order(file, self.folder / "ordered.npy", regions, self.k1, self.rows_each, advance)

    def _search(self) -> dict[str, Any]:
        neighbours, names, wanted = self._parts("neighbours"), self._names(), self.log.plan["engine"]
        engine, recall = wanted, 1.0
        with self.report.progress("neighbours") as advance:
            visits = int(array_of(self.folder / "regions" / "visits.npy")[0])
            if self.request.neighbours is not None:
                given = self.request.neighbours
                renumber_given(lambda rows: given[rows, : self.k1 + 1], names, neighbours, advance)
            elif wanted == "approximate" and visits and self.source.num_rows >= FEWEST_ROWS:
                ordered = self.folder / "ordered.npy"
                recall = search_regions(ordered, self.folder / "regions", self.k1, neighbours, advance)
            else:
                engine = "torch"
                found = self._parts("found")
                search_exactly(self.folder / "features.npy", self.k1, found, advance)
                renumber_given(lambda rows: found.take(rows, "names"), names, neighbours, advance)
        return {"engine": engine, "recall": recall}

    def _encoding(self) -> None:
        neighbours, encodings, names = self._parts("neighbours"), self._parts("encodings"), self._names()
        features = array_of(self.folder / "ordered.npy")
        with self.report.progress("encodings") as advance:
            for part in encodings.missing():
                rows = encodings.rows(part)
                most = GATHERED_ROWS * self.rows_each
                encoding = encoded_rows(rows, neighbours, features, names, k1=self.k1, most_rows=most)
                encodings.save(part, encoding._asdict())
                advance(rows.stop, self.source.num_rows)

    def _expansion(self) -> dict[str, Any]:
        neighbours, encodings, columns = self._parts("neighbours"), self._parts("encodings"), self._parts("columns")
        with self.report.progress("query expansion") as advance:
            for part in columns.missing():
                rows = columns.rows(part)
                encoding = joined(list(expanded_rows(rows, neighbours, encodings, k2=self.request.k2)))
                columns.save(part, columns_of(encoding))
                advance(rows.stop, self.source.num_rows)
        entries = sum(len(columns.array(part, "rows")) for part in range(len(columns)))
        return {"entries": entries}

    def _pairs(self) -> dict[str, Any]:
        columns, pairs, names = self._parts("columns"), self._parts("pairs"), self._names()
        cutoff = self.request.eps + self.request.eps_gap
        entries = max(len(columns.array(part, "rows")) for part in range(len(columns)))
        with self.report.progress("distances") as advance:
            for part in pairs.missing():
                found = pairs_of_part(part, columns, names, cutoff=cutoff, most_entries=entries)
                pairs.save(part, found._asdict())
                advance(pairs.rows(part).stop, self.source.num_rows)
        number = sum(len(pairs.array(part, "rows")) for part in range(len(pairs)))
        return {"pairs": number}

    def _clusters(self) -> None:
        pairs, eps, gap = self._parts("pairs"), self.request.eps, self.request.eps_gap

        def read() -> Iterator[Pairs]:
            for part in range(len(pairs)):
                yield Pairs(*(pairs.array(part, name) for name in Pairs._fields))

        found: list[NDArray[np.int64]] = []
        with self.report.progress("clusters at three scales") as advance:
            for scale in (eps - gap, eps, eps + gap):
                found.append(
                    dbscan_of_pairs(read, self.source.num_rows, eps=scale, min_samples=self.request.min_samples)
                )
                advance(len(found), 3)
        save_arrays(self.folder / "scales", dict(zip(Scales._fields, found, strict=True)))

    def _labels(self) -> PseudoLabels:
        tight, normal, loose = (np.array(array_of(self.folder / "scales" / f"{name}.npy")) for name in Scales._fields)
        return labels_of_scales(Scales(tight, normal, loose), self.request.independence_threshold)
