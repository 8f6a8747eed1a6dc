"""The one door: whatever images a user points at, as a table with a row for each image.

A file, a folder with all below it, a table, tables of splits or their common beginning, the name of a registered data
set, or a list of these. Training and evaluation read the same sources by their splits (``catalogue.load_dataset``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spcl.data.cameras import cameras_of_files
from spcl.data.catalogue import is_registered, load_dataset, tables_of
from spcl.data.copies import byte_identical
from spcl.data.files import files_below, no_images_error, note_of_left_out, what_is_there
from spcl.data.folder_identities import named_images, note_of_known
from spcl.data.from_manifest import SUFFIXES, names_splits
from spcl.data.image_formats import IMAGE_SUFFIXES, is_image_file, is_image_name
from spcl.data.one_image import kept_path, named_path
from spcl.data.same_images import check_agreement, note_of_copies, note_of_repeated, rows_of_each_image
from spcl.data.source_options import SourceOptions, note_of_no_table
from spcl.data.table_identities import with_identities
from spcl.data.written_columns import written_columns
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset

Source = str | Path | Sequence[str | Path]
Columns = dict[str, list[Any]]

_OF_TRAINING = ("cameras are unknown", "no query and gallery")
"""How notes begin that are of use to training and evaluation alone."""
_MUST_AGREE = ("identity", "camera", "time")


@dataclass(frozen=True)
class ImageTable:
    """Images, each once.

    Attributes:
        records: The images, in a fixed order. Paths are absolute, their links not resolved. Identities only where
            labels were asked for: one number for one identity, over all splits; cameras from 0.
        splits: The split of each image: ``train``, ``query``, ``gallery``; empty where the source has none.
        columns: What the source says of the images, as it is written: a list for each column, a value for each image;
            columns without any value are left out.
        left_out: What was found and is not used, with the reason: files that may be images and cannot be read, links
            that lead nowhere, further copies of an image.
        notes: What a reader should know, in sentences: files not read, paths that lead to one image, columns that were
            found for some images only.
    """

    records: tuple[Record, ...]
    splits: tuple[str, ...]
    columns: Columns
    left_out: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Images."""
        return len(self.records)

    def rows(self, kept: Sequence[int]) -> ImageTable:
        """Some of the images, in the order of their numbers."""
        return replace(
            self,
            records=tuple(self.records[row] for row in kept),
            splits=tuple(self.splits[row] for row in kept),
            columns={name: [values[row] for row in kept] for name, values in self.columns.items()},
        )

    def outside(self, folder: Path) -> ImageTable:
        """The images that do not lie in a folder or below it: results that are written there are no images.

        Raises:
            InputError: If all of them do.
        """
        place = folder.resolve()
        # Of the folders, not of the images: a link in the folder lies there, wherever the image is.
        parents = {parent: parent.resolve() for parent in {record.path.parent for record in self.records}}
        inside = {parent: place == real or place in real.parents for parent, real in parents.items()}
        others = [row for row, record in enumerate(self.records) if not inside[record.path.parent]]
        if not others:
            raise InputError(f"all the images are in {folder}, where the results go; give another folder (-o)")
        return self if len(others) == len(self.records) else self.rows(others)


def images_of(
    source: Source,
    options: SourceOptions | None = None,
    *,
    labelled: bool = False,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> ImageTable:
    """The images that a user points at, and what is known of them.

    Args:
        source: An image, a folder with all below it, a table, ``train=a.csv,query=b.csv``, the common beginning of
            ``..._train.csv`` and ``..._query.csv``, the name of a registered data set; or a list of these. Of a data
            set with splits, all of them. A table may list some images that are not there: reading reports it.
        options: How it is read; None: as by default.
        labelled: Labels are asked for: records have identities, and a folder is read as a data set (a folder per
            identity, Market-1501's layout). Distractors, which are different objects under one number, have none.
        columns: What the caller knows of the images: a value for each image that is given, in their order; they take
            the place of the source's own columns of these names.

    Returns:
        ImageTable: each image once, folders by path, lists in their order.

    Raises:
        InputError: If there is nothing, or no image: says what was looked for and what is there. If identities are
            asked for and none is found; if one image has two identities, cameras or times.
    """
    options = options or SourceOptions()
    table = _joined([_part(part, options, labelled) for part in _parts(source)])
    table = _each_once(_with_given(table, columns or {}))
    if options.duplicates == "first":
        table = _without_copies(table)
    return table


def _parts(source: Source) -> list[str | Path | list[Path]]:
    """The parts of a source; image files that follow each other in a list are one part, with one set of cameras."""
    if isinstance(source, str | Path):
        return [source]
    parts: list[str | Path | list[Path]] = []
    for entry in source:
        if is_image_name(Path(entry).name) and not Path(entry).is_dir():
            if parts and isinstance(parts[-1], list):
                parts[-1].append(Path(entry))
            else:
                parts.append([Path(entry)])
        else:
            parts.append(entry)
    return parts


def _part(source: str | Path | list[Path], options: SourceOptions, labelled: bool) -> ImageTable:
    if isinstance(source, list):
        return _of_files([kept_path(path) for path in source], options, where=f"{len(source)} files")
    path = named_path(source)
    if path.is_file() and path.suffix.lower() not in SUFFIXES and is_image_file(path):
        return _of_files([kept_path(path)], options, where=str(path))
    registered = is_registered(source, options.data_dir)
    tables = {} if registered else tables_of(path, options)
    if path.is_dir() and not (registered or labelled or tables or options.layout == "dataset"):
        folder = kept_path(path)
        found = files_below(folder)
        if not found.images:
            raise no_images_error(folder, found)
        table = _of_files(found.images, options, where=str(path), root=folder)
        return replace(table, left_out=tuple(found.left_out), notes=(*table.notes, *note_of_left_out(found.left_out)))
    splits = names_splits(str(source)) and not path.exists()
    if not (registered or tables or splits):
        _check_source(path)
    # Who uses an encoder leaves out images that cannot be read: one that has gone ends no long job either.
    dataset = load_dataset(source, options=options, keep_missing=True, labelled=labelled)
    by_table = path.is_file() or bool(tables) or splits
    given = source if not tables else ",".join(f"{split}={table}" for split, table in tables.items())
    return _of_dataset(given, path, dataset, options, labelled=labelled, by_table=by_table, registered=registered)


def _check_source(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there are no images at {path}: {what_is_there(path)}")
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is neither an image ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a table "
            f"({', '.join(sorted(SUFFIXES))})"
        )


def _of_files(files: list[Path], options: SourceOptions, *, where: str, root: Path | None = None) -> ImageTable:
    """Images without a table: cameras by their names or folders, identities only where they are asked for."""
    cameras = cameras_of_files(files, root)
    columns: Columns = {"camera": list(cameras.written)}
    notes = [*cameras.notes, *note_of_no_table(options, where)]
    if options.identity_from != "auto":
        named = named_images(root or Path(where), files, options, labelled=True)
        columns["identity"] = list(named.names)
        notes += named.notes
    records = tuple(Record(path, camera=camera) for path, camera in zip(files, cameras.numbers, strict=True))
    return ImageTable(records, ("",) * len(files), _with_values(columns), notes=tuple(notes))


def _of_dataset(
    given: str | Path,
    path: Path,
    dataset: ReIDDataset,
    options: SourceOptions,
    *,
    labelled: bool,
    by_table: bool,
    registered: bool,
) -> ImageTable:
    records = dataset.train + dataset.query + dataset.gallery
    splits = ("train",) * len(dataset.train) + ("query",) * len(dataset.query) + ("gallery",) * len(dataset.gallery)
    if not (dataset.query or dataset.gallery):
        splits = ("",) * len(records)
    notes = [note for note in dataset.notes if not note.startswith(_OF_TRAINING)]
    if by_table:
        columns = dict(written_columns(given, records, options=options.table))
    else:
        columns = {"camera": list(cameras_of_files([record.path for record in records], kept_path(path)).written)}
    if options.identity_from == "table" and "identity" not in columns:
        raise InputError(
            f"identities are to come from a table, and {given} has none: give a table with a column identity"
        )
    if options.identity_from not in ("auto", "table"):
        named = named_images(kept_path(path), [record.path for record in records], options, labelled=True)
        columns["identity"] = list(named.names)
        notes += named.notes
    names = columns.get("identity")
    if names and None in names and any(name is not None for name in names):
        notes.append(note_of_known(names))
    if labelled:
        records = with_identities(path, dataset, names, registered=registered)
    else:
        records = tuple(replace(record, identity=None) for record in records)
    records = tuple(replace(record, path=kept_path(record.path)) for record in records)
    return ImageTable(records, splits, _with_values(columns), notes=tuple(dict.fromkeys(notes)))


def _joined(parts: Sequence[ImageTable]) -> ImageTable:
    """Several parts as one table: identities and cameras of different parts are different."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        raise InputError("there are no images: the list is empty")
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns: Columns = {name: [] for name in names}
    records: list[Record] = []
    for part in parts:
        identity = 1 + max((r.identity for r in records if r.identity is not None), default=-1)
        camera = 1 + max((r.camera for r in records if r.camera is not None), default=-1)
        records += [
            replace(
                record,
                identity=None if record.identity is None else record.identity + identity,
                camera=None if record.camera is None else record.camera + camera,
            )
            for record in part.records
        ]
        for name, values in columns.items():
            values += part.columns.get(name, [None] * len(part))
    if any(record.camera is None for record in records):
        records = [replace(record, camera=None) for record in records]
    return ImageTable(
        tuple(records),
        tuple(split for part in parts for split in part.splits),
        columns,
        tuple(entry for part in parts for entry in part.left_out),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _with_given(table: ImageTable, columns: Mapping[str, Sequence[Any]]) -> ImageTable:
    for name, values in columns.items():
        if len(values) != len(table):
            raise InputError(f"{name} has {len(values)} values for {len(table)} images; expected one for each")
    return replace(table, columns=table.columns | {name: list(values) for name, values in columns.items()})


def _each_once(table: ImageTable) -> ImageTable:
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


def _without_copies(table: ImageTable) -> ImageTable:
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


def _with_values(columns: Columns) -> Columns:
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}
