"""Data sets given as tables: CSV or Parquet with the columns ``path, identity?, camera?, split?``.

Paths are relative to the table's folder. Identities and cameras may be any text or number; an empty cell is unknown.
One table with a ``split`` column (train, query, gallery; without it all is training), or one table for each split.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from spcl.data.files import number_in_order, what_is_there
from spcl.errors import InputError, first_line
from spcl.records import Record, ReIDDataset

SUFFIXES = (".csv", ".parquet")
SPLITS = ("train", "query", "gallery")


def load_manifest(path: Path, *, keep_missing: bool = False) -> ReIDDataset:
    """One table for all splits.

    Args:
        path: The table.
        keep_missing: Keep listed images that are not there, for who leaves out images that cannot be read.

    Raises:
        InputError: If it cannot be read, lacks a column, holds a split that there is not, or lists images that are not
            there; with ``keep_missing``, if none of them is.
    """
    table = read_manifest(path)
    if "split" not in table:
        table["split"] = "train"
    unknown = sorted(set(table["split"].dropna()) - set(SPLITS)) or (["(empty)"] if table["split"].isna().any() else [])
    if unknown:
        raise InputError(f"{path}: the column split holds {unknown[0]!r}; expected {', '.join(SPLITS)}")
    parts = {split: table[table["split"] == split] for split in SPLITS}
    tables = {split: (path, part) for split, part in parts.items() if len(part)}
    return _dataset(path.stem, tables, keep_missing=keep_missing)


def load_manifests(paths: Mapping[str, Path], name: str, *, keep_missing: bool = False) -> ReIDDataset:
    """A table for each split.

    Args:
        paths: Table of each split: ``train``, ``query``, ``gallery``; any may be missing.
        name: How reports call the data set.
        keep_missing: As for ``load_manifest``.

    Raises:
        InputError: As ``load_manifest``.
    """
    unknown = sorted(set(paths) - set(SPLITS))
    if unknown:
        raise InputError(f"there is no split {unknown[0]!r}; expected {', '.join(SPLITS)}")
    tables = {split: (path, read_manifest(path)) for split, path in paths.items()}
    return _dataset(name, tables, keep_missing=keep_missing)


def names_splits(text: str) -> bool:
    """Whether a text means a table for each split: ``train=a.csv,query=b.csv``."""
    first, equals, _ = text.partition("=")
    return bool(equals) and first.strip() in SPLITS


def manifests_of_prefix(prefix: Path) -> dict[str, Path]:
    """The tables ``PREFIX_train``, ``PREFIX_query``, ``PREFIX_gallery`` (.csv or .parquet) that exist."""
    return {
        split: path
        for split in SPLITS
        for suffix in SUFFIXES
        if (path := prefix.with_name(f"{prefix.name}_{split}{suffix}")).is_file()
    }


def read_manifest(path: Path) -> pd.DataFrame:
    """A manifest as it is written, column names in lower case; cells of a CSV are text, empty ones missing.

    Raises:
        InputError: If it cannot be read, has no column ``path``, two columns of one name, no rows, or a row without a
            path.
    """
    if not path.is_file():
        raise InputError(f"there is no manifest {path}; {what_is_there(path.parent)}")
    try:
        table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (ValueError, OSError) as error:
        raise InputError(f"the manifest {path} cannot be read: {first_line(error)}") from error
    written: dict[str, object] = {}
    for column in table.columns:
        name = str(column).strip().lower()
        if name in written:
            raise InputError(
                f"the manifest {path} has two columns {name!r}: {str(written[name])!r} and {str(column)!r}; "
                "rename one of them (capitals and spaces around a name do not count)"
            )
        written[name] = column
    table.columns = list(written)
    if "path" not in table:
        raise InputError(
            f"the manifest {path} has no column 'path'; it has {', '.join(table.columns)}. "
            "Expected path and, where they are known, identity, camera, split"
        )
    if not len(table):
        raise InputError(f"the manifest {path} has no rows")
    if table["path"].isna().any():
        raise InputError(f"the manifest {path} has no path in row {int(table['path'].isna().to_numpy().argmax()) + 1}")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    """Cells as text; only an empty one is missing: NA and None may be names.

    Raises:
        ValueError: If it is no table.
    """
    with warnings.catch_warnings():
        # What pandas would cut off with a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # A comma at the end of each line does not make the first column the index.
            return pd.read_csv(
                path, dtype=str, skipinitialspace=True, keep_default_na=False, na_values=[""], index_col=False
            )
        except pd.errors.ParserWarning as error:
            raise ValueError("its rows have more cells than it has columns; quote texts that hold a comma") from error


def _dataset(name: str, tables: Mapping[str, tuple[Path, pd.DataFrame]], *, keep_missing: bool) -> ReIDDataset:
    texts = {
        split: {
            "path": [str(path.parent / str(value)) for value in table["path"]],
            "identity": _texts(table, "identity"),
            "camera": _texts(table, "camera"),
        }
        for split, (path, table) in tables.items()
    }
    cameras = _numbers([text for columns in texts.values() for text in columns["camera"]])
    of_train = _numbers(texts.get("train", {}).get("identity", []))
    of_test = _numbers([text for split in SPLITS[1:] if split in texts for text in texts[split]["identity"]])
    splits = {
        split: tuple(
            Record(Path(path), (of_train if split == "train" else of_test).get(identity), cameras.get(camera))
            for path, identity, camera in zip(columns["path"], columns["identity"], columns["camera"], strict=True)
        )
        for split, columns in texts.items()
    }
    every = [record for records in splits.values() for record in records]
    _require_images(name, every, keep_missing=keep_missing)
    known = all(record.camera is not None for record in every)
    return ReIDDataset(
        name,
        splits.get("train", ()),
        splits.get("query", ()),
        splits.get("gallery", ()),
        protocol="market1501" if known else "no-camera",
        notes=() if known else ("cameras are unknown for some images: the sampler draws freely among them",),
    )


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    """A column as text, empty where it is missing or unknown. Whole numbers look the same from CSV and Parquet."""
    if column not in table:
        return [""] * len(table)
    return ["" if pd.isna(value) else _text(value) for value in table[column]]


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _numbers(values: list[str]) -> dict[str, int]:
    return number_in_order([value for value in values if value])


def _require_images(name: str, records: list[Record], *, keep_missing: bool) -> None:
    there = {
        path for folder in {record.path.parent for record in records} if folder.is_dir() for path in folder.iterdir()
    }
    missing = [record.path for record in records if record.path not in there and not record.path.is_file()]
    # Where all are, the table lies in the wrong place: no image would be read.
    if missing and not (keep_missing and len(missing) < len(records)):
        raise InputError(
            f"{name}: {len(missing)} of {len(records)} listed images are missing, first {missing[0]}. "
            "Paths in a manifest are relative to its folder"
        )
