"""A copy of the rows of a small gallery in one file beside its table, which can be read without LanceDB.

The file names the state of the table that it was copied from (``table_state.py``). After any write to the table it is
not used until it is written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.gallery.columns import KEY, VECTOR
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.table_state import GalleryFacts, holds_for, state_of
from spcl.nested_text import json_of

MOST_VALUES = 5_000_000
"""Largest number of values (rows x length of a vector) of a gallery with a copy: 20 MB."""

_FILE = "rows.arrow"
# Increase it when the same table gives other rows than before.
_LAYOUT = 1
_ABOUT = b"spcl.copy"


class Copied(NamedTuple):
    """A copy that was read.

    Attributes:
        state: State of the table that the rows were copied from.
        rows: All rows of the gallery.
    """

    state: str
    rows: RowsInMemory


def copied_facts(folder: Path) -> GalleryFacts | None:
    """Read the gallery's facts from the copy; None if the copy is missing, damaged or out of date."""
    with suppress(Exception), pa.OSFile(str(folder / _FILE)) as file:
        about = _about(pa.ipc.open_file(file).schema, folder)
        if about is not None:
            return GalleryFacts(dict(about["facts"]), int(about["dim"]))
    return None


def read_copy(folder: Path, known: Copied | None = None) -> Copied | None:
    """Read the copy of a gallery's rows; None if it is missing, damaged or out of date.

    Args:
        folder: Folder of the gallery.
        known: A copy that was read before; it is returned if it is not out of date.
    """
    if known is not None and known.state == state_of(folder):
        return known
    with suppress(Exception), pa.OSFile(str(folder / _FILE)) as file:
        reader = pa.ipc.open_file(file)
        about = _about(reader.schema, folder)
        if about is not None:
            return Copied(about["state"], RowsInMemory(reader.read_all().replace_schema_metadata(None)))
    return None


def write_copy(folder: Path, state: str | None, facts: Mapping[str, Any], snapshot: Snapshot) -> None:
    """Copy the rows of a small gallery; a larger gallery, or one with an index, has no copy.

    Args:
        folder: Folder of the gallery.
        state: State of the table, from ``state_of`` before the snapshot was taken.
        facts: Facts that were stored when the gallery was made.
        snapshot: Snapshot of the gallery.
    """
    file = folder / _FILE
    is_small = snapshot.count() * snapshot.dim <= MOST_VALUES and snapshot.indexed() is None
    if state is None or not snapshot.has_keys or not is_small:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        return
    names = [KEY, *snapshot.schema.names]
    about = {"layout": _LAYOUT, "state": state, "facts": dict(facts), "dim": snapshot.dim}
    fields = [pa.field(KEY, pa.string()), *snapshot.schema]
    schema = pa.schema(fields, metadata={_ABOUT: json.dumps(about).encode()})
    with suppress(InputError), written_aside(file) as aside, pa.ipc.new_file(str(aside), schema) as writer:
        for _, batch in snapshot.scan(names):
            writer.write_batch(pa.RecordBatch.from_arrays([batch.column(name) for name in names], schema=schema))


def _about(schema: pa.Schema, folder: Path) -> dict[str, Any] | None:
    about: dict[str, Any] = json_of((schema.metadata or {})[_ABOUT])
    return about if holds_for(about, _LAYOUT, state_of(folder)) and VECTOR in schema.names else None
