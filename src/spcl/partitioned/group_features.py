"""Groups of images whose features do not fit in memory: from a features file to a table of groups."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spcl.atomic_files import check_place, written_aside
from spcl.errors import InputError
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.grouping.groups import numbered_by_size
from spcl.partitioned.label_parts import pseudo_labels_out_of_core
from spcl.partitioned.label_request import PartitionedLabelRequest, PartitionedLabels
from spcl.reporting.console import Reporter

TABLE, SUMMARY = "groups.parquet", "summary.json"
_ROWS_AT_ONCE = 131_072


@dataclass(frozen=True)
class GroupedFeatures:
    """The groups of the rows of a features file.

    Attributes:
        table: Parquet file with a line for each row: ``path`` where the features name their images, otherwise ``row``;
            ``group`` (-1: none), numbered by size; ``independence`` and ``compactness`` of the row in its group.
        num_groups: Number of groups.
        num_grouped: Number of rows in a group.
        num_rows: Number of all rows.
        found: The labels, the engine of the search and the seconds of each stage.
    """

    table: Path
    num_groups: int
    num_grouped: int
    num_rows: int
    found: PartitionedLabels

    def to_dict(self) -> dict[str, Any]:
        """The summary, plain values."""
        return {
            "rows": self.num_rows,
            "groups": self.num_groups,
            "grouped": self.num_grouped,
            "engine": self.found.engine,
            "recall": self.found.recall,
            "seconds": self.found.seconds,
            "table": str(self.table),
        }


def group_features(
    request: PartitionedLabelRequest, out: str | Path, *, overwrite: bool = False, report: Reporter
) -> GroupedFeatures:
    """Group the rows of a features file in parts, and write the table of groups.

    Args:
        request: The features, the folder of intermediate files and the settings.
        out: Folder that gets ``groups.parquet`` and ``summary.json``.
        overwrite: Replace earlier ones.
        report: Receives progress.

    Raises:
        InputError: As ``pseudo_labels_out_of_core``, or if the folder holds groups already.
    """
    table = Path(out) / TABLE
    if table.exists() and not overwrite:
        raise InputError(f"{table} exists already; give another folder, or --overwrite", code="already-exists")
    check_place(table)
    found = pseudo_labels_out_of_core(request, report=report)
    group = numbered_by_size(found.labels.scales.normal)
    with written_aside(table) as aside:
        _write_table(aside, request.features, group, found)
    grouped = int((group >= 0).sum())
    result = GroupedFeatures(table, int(group.max(initial=-1)) + 1, grouped, len(group), found)
    with written_aside(Path(out) / SUMMARY) as aside:
        aside.write_text(json.dumps(result.to_dict(), indent=1), encoding="utf-8")
    return result


def _write_table(
    file: Path, features: str | Path | NDArray[np.floating], group: NDArray[np.int64], found: PartitionedLabels
) -> None:
    writer, done = None, 0
    try:
        for name, values in _names(features, len(group)):
            part = slice(done, done + len(values))
            table = pa.table(
                {
                    name: values,
                    "group": group[part],
                    "independence": found.labels.independence[part].astype(np.float32),
                    "compactness": found.labels.compactness[part].astype(np.float32),
                }
            )
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            done = part.stop
    finally:
        if writer is not None:
            writer.close()


def _names(features: str | Path | NDArray[np.floating], num_rows: int) -> Iterator[tuple[str, Any]]:
    """Give the name of the first column, and its values, part after part."""
    if isinstance(features, str | Path) and is_features_file(Path(features)):
        for table, _ in FeaturesFile(Path(features)).parts(_ROWS_AT_ONCE):
            yield "path", table.column("path")
        return
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        yield "row", np.arange(start, min(start + _ROWS_AT_ONCE, num_rows))
