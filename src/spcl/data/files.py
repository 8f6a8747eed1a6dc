"""Finding image files, and saying what is there instead when they are not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from spcl.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, in the order of their names; hidden ones left out."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and in all folders below it, in the order of their paths; hidden ones left out.

    Linked folders are entered, too, but no folder twice: where there is a way without a link, it is taken.
    """
    found: list[Path] = []
    visited: set[Path] = set()
    waiting = [folder]
    while waiting:
        for place, folders, files in os.walk(waiting.pop(0)):
            real = Path(place).resolve()
            folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
            if real in visited:
                continue
            visited.add(real)
            waiting += [entry for name in folders if (entry := Path(place, name)).is_symlink()]
            found += [
                entry
                for name in files
                if not name.startswith(".")
                and (entry := Path(place, name)).suffix.lower() in IMAGE_SUFFIXES
                and entry.is_file()
            ]
    return sorted(found)


def note_of_unused(folder: Path, used: Iterable[Path], where: str) -> tuple[str, ...]:
    """A note on the images below a folder that a data set does not use, naming one of them; nothing if it uses all.

    Args:
        folder: The data set's.
        used: The images of its splits.
        where: They are, for the note: ``outside the splits``.
    """
    unused = sorted(set(images_below(folder)).difference(used))
    if not unused:
        return ()
    example = unused[0].relative_to(folder)
    return (f"not used: {len(unused)} image(s) below {folder} that are {where}; the first is {example}",)


def sub_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, in the order of their names; hidden ones left out."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def what_is_there(folder: Path, limit: int = 6) -> str:
    """A few words on what a path holds, for an error."""
    if not folder.exists():
        parent = next((above for above in folder.parents if above.exists()), None)
        return f"{folder} does not exist" + (f"; {what_is_there(parent, limit)}" if parent is not None else "")
    if folder.is_file():
        return f"{folder} is a file"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    if not names:
        return f"{folder} is empty"
    return f"{folder} holds {', '.join(names[:limit])}{f' and {len(names) - limit} more' if len(names) > limit else ''}"


def require(paths: Iterable[Path], name: str, tree: str) -> None:
    """Are all the parts of a data set's layout there?

    Raises:
        InputError: Naming what was looked for, what was found instead, and the expected tree.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(f"{name}: looked for {missing[0]}, but {what_is_there(missing[0].parent)}.\nExpected:\n{tree}")


def number_in_order(values: Sequence[str]) -> dict[str, int]:
    """Numbers from 0 for the distinct values: in numeric order where all are whole numbers, else in text order."""
    distinct = set(values)
    numeric = all(re.fullmatch(r"-?\d+", value) for value in distinct)
    ordered = sorted(distinct, key=lambda value: (int(value), value) if numeric else (0, value))
    return {value: number for number, value in enumerate(ordered)}
