"""Conversion of galleries of format 1, which spcl 0.1.0 wrote: their rows get keys, in one write.

The paths of format 1 have the form in which they were given; a relative path is relative to the folder where ``spcl
embed`` ran. It is looked up in the folders above the gallery, then in the current folder. If there is no such file, the
text is the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from spcl.gallery.columns import KEY, VECTOR
from spcl.gallery.images_added_twice import merged_by_key
from spcl.gallery.keys import ImageKeys
from spcl.gallery.snapshot import Snapshot

_ROWS_AT_ONCE = 8192


def with_keys(snapshot: Snapshot, folder: Path, schema: pa.Schema) -> tuple[pa.RecordBatchReader, int]:
    """Give the rows of a gallery of format 1 with keys, one row for each image.

    Args:
        snapshot: Snapshot of the gallery.
        folder: Folder of the gallery.
        schema: Schema of the new rows: the key, then the existing columns.

    Returns:
        The rows in batches, and the number of old rows that were merged into another row of the same image.
    """
    names = [name for name in schema.names if name not in (KEY, VECTOR)]
    ids, parts = [], []
    for row_ids, batch in snapshot.scan(names, rows=_ROWS_AT_ONCE):
        ids.append(row_ids)
        parts.append(batch.select(names))
    numbers = np.concatenate([*ids, np.empty(0, dtype=np.int64)])
    found = pa.Table.from_batches(parts, pa.schema([schema.field(name) for name in names]))
    paths = [_placed(path, folder) for path in found.column("path").to_pylist()]
    keys = ImageKeys("path").of(paths)
    found = found.set_column(names.index("path"), schema.field("path"), pa.array(keys.paths, pa.string()))
    found = found.append_column(schema.field(KEY), pa.array(keys.keys, pa.string()))
    # ``merged_by_key`` keeps the last row of each image; its vector is read by the row number.
    last = {key: row for row, key in enumerate(keys.keys)}
    known = merged_by_key(found)
    rows_of = numbers[np.array(sorted(last.values()), dtype=np.int64)]
    return pa.RecordBatchReader.from_batches(schema, _batches(snapshot, schema, known, rows_of)), len(found) - len(
        known
    )


def _batches(
    snapshot: Snapshot, schema: pa.Schema, known: pa.Table, rows_of: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Iterator[pa.RecordBatch]:
    """Read the vectors of the kept rows, and append them to the columns."""
    if not len(rows_of):
        return
    order = np.argsort(rows_of, kind="stable")
    ordered = rows_of[order]
    for row_ids, batch in snapshot.scan([VECTOR], rows=_ROWS_AT_ONCE):
        places = np.minimum(np.searchsorted(ordered, row_ids), len(ordered) - 1)
        stays = ordered[places] == row_ids
        table = known.take(pa.array(order[places[stays]]))
        vectors = batch.column(VECTOR).filter(pa.array(stays))
        table = table.append_column(schema.field(VECTOR), vectors)
        yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()


def _placed(path: str, folder: Path) -> str:
    """The absolute path of a file, if it is found from one of the folders; otherwise the path as it is."""
    if Path(path).is_absolute():
        return path
    try:
        places = [above / path for above in (*folder.absolute().parents, Path.cwd())]
        return next((str(place) for place in places if place.is_file()), path)
    except (OSError, ValueError):
        return path
