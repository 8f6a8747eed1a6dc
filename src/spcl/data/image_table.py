"""A table of images, each image once, with what their source contains about them.

``image_sources.py`` finds the images of a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spcl.data.byte_identical import byte_identical
from spcl.data.repeated_images import check_agreement, note_of_copies, note_of_repeated, rows_of_each_image
from spcl.data.track_columns import of_table, repeated_tracks
from spcl.errors import InputError
from spcl.records import Record

Columns = dict[str, list[Any]]

_MUST_AGREE = ("identity", "camera", "time")


@dataclass(frozen=True)
class ImageTable:
    """Images, each once.

    Attributes:
        records: Records of the images, in a fixed order. Paths are absolute, their links not resolved. Identities are
            set only where labels are needed, and are numbered over all splits; cameras are numbered from 0; tracks of
            different tables are different.
        splits: Split of each image: ``train``, ``query`` or ``gallery``; empty where the source has no splits.
        columns: Columns of the source, by name: a list with a value for each image, as in the source. Columns without
            any value are left out.
        left_out: Path and reason of what was found and is not used: files that may be images and cannot be read,
            broken links, further copies of an image.
        notes: Remarks in sentences: files that are not read, paths that lead to one image, columns that only some
            images have.
    """

    records: tuple[Record, ...]
    splits: tuple[str, ...]
    columns: Columns
    left_out: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def rows(self, kept: Sequence[int]) -> ImageTable:
        """Give the table of some rows, in the order of ``kept``."""
        return replace(
            self,
            records=tuple(self.records[row] for row in kept),
            splits=tuple(self.splits[row] for row in kept),
            columns={name: [values[row] for row in kept] for name, values in self.columns.items()},
        )

    def outside(self, folder: Path) -> ImageTable:
        """Give the table without the images in or below a folder, to which results are written.

        Raises:
            InputError: If all images lie there.
        """
        place = folder.resolve()
        # Links to folders are resolved, links to images are not: such a link lies in its own folder.
        parents = {parent: parent.resolve() for parent in {record.path.parent for record in self.records}}
        inside = {parent: place == real or place in real.parents for parent, real in parents.items()}
        others = [row for row, record in enumerate(self.records) if not inside[record.path.parent]]
        if not others:
            raise InputError(
                f"all the images are in {folder}, where the results go; give another folder (-o)",
                code="results-among-images",
            )
        return self if len(others) == len(self.records) else self.rows(others)


def combined_tables(parts: Sequence[ImageTable]) -> ImageTable:
    """Combine tables: identities and cameras of different tables are different."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise InputError("there are no images: the list is empty", code="no-images")
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns: Columns = {name: [] for name in names}
    records: list[Record] = []
    repeated = repeated_tracks([part.records for part in parts])
    for number, part in enumerate(parts, start=1):
        identity = 1 + max((r.identity for r in records if r.identity is not None), default=-1)
        camera = 1 + max((r.camera for r in records if r.camera is not None), default=-1)
        records += [
            replace(
                of_table(record, number, repeated),
                identity=None if record.identity is None else record.identity + identity,
                camera=None if record.camera is None else record.camera + camera,
            )
            for record in part.records
        ]
        for name, values in columns.items():
            values += part.columns.get(name, [None] * len(part))
    notes = [note for part in parts for note in part.notes]
    num_without = sum(record.camera is None for record in records)
    if 0 < num_without < len(records):
        records = [replace(record, camera=None) for record in records]
        notes.append(f"cameras are not compared: {num_without} of {len(records)} images have none")
    return ImageTable(
        tuple(records),
        tuple(split for part in parts for split in part.splits),
        columns,
        tuple(entry for part in parts for entry in part.left_out),
        tuple(dict.fromkeys(notes)),
    )


def with_given(table: ImageTable, columns: Mapping[str, Sequence[Any]]) -> ImageTable:
    """Give the table with columns of the caller, in place of its own columns of the same names.

    Raises:
        InputError: If a column does not have one value for each image.
    """
    for name, values in columns.items():
        if len(values) != len(table):
            raise InputError(
                f"{name} has {len(values)} values for {len(table)} images; expected one for each",
                code="length-mismatch",
            )
    return replace(table, columns=table.columns | {name: list(values) for name, values in columns.items()})


def each_once(table: ImageTable) -> ImageTable:
    """Merge the rows of one image: each cell is taken from the first row that has a value.

    Raises:
        InputError: If two rows of an image have different identities, cameras or times.
    """
    paths = [record.path for record in table.records]
    rows, instead = rows_of_each_image(paths)
    if not instead:
        return table
    for name in _MUST_AGREE:
        if (values := table.columns.get(name)) is not None:
            check_agreement(paths, instead, values.__getitem__, name)
    columns = {name: list(values) for name, values in table.columns.items()}
    for gone, kept in instead.items():
        for values in columns.values():
            values[kept] = values[gone] if values[kept] is None else values[kept]
    kept_table = replace(table, columns=columns).rows(rows)
    return replace(kept_table, notes=(*table.notes, *note_of_repeated(paths, instead)))


def without_copies(table: ImageTable) -> ImageTable:
    """Leave out the images that equal an earlier image byte for byte.

    Raises:
        InputError: If a copy has another identity than its original.
    """
    copies = byte_identical([record.path for record in table.records])
    if not copies:
        return table
    paths = [record.path for record in table.records]
    check_agreement(paths, copies, lambda row: table.records[row].identity, "identity")
    if (values := table.columns.get("identity")) is not None:
        check_agreement(paths, copies, values.__getitem__, "identity")
    return replace(
        table.rows([row for row in range(len(paths)) if row not in copies]),
        left_out=(*table.left_out, *((paths[row], f"a copy of {paths[of]}") for row, of in sorted(copies.items()))),
        notes=(*table.notes, *note_of_copies(paths, copies)),
    )
