"""Atomic writing of folders of results: to a temporary folder, which then takes the place of the old one as a whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spcl.atomic_files import cannot_write, missing_folders, remove_empty, written_aside
from spcl.leftovers import aside_of, is_left, leftovers_in, remove

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@contextmanager
def folder_written_aside(folder: Path, *, ours: Collection[str], mark: str, unfinished: str) -> Iterator[Path]:
    """Give an empty folder, whose content replaces that of ``folder`` when the block ends without an error.

    Whatever stops the program, ``folder`` holds the old results or the new ones. Entries that are not results stay.
    A mount point, the working directory, or a folder whose parent cannot be written to, cannot be replaced: there the
    results are moved one after the other, while ``mark`` says that they are unfinished.

    Args:
        folder: Folder of the results; a link is followed.
        ours: Names of results: old ones are removed, other entries are kept.
        mark: Name of the file of results that comes last.
        unfinished: Content of ``mark`` while results are moved one after the other.

    Raises:
        InputError: If the folder cannot be written.
    """
    missing: list[Path] = []
    aside = None
    try:
        place = Path(os.path.realpath(folder))
        restore_kept(place)
        missing = missing_folders(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        inside = place.is_dir() and not _can_be_replaced(place)
        aside = aside_of(place / place.name if inside else place)
        for left in leftovers_in(aside.parent):
            remove(left)
        aside.mkdir()
        if place.is_dir():
            shutil.copymode(place, aside)
        yield aside
        if inside:
            _move_in(aside, place, ours, mark, unfinished)
        elif place.is_dir():
            _keep_others(place, aside, ours)
            _exchange(aside, place)
        else:
            aside.replace(place)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        if aside is not None:
            remove(aside)
        remove_empty(missing)


def restore_kept(folder: Path) -> None:
    """Put the old folder back if a kill came between the two renames of a disk that cannot exchange folders."""
    folder = Path(os.path.realpath(folder))
    kept = _kept_beside(folder)
    if kept.is_dir():
        if folder.exists():
            remove(kept)
        else:
            kept.replace(folder)


def _kept_beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.spcl-old")


def _can_be_replaced(folder: Path) -> bool:
    with suppress(OSError):
        if folder.samefile(Path.cwd()):
            return False
    return not folder.is_mount() and os.access(folder.parent, os.W_OK | os.X_OK)


def _keep_others(old: Path, new: Path, ours: Collection[str]) -> None:
    """Give a new folder the entries of the old one that are not results; the old one keeps them, too."""
    for entry in sorted(old.iterdir()):
        if entry.name in ours or any(is_left(entry.name, name) for name in ours):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True, copy_function=_linked)
        else:
            _linked(entry, new / entry.name)


def _linked(file: str | Path, to: str | Path) -> None:
    """A second name for a file; a copy where the disk has none."""
    try:
        os.link(file, to, follow_symlinks=False)
    except OSError:
        shutil.copy2(file, to, follow_symlinks=False)


def _exchange(first: Path, second: Path) -> None:
    """Exchange two folders in one step where the system can; otherwise in two, of which ``restore_kept`` knows."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        with suppress(AttributeError):  # an old C library
            if library.renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
                return
    kept = _kept_beside(second)
    second.replace(kept)
    first.replace(second)
    remove(kept)


def _move_in(aside: Path, folder: Path, ours: Collection[str], mark: str, unfinished: str) -> None:
    """Move results into a folder that stays, one after the other; ``mark`` comes last."""
    with written_aside(folder / mark) as file:
        file.write_text(unfinished, encoding="utf-8")
    for name in sorted(set(ours) - {mark}):
        remove(folder / name)
        if (aside / name).exists():
            (aside / name).replace(folder / name)
    (aside / mark).replace(folder / mark)
