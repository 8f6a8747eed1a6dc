"""The rows of a small gallery in one file beside its table, so that a search needs no store, which is slow to load.

As with the enrolled identities (``enrolment_file.py``), the file names the state of the table that it holds for; after
any other write it is not used until it is written again.
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
from spcl.gallery.enrolment_file import GalleryFacts, state_of
from spcl.gallery.folder import FORMAT
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import Snapshot

MOST_VALUES = 5_000_000
"""Galleries of so many values (rows x length of a vector) have a copy: 20 MB."""

_FILE = "rows.arrow"
# A higher one where the same table gives other rows than before.
_LAYOUT = 1
_ABOUT = b"spcl.copy"


class Copied(NamedTuple):
    """A copy that was read.

    Attributes:
        state: Of the table, whose rows they are.
        rows: All of them.
    """

    state: str
    rows: RowsInMemory


def copied_facts(folder: Path) -> GalleryFacts | None:
    """What the table says of itself, where the copy is of its state; None: ask the table."""
    with suppress(Exception), pa.OSFile(str(folder / _FILE)) as file:
        about = _about(pa.ipc.open_file(file).schema, folder)
        if about is not None:
            return GalleryFacts(dict(about["facts"]), int(about["dim"]))
    return None


def read_copy(folder: Path, known: Copied | None = None) -> Copied | None:
    """The copy of a gallery's rows; None where there is none of the table's state, or it is damaged.

    Args:
        folder: The gallery's.
        known: What was read before, which is given back while it holds.
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
    """Write the rows of a small gallery; a larger one, or one with an index, has no copy.

    Args:
        folder: The gallery's.
        state: Of the table, as ``state_of`` gave it before the snapshot was taken.
        facts: What was written down when the gallery was made.
        snapshot: Its rows.
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
    about: dict[str, Any] = json.loads((schema.metadata or {})[_ABOUT])
    if about["layout"] != _LAYOUT or about["facts"].get("format") != FORMAT or about["state"] != state_of(folder):
        return None
    return about if VECTOR in schema.names else None
