"""Data sets from a user's own folders: a folder per identity, or all unlabelled images below a folder.

A folder may have the splits ``train/``, ``query/`` and ``gallery/``, each with a folder per identity. Every command
uses the same images: without labels all below the folder; ``folder_identities.py`` has the rule for labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from spcl.data.camera_parsing import cameras_of_files
from spcl.data.folder_identities import MOST_UNUSED, NamedImages, named_images
from spcl.data.image_files import (
    files_below,
    no_images_error,
    note_of_left_out,
    note_of_unused,
    number_in_order,
    sub_folders,
)
from spcl.data.image_key import kept_path, shown_path
from spcl.data.repeated_images import check_agreement, rows_of_each_image
from spcl.data.source_options import SourceOptions
from spcl.data.track_columns import note_of_tracks, tracks_in_names
from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import Record, ReIDDataset

_SPLITS = ("train", "query", "gallery")


def load_folder(folder: Path, options: SourceOptions | None = None, *, labelled: bool = False) -> ReIDDataset:
    """Load all images below a folder, or a folder of splits.

    Args:
        folder: The folder to read.
        options: Options of reading; None: the defaults.
        labelled: Whether labels are needed, as for a source and for an evaluation.

    Raises:
        InputError: If it holds no image; if more than a tenth of its images would stay unused.
    """
    options = options or SourceOptions()
    folder = kept_path(folder)
    found = files_below(folder)
    if not found.images:
        raise no_images_error(folder, found)
    splits = {entry.name.lower(): entry for entry in sub_folders(folder) if entry.name.lower() in _SPLITS}
    is_split = "train" in splits or set(splits) == {"query", "gallery"}
    if options.layout != "all" and is_split:
        named = _splits(splits, options, labelled=labelled)
        used = {path for part in named.values() for path in part.files}
        unused = [path for path in found.images if path not in used]
        names = ", ".join(sorted(entry.name for entry in splits.values()))
        check_unused(folder, unused, len(found.images), f"its folders {names}", options)
    else:
        named = {"train": named_images(folder, found.images, options, labelled=labelled)}
        unused = named["train"].unused
    _check_identities(folder, named, labelled=labelled)
    notes = (
        *dict.fromkeys(note for part in named.values() for note in part.notes),
        *note_of_unused(folder, unused, "outside the splits" if len(splits) and is_split else "at other depths"),
        *note_of_left_out(found.left_out),
    )
    return _dataset(folder, named, notes)


def _check_identities(folder: Path, named: Mapping[str, NamedImages], *, labelled: bool) -> None:
    """Raise an ``InputError`` where one image has two identities that are needed; names both, as folders write them."""
    for group in (("train",), ("query", "gallery")):
        parts = [named[split] for split in group if split in named]
        paths = [path for part in parts for path in part.files]
        names = [name for part in parts for name in part.names]
        if labelled or group != ("train",):
            _, instead = rows_of_each_image(paths)
            check_agreement(paths, instead, names.__getitem__, "identity", f"{shown_path(folder)}: ")


def check_unused(folder: Path, unused: list[Path], num_found: int, reading: str, options: SourceOptions) -> None:
    """Raise an ``InputError`` where a data set in a folder leaves out more than a tenth of the images below it."""
    if options.layout != "auto" or len(unused) <= MOST_UNUSED * num_found:
        return
    num_used = num_found - len(unused)
    raise InputError(
        f"{shown_path(folder)}: only {num_used} of {num_found} images are in {reading}, not for example "
        f"{min(unused).relative_to(folder)}. Give --layout dataset (takes these {num_used}) or --layout all "
        "(docs/data.md)",
        code="ambiguous-folder",
    )


def split_for_evaluation(dataset: ReIDDataset, *, seed: int = 0) -> ReIDDataset:
    """Draw queries and gallery from a labelled training split, for data without them.

    One random image of each identity (and camera, where cameras are known) becomes a query, the rest the gallery. At
    least one image of each identity stays in the gallery. For an identity that several cameras saw, at least one query
    has a gallery image of another camera.

    Raises:
        InputError: If there are no identities.
    """
    labelled = [record for record in dataset.train if record.identity is not None]
    if not labelled:
        why = "its images have no identities" if dataset.train else "it has no queries or no gallery to search in"
        notes = "".join(f". {note[0].upper()}{note[1:]}" for note in dataset.notes if "identit" in note)
        raise InputError(
            f"{dataset.name} cannot be evaluated: {why}. Add query and gallery folders "
            f"with a folder per identity, or give a table with identities{notes}",
            code="no-identities",
        )
    order = generator(seed, "queries of a folder").permutation(len(labelled)).tolist()
    left = Counter(record.identity for record in labelled)
    chosen: dict[tuple[int | None, int | None], int] = {}
    for row in order:
        record = labelled[row]
        seen = (record.identity, record.camera)
        if seen not in chosen and left[record.identity] > 1:
            chosen[seen] = row
            left[record.identity] -= 1
    queries = set(chosen.values())
    known = all(record.camera is not None for record in labelled)
    return replace(
        dataset,
        query=tuple(record for row, record in enumerate(labelled) if row in queries),
        gallery=tuple(record for row, record in enumerate(labelled) if row not in queries),
        protocol="market1501" if known else "no-camera",
        notes=(*dataset.notes, "queries and gallery were drawn from the training split"),
    )


def _splits(splits: Mapping[str, Path], options: SourceOptions, *, labelled: bool) -> dict[str, NamedImages]:
    """The images of each split; query and gallery are always read with labels."""
    named = {}
    for split, place in splits.items():
        found = files_below(place)
        if not found.images:
            raise no_images_error(place, found)
        named[split] = named_images(place, found.images, options, labelled=labelled or split != "train")
    return named


def _dataset(folder: Path, named: Mapping[str, NamedImages], notes: tuple[str, ...]) -> ReIDDataset:
    every = [path for part in named.values() for path in part.files]
    cameras = cameras_of_files(every, folder if set(named) == {"train"} else None)
    camera_of = dict(zip(every, cameras.numbers, strict=True))
    track_of = dict(zip(every, tracks_in_names(every), strict=True))
    splits = {}
    for group in (("train",), ("query", "gallery")):
        names = [name for split in group if split in named for name in named[split].names if name is not None]
        numbers = number_in_order(names)
        for split in group:
            part = named.get(split)
            splits[split] = tuple(
                Record(path, None if name is None else numbers[name], camera_of[path], track_of[path])
                for path, name in (zip(part.files, part.names, strict=True) if part else ())
            )
    known = None not in cameras.numbers
    return ReIDDataset(
        folder.name,
        splits["train"],
        splits["query"],
        splits["gallery"],
        protocol="market1501" if known else "no-camera",
        notes=(*notes, *cameras.notes, *note_of_tracks([record for part in splits.values() for record in part])),
    )
