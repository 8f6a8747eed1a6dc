"""Finding image files in folders, and describing what was found where there are none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from spcl.data.image_endings import (
    IMAGE_SUFFIXES,
    counted_by_ending,
    ending_of,
    is_image_file,
    is_image_name,
    may_be_image,
)
from spcl.data.image_key import shown_path
from spcl.errors import InputError

_THUMBNAILS_OF_SYSTEMS = ("@eadir", "__macosx")
"""Folders, in lower case, of thumbnails and metadata that Synology's and Apple's systems put beside images."""


@dataclass(frozen=True)
class FoundFiles:
    """The files below a folder.

    Attributes:
        images: Image files, in the order of their paths.
        left_out: Files and folders that may hold images and are not read, with the reason: raw camera files, broken
            links, folders that cannot be entered, folders of thumbnails (``@eaDir``).
    """

    images: list[Path]
    left_out: list[tuple[Path, str]]


def image_files(folder: Path) -> list[Path]:
    """List the image files directly in a folder, in the order of their names, without hidden files."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.is_file() and is_image_file(entry)
    )


def images_below(folder: Path) -> list[Path]:
    """List the image files in a folder and in all folders below it, as ``files_below`` finds them."""
    return files_below(folder).images


def files_below(folder: Path) -> FoundFiles:
    """Find the image files in a folder and in all folders below it, in the order of their paths, without hidden files.

    Linked folders are entered too. Each folder is entered once, by a path without links where there is one.

    Raises:
        InputError: If the folder itself cannot be entered.
    """
    found, left_out = [], []
    visited: set[Path] = set()
    waiting = [folder]

    def closed(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise InputError(
                f"the folder {shown_path(folder)} cannot be read: {error.strerror or error}", code="unreadable-file"
            )
        left_out.append((Path(error.filename), f"the folder cannot be read: {error.strerror or error}"))

    while waiting:
        for place, folders, files in os.walk(waiting.pop(0), onerror=closed):
            real = Path(place).resolve()
            folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
            if real in visited:
                continue
            visited.add(real)
            made = [name for name in folders if name.lower() in _THUMBNAILS_OF_SYSTEMS]
            left_out += [(Path(place, name), "a folder of thumbnails that a system made") for name in made]
            folders[:] = [name for name in folders if name not in made]
            waiting += [entry for name in folders if (entry := Path(place, name)).is_symlink()]
            for name in files:
                entry = Path(place, name)
                if name.startswith("."):
                    continue
                if not entry.is_file():
                    if is_image_name(name):
                        left_out.append((entry, "it is a broken link, or not a file"))
                elif is_image_file(entry):
                    found.append(entry)
                elif may_be_image(entry):
                    left_out.append((entry, f"a file {ending_of(entry)} is not read as an image"))
    return FoundFiles(sorted(found), sorted(left_out))


def no_images_error(folder: Path, found: FoundFiles) -> InputError:
    """The error for a folder without images, which lists what the folder holds."""
    notes = "".join(f"; {note}" for note in note_of_left_out(found.left_out))
    return InputError(
        f"no images in {shown_path(folder)} or below it: {what_is_there(folder)}{notes}. Images end in "
        f"{', '.join(sorted(IMAGE_SUFFIXES))}; raw camera files have to be converted",
        code="no-images",
    )


def note_of_left_out(left_out: Sequence[tuple[Path, str]]) -> tuple[str, ...]:
    """A sentence on files that may be images and are not read, counted by ending; empty where there are none."""
    files = [path for path, reason in left_out if reason.startswith("a file ")]
    others = [(path, reason) for path, reason in left_out if not reason.startswith("a file ")]
    notes = []
    if files:
        notes.append(f"not read: {counted_by_ending(files)}; the first is {shown_path(files[0])}")
    if others:
        path, reason = others[0]
        notes.append(f"not read: {len(others)} link(s) or folder(s); the first, {shown_path(path)}: {reason}")
    return tuple(notes)


def note_of_unused(folder: Path, unused: Sequence[Path], where: str) -> tuple[str, ...]:
    """A note on the images below a folder that a data set does not use, with one as an example; empty if it uses all.

    Args:
        folder: Folder of the data set.
        unused: Images that are not used.
        where: Place of these images, for the note: ``outside the splits``.
    """
    if not unused:
        return ()
    example = min(unused).relative_to(folder)
    return (f"not used: {len(unused)} image(s) below {shown_path(folder)} that are {where}; the first is {example}",)


def sub_folders(folder: Path) -> list[Path]:
    """List the folders directly in a folder, in the order of their names, without hidden ones."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def what_is_there(path: Path, limit: int = 6) -> str:
    """Describe in a few words what a path is, for an error: the first names in a folder, or that it does not exist.

    For a path that does not exist, the content of its parent folder is not listed: a similar name is given, if any.
    """
    shown = shown_path(path)
    if not _exists(path):
        missing = next(place for place in (*reversed(path.parents), path) if not _exists(place))
        similar = _similar_name(missing)
        return f"{shown_path(missing)} does not exist" + (f"; did you mean {similar}?" if similar else "")
    if path.is_file():
        return f"{shown} is a file"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    if not names:
        return f"{shown} is empty"
    return f"{shown} holds {', '.join(names[:limit])}{f' and {len(names) - limit} more' if len(names) > limit else ''}"


def _exists(path: Path) -> bool:
    """Whether there is a file or folder; False for a name that is too long, or that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _similar_name(missing: Path) -> str | None:
    """The path in the same folder whose name is most similar; None where no name is similar."""
    try:
        names = sorted(entry.name for entry in missing.parent.iterdir())
    except OSError:
        return None
    near = get_close_matches(missing.name, names, n=1, cutoff=0.75)
    return shown_path(missing.parent / near[0]) if near else None


def require_layout(paths: Iterable[Path], name: str, tree: str) -> None:
    """Check that all parts of a data set's layout exist.

    Raises:
        InputError: If one is missing; the message has its path, what was found, and the expected tree.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(
            f"{name}: looked for {missing[0]}, but {what_is_there(missing[0].parent)}.\nExpected:\n{tree}",
            code="incomplete-data-set",
        )


def number_in_order(values: Sequence[str]) -> dict[str, int]:
    """Number the distinct values from 0, in numeric order where all are whole numbers, else in text order."""
    distinct = set(values)
    # Python converts no text of some thousand digits.
    numeric = all(re.fullmatch(r"-?\d{1,600}", value) for value in distinct)
    ordered = sorted(distinct, key=lambda value: (int(value), value) if numeric else (0, value))
    return {value: number for number, value in enumerate(ordered)}
