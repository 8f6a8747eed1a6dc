"""A folder for each group, with links to its images or copies of them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_folders import folder_written_aside
from spcl.leftovers import remove
from spcl.records import Record

_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


def fill_group_folders(
    aside: Path,
    folder: Path,
    records: Sequence[Record],
    group: NDArray[np.int64],
    *,
    names: Mapping[int, str] | None = None,
    copies: bool,
) -> list[Path]:
    """Make the folders of the groups.

    Args:
        aside: Folder to write to; it is made if it is missing.
        folder: Its later place, to which links are relative.
        records: ``[N]`` records of the images.
        group: ``[N]`` int; -1: the image is in no group, and in the folder ``none``.
        names: Name of each group that has one, which follows its number in the name of the folder; None: there are
            none.
        copies: Whether images are copied, not linked.

    Returns:
        The images that are not there: they exist no more, or their name cannot be written.
    """
    left_out: list[Path] = []
    aside.mkdir(exist_ok=True)
    free = _FreeNames()
    for record, number in zip(records, group.tolist(), strict=True):
        inside = Path(_folder_name(number, (names or {}).get(number, "")))
        name = free.take(inside / record.path.name)
        (aside / inside).mkdir(exist_ok=True)
        if not _place(record.path, aside / name, folder / inside, copy=copies):
            left_out.append(record.path)
    return left_out


def replace_group_folders(
    folder: Path, records: Sequence[Record], group: NDArray[np.int64], names: Mapping[int, str], *, copies: bool
) -> list[Path]:
    """Make the folders of the groups in place of earlier ones; a stop leaves the old folders or the new ones.

    Args:
        folder: Folder of the folders.
        records: ``[N]`` records of the images.
        group: ``[N]`` int; -1: the image is in no group.
        names: Name of each group that has one.
        copies: Whether images are copied, not linked.

    Returns:
        The images that are not there.

    Raises:
        InputError: If it cannot be written.
    """
    held = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    with folder_written_aside(folder, ours=held, mark="none", unfinished="") as aside:
        return fill_group_folders(aside, folder, records, group, names=names, copies=copies)


def _folder_name(number: int, name: str) -> str:
    """The name of a group's folder: its number, and its name without what a file system may refuse."""
    plain = re.sub(r"[^\w -]+", "_", name).strip()[:60]
    return "none" if number < 0 else f"{number:04d} {plain}".rstrip()


class _FreeNames:
    """Names that no two images share, also where a disk takes capitals for small letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def take(self, name: Path) -> Path:
        """The name, or where images of several folders have it: ``a~2.jpg``, ``a~3.jpg`` and so on."""
        free, wanted = name, _one_spelling(name)
        while _one_spelling(free) in self._taken:
            self._numbers[wanted] += 1
            free = name.with_name(f"{name.stem}~{self._numbers[wanted] + 1}{name.suffix}")
        self._taken.add(_one_spelling(free))
        return free


def _one_spelling(name: Path) -> str:
    return unicodedata.normalize("NFC", str(name)).casefold()


def _place(image: Path, where: Path, later: Path, *, copy: bool) -> bool:
    """Link or copy an image; whether it is there then.

    Args:
        image: Path of the image.
        where: Path of the link or copy.
        later: Folder in which it will lie.
        copy: Whether to copy.
    """
    if os.path.lexists(where):
        # A copy would go through a link to the user's own file.
        raise FileExistsError(errno.EEXIST, "two images have one name there", str(where))
    if not copy:
        try:
            where.symlink_to(os.path.relpath(os.path.realpath(image), os.path.realpath(later)))
            return True
        except (OSError, ValueError):  # no links on this disk or for this user; or another drive
            pass
    try:
        shutil.copy2(image, where)
    except OSError as error:
        # One image that has gone, or whose name this disk cannot hold, does not end the work of all.
        if error.errno not in _OF_ONE_NAME and image.exists():
            raise
        remove(where)
        return False
    return True
