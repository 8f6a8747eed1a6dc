"""Data sets whose file names contain identity and camera: Market-1501, PersonX, VeRi-776, VehicleX.

One table holds the pattern of each data set. Identities of the training split are numbered from 0 in order; those of
query and gallery keep the numbers in the file names, so that they agree with each other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from spcl.data.folder_dataset import check_unused
from spcl.data.image_files import files_below, image_files, note_of_left_out, note_of_unused, require_layout
from spcl.data.image_key import kept_path
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset

_MARKET_SPLITS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_MARKET_FOLDERS = {*_MARKET_SPLITS.values(), "gt_bbox", "gt_query"}
_VERI_SPLITS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
_IDENTITY = r"(?<![-\d])(-?\d+)"


@dataclass(frozen=True)
class FilenameLayout:
    """The way in which a data set writes identity and camera into file names.

    Attributes:
        folder: Folder of the data set, below the data folder.
        pattern: Regular expression whose groups are identity and camera.
        splits: Name of the folder of each split.
        cameras: Number, from 0, of each camera number in file names; empty: numbers are kept.
        junk: Identity of images that are left out; None: there are no such images.
        distractors: Identity of gallery images that show no query object; None: there are no such images.
    """

    folder: str
    pattern: str
    splits: Mapping[str, str]
    cameras: Mapping[int, int] = field(default_factory=dict)
    junk: int | None = None
    distractors: int | None = None

    def tree(self) -> str:
        """The expected tree of folders, for an error."""
        return "\n".join([f"  {self.folder}/", *(f"    {name}/*.jpg" for name in self.splits.values())])


LAYOUTS: dict[str, FilenameLayout] = {
    "market1501": FilenameLayout(
        "market1501/Market-1501-v15.09.15",
        # One digit: what follows it is the sequence, "s1".
        _IDENTITY + r"_c(\d)",
        _MARKET_SPLITS,
        {written: written - 1 for written in range(1, 7)},
        junk=-1,
        distractors=0,
    ),
    "personx": FilenameLayout(
        "personx/PersonX",
        _IDENTITY + r"_c(\d+)",
        _MARKET_SPLITS,
        {written: number for number, written in enumerate((3, 4, 8, 10, 11, 12))},
    ),
    "veri": FilenameLayout(
        "veri/VeRi",
        _IDENTITY + r"_c(\d+)",
        _VERI_SPLITS,
        {written: written - 1 for written in range(1, 21)},
        junk=-1,
    ),
    "vehiclex": FilenameLayout(
        "vehiclex/AIC20_ReID_Simulation",
        _IDENTITY + r"_c(\d+)",
        {"train": "image_train"},
        {written: written - 6 for written in range(6, 37)},
    ),
}


def load_by_filenames(name: str, folder: Path) -> ReIDDataset:
    """Load one of the registered data sets.

    Args:
        name: Name in ``LAYOUTS``.
        folder: Folder that holds the registered data sets.

    Raises:
        InputError: If a split is missing or empty, or a file name does not contain identity and camera.
    """
    layout = LAYOUTS[name]
    return _load(name, layout, folder / layout.folder, layout.splits)


def load_market_layout(folder: Path, options: SourceOptions | None = None) -> ReIDDataset:
    """Load any folder in Market-1501's layout; its cameras are numbered from 0 in order.

    Splits may be missing. Images in no split, and junk (identity -1), are counted in the notes.

    Raises:
        InputError: If a file name does not contain identity and camera, or more than a tenth of the images lie outside
            the layout's folders.
    """
    options = options or SourceOptions()
    folder = kept_path(folder)
    layout = replace(LAYOUTS["market1501"], folder=str(folder), pattern=_IDENTITY + r"_c(\d+)", cameras={})
    present = [split for split, name in layout.splits.items() if (folder / name).is_dir()]
    dataset = _load(folder.name, layout, folder, present)
    every = (*dataset.train, *dataset.query, *dataset.gallery)
    found = files_below(folder)
    used = {record.path for record in every}
    unused = [path for path in found.images if path not in used]
    # Market-1501 itself contains folders that no evaluation uses.
    outside = [path for path in unused if path.relative_to(folder).parts[0] not in _MARKET_FOLDERS]
    check_unused(folder, outside, len(found.images), "the folders of Market-1501's layout", options)
    written = sorted({record.camera for record in every if record.camera is not None})
    numbers: dict[int | None, int] = {camera: number for number, camera in enumerate(written)}

    def renumbered(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(replace(record, camera=numbers[record.camera]) for record in records)

    return replace(
        dataset,
        train=renumbered(dataset.train),
        query=renumbered(dataset.query),
        gallery=renumbered(dataset.gallery),
        notes=(
            *note_of_unused(folder, unused, "outside the splits or of identity -1 (junk)"),
            *note_of_left_out(found.left_out),
        ),
    )


def is_market_layout(folder: Path) -> bool:
    """Whether a folder has a sub-folder that only Market-1501's layout has."""
    return any((folder / _MARKET_SPLITS[split]).is_dir() for split in ("train", "gallery"))


def _load(name: str, layout: FilenameLayout, folder: Path, wanted: Collection[str]) -> ReIDDataset:
    folders = {split: folder / layout.splits[split] for split in wanted}
    require_layout(folders.values(), name, layout.tree())
    splits = {split: _records(path, layout, name) for split, path in folders.items()}
    query = splits.get("query", ())
    # Data sets whose identities start at 0 have queries of identity 0.
    searched_for = any(record.identity == layout.distractors for record in query)
    return ReIDDataset(
        name=name,
        train=number_identities(splits.get("train", ())),
        query=query,
        gallery=splits.get("gallery", ()),
        distractors=None if searched_for else layout.distractors,
    )


def number_identities(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """Number the identities of records from 0 in order."""
    identities = sorted({record.identity for record in records if record.identity is not None})
    numbers = {identity: number for number, identity in enumerate(identities)}
    return tuple(
        record if record.identity is None else replace(record, identity=numbers[record.identity]) for record in records
    )


def _records(folder: Path, layout: FilenameLayout, name: str) -> tuple[Record, ...]:
    pattern = re.compile(layout.pattern)
    records = []
    for path in image_files(folder):
        found = pattern.search(path.name)
        if found is None:
            raise InputError(
                f"{name}: the file name {path} does not contain identity and camera; expected a name like "
                f"0002_c1s1_000451_03.jpg. For other names use a table (path,identity,camera)",
                code="file-name-not-understood",
            )
        identity, camera = int(found[1]), int(found[2])
        if layout.junk is not None and identity == layout.junk:
            continue
        if layout.cameras and camera not in layout.cameras:
            raise InputError(
                f"{name}: {path} has camera {camera}; expected one of {', '.join(map(str, layout.cameras))}",
                code="no-such-camera",
            )
        records.append(Record(path, identity, layout.cameras.get(camera, camera)))
    if not records:
        raise InputError(f"{name}: {folder} holds no images; expected:\n{layout.tree()}", code="no-images")
    return tuple(records)
