"""A user's own folders: a folder per identity, or a flat folder of unlabelled crops.

A folder per identity may be split: ``train/``, ``query/`` and ``gallery/``, each with a folder per identity. A folder
of images at other depths is a heap of unlabelled crops. Cameras are read from the file names where all of them have one
(``..._c3_...``), and are unknown otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.files import image_files, images_below, note_of_unused, number_in_order, sub_folders, what_is_there
from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import Record, ReIDDataset

_SPLITS = ("train", "query", "gallery")
_CAMERA = re.compile(r"(?:^|[_\-.])c(?:am)?(\d+)", re.IGNORECASE)


def load_folder(folder: Path) -> ReIDDataset:
    """A folder of images, or of folders of images.

    Raises:
        InputError: If it holds no image.
    """
    splits = [entry for entry in sub_folders(folder) if entry.name in _SPLITS]
    names = {entry.name for entry in splits}
    if "train" in names or names == {"query", "gallery"}:
        return _dataset(folder, {entry.name: _files(entry) for entry in splits}, "outside the splits")
    if not _is_flat_or_of_folders(folder) and (heap := images_below(folder)):
        unlabelled: list[tuple[Path, str | None]] = [(path, None) for path in heap]
        told = ["images lie at several depths: all are taken, unlabelled"]
        return _dataset(folder, {"train": unlabelled}, None, told)
    return _dataset(folder, {"train": _files(folder)}, "at other depths")


def split_for_evaluation(dataset: ReIDDataset, *, seed: int = 0) -> ReIDDataset:
    """Queries and gallery out of a labelled training split, for data that comes without them.

    One random image of each identity (and camera, where cameras are known) becomes a query, the rest the gallery. At
    least one image of each identity stays in the gallery; of an identity that several cameras saw, some query finds
    one of another camera there.

    Raises:
        InputError: If there are no identities.
    """
    labelled = [record for record in dataset.train if record.identity is not None]
    if not labelled:
        why = "its images have no identities" if dataset.train else "it has no queries or no gallery to search in"
        raise InputError(
            f"{dataset.name} cannot be evaluated: {why}. Give it query and gallery folders "
            "with a folder per identity, or a manifest with identities"
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


def _is_flat_or_of_folders(folder: Path) -> bool:
    """Whether images lie in a folder, or in the folders in it: one of both."""
    return bool(image_files(folder)) != any(image_files(entry) for entry in sub_folders(folder))


def _files(folder: Path) -> list[tuple[Path, str | None]]:
    """Image files and the identity each has: its folder's name, or None in a flat folder."""
    flat = [(path, None) for path in image_files(folder)]
    nested = [(path, entry.name) for entry in sub_folders(folder) for path in image_files(entry)]
    if flat and nested:
        raise InputError(
            f"{folder} holds both images and folders of images; expected either a folder per identity or a flat folder"
        )
    if not flat and not nested:
        raise InputError(
            f"no images in {folder}: {what_is_there(folder)}. Expected image files, a folder per identity, or "
            "bounding_box_train/ query/ bounding_box_test/"
        )
    return [*flat, *nested]


def _dataset(
    folder: Path, found: dict[str, list[tuple[Path, str | None]]], others: str | None, told: Sequence[str] = ()
) -> ReIDDataset:
    """A data set of the files of each split; ``others``: where images lie that it does not use; None: it uses all."""
    every = [path for files in found.values() for path, _ in files]
    cameras = cameras_of_names(every)
    splits = {}
    for group in (("train",), ("query", "gallery")):
        names = [name for split in group for _, name in found.get(split, []) if name is not None]
        numbers = number_in_order(names)
        for split in group:
            splits[split] = tuple(
                Record(path, None if name is None else numbers[name], cameras.get(path))
                for path, name in found.get(split, [])
            )
    notes = [*told] if cameras else [*told, "cameras are unknown: the sampler draws freely"]
    if not splits["query"]:
        notes.append("no query and gallery: it can be trained on, not evaluated")
    return ReIDDataset(
        folder.name,
        splits["train"],
        splits["query"],
        splits["gallery"],
        protocol="market1501" if cameras else "no-camera",
        notes=(*notes, *(() if others is None else note_of_unused(folder, every, others))),
    )


def camera_in_name(path: Path) -> int | None:
    """The camera that a file's name tells, as it is written there (``_c3`` is 3); None where it tells none."""
    found = _CAMERA.search(path.stem)
    return int(found[1]) if found else None


def cameras_of_names(paths: Sequence[Path]) -> dict[Path, int]:
    """The camera of each file, numbered from 0; empty where one of them does not name its camera."""
    written = {path: number for path in paths if (number := camera_in_name(path)) is not None}
    if len(written) != len(paths):
        return {}
    places = {number: place for place, number in enumerate(sorted(set(written.values())))}
    return {path: places[number] for path, number in written.items()}
