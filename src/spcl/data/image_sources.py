"""The images of any source, as a table with a row for each image; every command that takes images uses it.

A source is a file, a folder with all images below it, a table, tables of splits or the common beginning of their names,
the name of a registered data set, or a list of these. Training and evaluation read the same sources by splits
(``catalogue.load_dataset``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spcl.data.camera_parsing import cameras_of_files
from spcl.data.catalogue import LoadedSource, is_registered, load_source, tables_of
from spcl.data.folder_identities import named_images, note_of_known
from spcl.data.image_endings import IMAGE_SUFFIXES, is_image_file, is_image_name
from spcl.data.image_files import files_below, no_images_error, note_of_left_out, what_is_there
from spcl.data.image_key import kept_path, named_path
from spcl.data.image_table import Columns, ImageTable, combined_tables, each_once, with_given, without_copies
from spcl.data.source_options import SourceOptions, note_of_no_table
from spcl.data.stored_images import holds_images, is_stored, stored_images
from spcl.data.table_columns import columns_of
from spcl.data.table_dataset import SUFFIXES, names_splits
from spcl.data.table_identities import with_identities
from spcl.data.track_columns import note_of_tracks, note_of_unread_crops, track_names, tracks_in_names
from spcl.errors import InputError
from spcl.records import Record

Source = str | Path | Sequence[str | Path]


def images_of(
    source: Source,
    options: SourceOptions | None = None,
    *,
    labelled: bool = False,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> ImageTable:
    """Find the images of a source, and what the source contains about them.

    Args:
        source: An image, a folder with all below it, a table, ``train=a.csv,query=b.csv``, the common beginning of
            ``..._train.csv`` and ``..._query.csv``, the name of a registered data set; or a list of these. Of a data
            set with splits, all of them. A table may list missing images: they are reported when they are read.
        options: Options of reading; None: the defaults.
        labelled: Whether labels are needed: records have identities, and a folder is read as a data set (a folder per
            identity, Market-1501's layout). Distractors, different objects under one number, have no identity.
        columns: Columns of the caller: a value for each image of ``source``, in order; they replace columns of the
            source with the same names.

    Returns:
        ImageTable: each image once; images of folders in the order of their paths, lists in their own order.

    Raises:
        InputError: If the source does not exist or has no image; the message describes what was found. If identities
            are needed and none is found; if one image has two identities, cameras or times.
    """
    options = options or SourceOptions()
    table = combined_tables([_part(part, options, labelled) for part in _parts(source)])
    table = each_once(with_given(table, columns or {}))
    return without_copies(table) if options.duplicates == "first" else table


def _parts(source: Source) -> list[str | Path | list[Path]]:
    """Split a source into parts; consecutive image files of a list are one part, with one numbering of cameras."""
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
    if holds_images(path):
        return _of_stored(path, options)
    if is_stored(path) and is_image_name(path.name):
        return _of_files([kept_path(path)], options, where=str(path))
    registered = is_registered(source, options.data_dir)
    tables = {} if registered else tables_of(path, options)
    if path.is_dir() and not (registered or labelled or tables or options.layout == "dataset"):
        folder = kept_path(path)
        found = files_below(folder)
        if not found.images:
            raise no_images_error(folder, found)
        table = _of_files(found.images, options, where=str(path), root=folder)
        notes = (*table.notes, *note_of_left_out(found.left_out), *note_of_unread_crops(folder))
        return replace(table, left_out=tuple(found.left_out), notes=notes)
    splits = names_splits(str(source)) and not path.exists()
    if not (registered or tables or splits):
        _check_source(path)
    # Commands with an encoder leave out images that cannot be read, and missing ones too.
    loaded = load_source(source, options=options, keep_missing=True, labelled=labelled, with_times=True)
    return _of_dataset(path, loaded, options, labelled=labelled, registered=registered)


def check_is_there(source: str | Path, options: SourceOptions) -> None:
    """Check that a source exists in some form, before torch is imported.

    Raises:
        InputError: If the path does not exist, and is neither a registered name nor the beginning of names of tables.
    """
    path = named_path(source)
    if is_stored(path) or path.exists() or names_splits(str(source)) or is_registered(source, options.data_dir):
        return
    if not tables_of(path, options):
        _check_source(path)


def _check_source(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there are no images at {path}: {what_is_there(path)}", code="no-such-source")
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is neither an image ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a table "
            f"({', '.join(sorted(SUFFIXES))})",
            code="wrong-file-kind",
        )


def _of_files(files: list[Path], options: SourceOptions, *, where: str, root: Path | None = None) -> ImageTable:
    """Make a table of image files: cameras from names of files or folders, identities only where they are asked for."""
    cameras = cameras_of_files(files, root)
    columns: Columns = {"camera": list(cameras.written)}
    notes = [*cameras.notes, *note_of_no_table(options, where)]
    if options.identity_from != "auto":
        named = named_images(root or Path(where), files, options, labelled=True)
        columns["identity"] = list(named.names)
        notes += named.notes
    tracks = tracks_in_names(files)
    records = tuple(
        Record(path, camera=camera, track=track)
        for path, camera, track in zip(files, cameras.numbers, tracks, strict=True)
    )
    notes += note_of_tracks(records)
    return ImageTable(records, ("",) * len(files), _with_values(columns), notes=tuple(notes))


def _of_stored(path: Path, options: SourceOptions) -> ImageTable:
    """Make a table of the images of archives, with the columns of their samples, or of cloud storage."""
    found = stored_images(path)
    table = _of_files([kept_path(image) for image in found.paths], options, where=str(path), root=kept_path(path))
    if (tracks := found.columns.get("track")) is not None:
        cameras = [
            None if camera is None else str(camera) for camera in found.columns.get("camera", [None] * len(tracks))
        ]
        names = track_names([None if track is None else str(track) for track in tracks], cameras)
        records = tuple(replace(record, track=name) for record, name in zip(table.records, names, strict=True))
        table = replace(table, records=records)
    return replace(with_given(table, found.columns), notes=(*table.notes, *found.notes))


def _of_dataset(
    path: Path, loaded: LoadedSource, options: SourceOptions, *, labelled: bool, registered: bool
) -> ImageTable:
    dataset = loaded.dataset
    records = dataset.train + dataset.query + dataset.gallery
    splits = ("train",) * len(dataset.train) + ("query",) * len(dataset.query) + ("gallery",) * len(dataset.gallery)
    if not (dataset.query or dataset.gallery):
        splits = ("",) * len(records)
    notes = list(dataset.notes)
    if loaded.listed is not None:
        columns = columns_of(loaded.listed, dataset)
    else:
        columns = {"camera": list(cameras_of_files([record.path for record in records], kept_path(path)).written)}
    if options.identity_from == "table" and "identity" not in columns:
        raise InputError(
            f"--identity-from table needs a table with identities, and {path} has none: add a column identity",
            code="no-identities",
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
    # Tables give the paths as they are kept.
    kept = [record.path if loaded.listed is not None else kept_path(record.path) for record in records]
    identities = [record.identity if labelled else None for record in records]
    records = tuple(
        replace(record, path=where, identity=identity)
        for where, identity, record in zip(kept, identities, records, strict=True)
    )
    return ImageTable(records, splits, _with_values(columns), notes=tuple(dict.fromkeys(notes)))


def _with_values(columns: Columns) -> Columns:
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}
