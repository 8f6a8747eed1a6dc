"""One number for one identity over all splits of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spcl.data.folder_identities import identity_in_name, identity_of_folder, note_of_known
from spcl.data.image_files import number_in_order
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset


def as_asked_for(dataset: ReIDDataset, options: SourceOptions, where: str) -> ReIDDataset:
    """Set the identities of a table's data set from their requested origin: column, folders or file names.

    Args:
        dataset: Data set that was read from a table.
        options: Options that set the origin of identities.
        where: Name of the table in error messages.

    Raises:
        InputError: If no identity is found at the requested origin.
    """
    if options.identity_from == "auto":
        return dataset
    records = dataset.train + dataset.query + dataset.gallery
    if options.identity_from == "table":
        if all(record.identity is None for record in records):
            raise InputError(
                f"--identity-from table needs a table with identities, and {where} has none: add a column identity",
                code="no-identities",
            )
        return dataset
    if options.identity_from == "top-folder":
        raise InputError(
            f"--identity-from top-folder is for a folder, and {where} is a table; give folder or name",
            code="option-does-not-apply",
        )
    name_of = identity_of_folder if options.identity_from == "folder" else identity_in_name
    names = {record.path: name_of(record.path) for record in records}
    if not any(names.values()):
        raise InputError(
            f"identities need a number in file names, and none of the {len(names)} names in {where} has one, first "
            f"{records[0].path.name}; expected a number before the camera: 0042_c3_0001.jpg",
            code="no-identities",
        )

    def numbered(*parts: tuple[Record, ...]) -> list[tuple[Record, ...]]:
        numbers = number_in_order([name for part in parts for record in part if (name := names[record.path])])
        return [tuple(replace(r, identity=numbers.get(names[r.path] or "")) for r in part) for part in parts]

    (train,) = numbered(dataset.train)
    query, gallery = numbered(dataset.query, dataset.gallery)
    notes = () if all(names.values()) else (note_of_known([names[record.path] for record in records]),)
    return replace(dataset, train=train, query=query, gallery=gallery, notes=(*dataset.notes, *notes))


def with_identities(
    path: Path, dataset: ReIDDataset, written: Sequence[Any] | None, *, registered: bool
) -> tuple[Record, ...]:
    """Number identities over all splits, by their names where these are known.

    Names are the texts of a table; the folders below ``train``, ``query`` and ``gallery``; or the numbers of
    Market-1501's layout. Without names, training and test identities are different, even with equal numbers, as in
    MSMT17.
    """
    tested = dataset.query + dataset.gallery
    records = dataset.train + tested
    names = None if registered else written
    if names is None and not registered and (path / "bounding_box_train").is_dir():
        names = [record.path.name.partition("_")[0] for record in records]
    elif names is None and not registered and (path / "train").is_dir():
        names = [record.path.parent.name for record in records]
    if names is not None:
        known = [r.identity is not None for r in dataset.train]
        known += [r.identity not in (None, dataset.distractors) for r in tested]
        numbers: dict[Any, int] = {}
        return tuple(
            replace(record, identity=numbers.setdefault(name, len(numbers)) if is_known and name is not None else None)
            for record, name, is_known in zip(records, names, known, strict=True)
        )
    first = max((record.identity for record in dataset.train if record.identity is not None), default=-1) + 1
    unknown = (None, dataset.distractors)
    moved = (replace(r, identity=None if r.identity in unknown else r.identity + first) for r in tested)
    return dataset.train + tuple(moved)
