"""Registered data sets, and the reading of a data set from a name or a path.

Six names are registered; a path may be a folder in Market-1501's layout, a folder per identity, a flat folder of crops,
a table, or a table for each split. To add a data set: a row in ``filename_layouts.LAYOUTS`` or a function in
``from_lists``, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from spcl.data.filename_layouts import LAYOUTS, is_market_layout, load_by_filenames, load_market_layout
from spcl.data.folder_dataset import check_unused, load_folder
from spcl.data.image_endings import is_image_file
from spcl.data.image_files import images_below, what_is_there
from spcl.data.image_key import image_keys, kept_path, named_path
from spcl.data.listed_images import ListedImages, listed_images
from spcl.data.msmt17_vehicleid import MSMT17_FOLDER, VEHICLEID_FOLDER, VEHICLEID_SIZES, load_msmt17, load_vehicleid
from spcl.data.repeated_images import each_image_once
from spcl.data.source_options import SourceOptions, note_of_no_table
from spcl.data.table_dataset import (
    SUFFIXES,
    dataset_of,
    names_splits,
    tables_of_prefix,
    tables_of_splits,
)
from spcl.data.table_identities import as_asked_for
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset

Counts = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class Entry:
    """A registered data set.

    Attributes:
        folder: Folder of the data set, below the data folder.
        load: Reads it from the data folder.
        published: Numbers of identities and of images of each split; several where publications differ.
    """

    folder: str
    load: Callable[[Path], ReIDDataset]
    published: Counts


@dataclass(frozen=True)
class LoadedSource:
    """A data set, and the tables that it was read from.

    Attributes:
        dataset: The data set.
        listed: Images and columns of its tables; None where it was not read from a table.
    """

    dataset: ReIDDataset
    listed: ListedImages | None = None


def _by_filenames(name: str) -> Callable[[Path], ReIDDataset]:
    return lambda folder: load_by_filenames(name, folder)


REGISTERED: dict[str, Entry] = {
    "market1501": Entry(
        LAYOUTS["market1501"].folder,
        _by_filenames("market1501"),
        {"train": ((751,), (12936,)), "query": ((750,), (3368,)), "gallery": ((751,), (15913,))},
    ),
    "msmt17": Entry(
        MSMT17_FOLDER,
        load_msmt17,
        {"train": ((1041,), (32621,)), "query": ((3060,), (11659,)), "gallery": ((3060,), (82161,))},
    ),
    "personx": Entry(
        LAYOUTS["personx"].folder,
        _by_filenames("personx"),
        {"train": ((410,), (9840,)), "query": ((856,), (5136,)), "gallery": ((856,), (30816,))},
    ),
    "veri": Entry(
        LAYOUTS["veri"].folder,
        _by_filenames("veri"),
        {"train": ((575, 576), (37746, 37778)), "query": ((200,), (1678,)), "gallery": ((200,), (11579,))},
    ),
    "vehicleid": Entry(
        VEHICLEID_FOLDER,
        load_vehicleid,
        {"train": ((13164,), (113346,)), "gallery": ((800,), (800,))},
    ),
    "vehiclex": Entry(LAYOUTS["vehiclex"].folder, _by_filenames("vehiclex"), {"train": ((1362,), (192150,))}),
}


def load_dataset(
    name_or_path: str | Path,
    root: str | Path | None = None,
    *,
    keep_missing: bool = False,
    labelled: bool = False,
    options: SourceOptions | None = None,
) -> ReIDDataset:
    """Load a data set by its registered name or its path.

    Args:
        name_or_path: ``market1501``, ``msmt17``, ``personx``, ``veri``, ``vehicleid`` (or ``vehicleid:1600``,
            ``vehicleid:2400``), ``vehiclex``; or a folder in Market-1501's layout, a folder per identity, a folder of
            crops with all below it, a table (CSV or Parquet); or ``train=a.csv,query=b.csv,gallery=c.csv``; or the
            common beginning of ``..._train.csv``, ``..._query.csv``, ``..._gallery.csv``.
        root: Folder that holds the registered data sets; None: ``data_dir`` of ``options``.
        keep_missing: Whether to keep listed images that are missing, for callers that leave out images that cannot be
            read; otherwise they are an error.
        labelled: Whether labels are needed. If so, a folder is read as a folder per identity; if not, only where every
            image lies directly in a sub-folder, and otherwise as all unlabelled images below it.
        options: Options of reading; None: the defaults.

    Returns:
        ReIDDataset: records in a fixed order, each image once in a split, training identities and all cameras from 0.

    Raises:
        InputError: If the data set does not exist or cannot be read (the message describes what was found), more than
            a tenth of the images of a folder would stay unused, or one image has two identities that are needed.
    """
    options = options or SourceOptions()
    if root is not None:
        options = replace(options, data_dir=str(root))
    return load_source(name_or_path, options=options, keep_missing=keep_missing, labelled=labelled).dataset


def load_source(
    name_or_path: str | Path,
    *,
    options: SourceOptions,
    keep_missing: bool = False,
    labelled: bool = False,
    with_times: bool = False,
) -> LoadedSource:
    """Read a data set as ``load_dataset`` does, and keep the columns of its tables.

    Args:
        name_or_path: Registered name or path, as for ``load_dataset``.
        options: Options of reading.
        keep_missing: Whether to keep listed images that are missing, as in ``load_dataset``.
        labelled: Whether labels are needed, as in ``load_dataset``.
        with_times: Whether to read the column ``time`` of tables; a cell that is not a time is then an error.

    Raises:
        InputError: For the same reasons as in ``load_dataset``.
    """
    folder = Path(options.data_dir)
    text = str(name_or_path)
    if is_registered(name_or_path, folder):
        return LoadedSource(_registered(text, options, labelled=labelled))
    path = named_path(name_or_path)
    tables = _tables_meant(text, path, options)
    listed = listed_images(tables, options.table, with_times=with_times) if tables else None
    if listed is not None:
        dataset = as_asked_for(dataset_of(_name_of(tables, path), listed, keep_missing=keep_missing), options, text)
        if path.is_dir():
            dataset = _beside_folder(path, tables, dataset, options)
    else:
        dataset = _by_path(path, labelled, options)
    once = each_image_once(dataset, without_copies=options.duplicates == "first", needs_identities=labelled)
    return LoadedSource(once, listed)


def _registered(text: str, options: SourceOptions, *, labelled: bool) -> ReIDDataset:
    """The registered data set of a name, ``market1501`` or ``vehicleid:1600``.

    Raises:
        InputError: If the data set is missing or incomplete, or the options ask for identities from elsewhere.
    """
    name, _, size = text.partition(":")
    folder = Path(options.data_dir)
    if labelled and options.identity_from != "auto":
        raise InputError(
            f"--identity-from {options.identity_from} does not apply to {name}, whose identities are those of the data "
            f"set; leave it out, or give the folder: {folder / REGISTERED[name].folder}",
            code="option-does-not-apply",
        )
    if name == "vehicleid" and size:
        if size not in map(str, VEHICLEID_SIZES):
            raise InputError(
                f"vehicleid has test lists of {VEHICLEID_SIZES} identities, not {size!r}", code="setting-out-of-range"
            )
        dataset = _with_count_notes(load_vehicleid(folder, int(size)), {})
    else:
        dataset = _with_count_notes(REGISTERED[name].load(folder), REGISTERED[name].published)
    notes = note_of_no_table(options, name)
    if Path(text).exists():
        notes += (f"{name} is the registered data set in {folder}; give ./{name} for the folder of that name",)
    dataset = replace(dataset, notes=(*dataset.notes, *notes))
    # Without copies only where that is asked for: paths of a registered data set are distinct.
    if options.duplicates == "first":
        return each_image_once(dataset, without_copies=True, needs_identities=labelled)
    return dataset


def is_registered(source: str | Path, data_dir: str | Path) -> bool:
    """Whether a text is the name of a registered data set; not where only a path of that name exists."""
    name = str(source).partition(":")[0]
    if not isinstance(source, str) or name not in REGISTERED:
        return False
    return not Path(source).exists() or (Path(data_dir) / REGISTERED[name].folder).exists()


def count(records: tuple[Record, ...]) -> tuple[int, int]:
    """Count identities and images; the distractors of a gallery (identity 0 of Market-1501) count as one identity."""
    return len({record.identity for record in records if record.identity is not None}), len(records)


def _with_count_notes(dataset: ReIDDataset, published: Counts) -> ReIDDataset:
    """Add notes on counts that differ from the published ones; no error, because users work on subsets."""
    notes = list(dataset.notes)
    for split, (identities, images) in published.items():
        found = count(getattr(dataset, split))
        # Market-1501's gallery is published without its distractors' identity, and counted with and without it.
        if found[1] not in images or not {found[0], found[0] - 1} & set(identities):
            notes.append(
                f"{split} has {found[0]} identities / {found[1]} images; published are "
                f"{' or '.join(map(str, identities))} / {' or '.join(map(str, images))}"
            )
    return replace(dataset, notes=tuple(notes))


def tables_of(path: Path, options: SourceOptions) -> dict[str, Path]:
    """The tables ``PATH_train.csv``, ``PATH_query.csv``, ``PATH_gallery.csv`` that describe a path, by split."""
    if options.layout == "all" and path.is_dir():
        return {}
    # Path("data/.").name is "data", and Path(".").name is nothing.
    return tables_of_prefix(path) if path.name else {}


def _tables_meant(text: str, path: Path, options: SourceOptions) -> dict[str, Path]:
    """The tables of a source, by split; one table for all splits has an empty name; empty: the source is no table."""
    if names_splits(text) and not path.exists():
        return tables_of_splits(text)
    if tables := tables_of(path, options):
        return tables
    # A missing table is reported where it is read.
    return {"": path} if path.suffix.lower() in SUFFIXES and not path.is_dir() else {}


def _name_of(tables: Mapping[str, Path], path: Path) -> str:
    """The name, in reports, of the data set of some tables."""
    if set(tables) == {""}:
        return path.stem
    first = next(iter(tables.values()))
    return first.stem.removesuffix(f"_{next(iter(tables))}")


def _beside_folder(path: Path, tables: Mapping[str, Path], dataset: ReIDDataset, options: SourceOptions) -> ReIDDataset:
    """The data set of the tables next to a folder, which are more reliable than its file names.

    Raises:
        InputError: If they leave out more than a tenth of the images below it.
    """
    used = set(image_keys([record.path for record in dataset.train + dataset.query + dataset.gallery]))
    found = images_below(path)
    unused = [image for image, key in zip(found, image_keys(found), strict=True) if key not in used]
    listing = ", ".join(table.name for table in tables.values())
    check_unused(path, unused, len(found), f"the tables {listing} next to it", options)
    return replace(dataset, notes=(*dataset.notes, f"{path} is read from the tables next to it: {listing}"))


def _by_path(path: Path, labelled: bool, options: SourceOptions) -> ReIDDataset:
    if path.is_dir():
        folder = kept_path(path)
        if options.layout != "all" and options.identity_from in ("auto", "name") and is_market_layout(folder):
            dataset = load_market_layout(folder, options)
        else:
            dataset = load_folder(folder, options, labelled=labelled)
        return replace(dataset, notes=(*dataset.notes, *note_of_no_table(options, str(path))))
    if path.is_file() and is_image_file(path):
        raise InputError(
            f"{path} is one image; expected a folder of images, for example {path.parent}", code="not-a-data-set"
        )
    near = get_close_matches(str(path), REGISTERED, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"there is no data set {str(path)!r}: {hint}it is not one of the names {', '.join(REGISTERED)}, and "
        f"{what_is_there(path)}",
        code="no-such-source",
    )
