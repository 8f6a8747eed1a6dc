"""Camera numbers from the names of files and folders: ``_c3`` in a file's name, a folder ``cam01``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_IN_NAME = re.compile(r"(?:^|[_\-.])(?:cam(\d{1,18})(?!\d)|c(\d{1,18})(?=s\d|[^0-9a-z]|$))", re.IGNORECASE)
"""A number after a single letter must end the word or precede a sequence (``c1s1``): ``-c4f1-`` is part of a UUID."""
_FOLDER = re.compile(r"(?:c|cam|camera|kamera|ch|channel)[ _\-.]?0*(\d{1,18})", re.IGNORECASE)


@dataclass(frozen=True)
class FoundCameras:
    """The cameras of a list of images.

    Attributes:
        written: Camera of each image as its name gives it, without leading zeros; None where the name has none.
        numbers: Camera of each image, numbered from 0; all None unless every image has a camera.
        notes: Sentences on cameras that were found and are not used.
    """

    written: list[str | None]
    numbers: list[int | None]
    notes: tuple[str, ...] = ()


def camera_in_name(path: Path) -> int | None:
    """Parse the camera number in a file's name (``_c3`` is 3); None where there is none."""
    found = _IN_NAME.search(path.stem)
    return int(found[1] or found[2]) if found else None


def camera_in_folder(name: str) -> int | None:
    """Parse the camera number in a folder's name (``cam01`` is 1, ``camera_2`` is 2, ``c3`` is 3); None: no number."""
    found = _FOLDER.fullmatch(name)
    return int(found[1]) if found else None


def are_camera_folders(names: Sequence[str]) -> bool:
    """Whether there are at least two folders and all of them are named after cameras."""
    return len(set(names)) > 1 and all(camera_in_folder(name) is not None for name in names)


def cameras_of_files(paths: Sequence[Path], root: Path | None = None) -> FoundCameras:
    """Parse the cameras of files, from their names or else from the folders directly below ``root``.

    Args:
        paths: Paths of the files.
        root: Folder that the user gave; None: names of folders are not used.
    """
    in_names = [camera_in_name(path) for path in paths]
    num_named = sum(camera is not None for camera in in_names)
    if num_named < len(paths) and root is not None:
        folders = _folders_below(paths, root)
        if None not in folders and are_camera_folders([name for name in folders if name is not None]):
            of_folders = [camera_in_folder(name) for name in folders if name is not None]
            note = f"cameras are those of the folders {some([name for name in folders if name is not None])}"
            return _found(of_folders, (note,))
    notes: tuple[str, ...] = ()
    if 0 < num_named < len(paths):
        first = next(path for path, camera in zip(paths, in_names, strict=True) if camera is None)
        notes = (
            f"cameras were read from {num_named} of {len(paths)} file names and are not used in training: {first.name} "
            "contains no camera (expected a part like _c3)",
        )
    return _found(in_names, notes)


def some(names: Iterable[str], limit: int = 4) -> str:
    """List the first few distinct names, for a message."""
    distinct = sorted(set(names))
    return ", ".join(distinct[:limit]) + (" ..." if len(distinct) > limit else "")


def _found(cameras: Sequence[int | None], notes: tuple[str, ...]) -> FoundCameras:
    places = {camera: place for place, camera in enumerate(sorted({c for c in cameras if c is not None}))}
    known = None not in cameras
    return FoundCameras(
        [None if camera is None else str(camera) for camera in cameras],
        [places[camera] if known and camera is not None else None for camera in cameras],
        notes,
    )


def _folders_below(paths: Sequence[Path], root: Path) -> list[str | None]:
    """The name of the folder directly below ``root`` that each file lies in or below; None: it lies in ``root``."""
    depth = len(root.parts)
    return [path.parts[depth] if len(path.parts) > depth + 1 else None for path in paths]
