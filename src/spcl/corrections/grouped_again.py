"""A new grouping in a folder that has corrections: they stay, and its table is the new groups after them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spcl.corrections.corrected_groups import check_unedited, groups_after, read_groups, state_of
from spcl.corrections.corrections_file import CORRECTIONS, alone, read_corrections
from spcl.corrections.group_table import FOUND, TABLE, GroupTable, write_both_tables, write_group_table


@contextmanager
def alone_if_corrected(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder's corrections if there are any."""
    if not (folder / CORRECTIONS).is_file():
        yield
        return
    with alone(folder):
        yield


def check_groups_unedited(folder: Path) -> None:
    """Raise an ``InputError`` if the table of a folder with corrections was edited, before it is replaced."""
    if (folder / FOUND).is_file() and (folder / TABLE).is_file():
        check_unedited(read_groups(folder))


def write_tables(aside: Path, folder: Path, found: GroupTable, grouped_with: int) -> tuple[GroupTable, dict[str, Any]]:
    """Write the table of groups and, if the folder has corrections, the table before them.

    Args:
        aside: Folder to write to.
        folder: Folder of the results, which may have corrections.
        found: The groups as they were found.
        grouped_with: Number of the last correction that they take into account; 0: none.

    Returns:
        The groups after corrections, and the part of the summary about corrections; empty if there are none.
    """
    log = read_corrections(folder / CORRECTIONS)
    if not log.corrections:
        write_both_tables(aside, found)
        return found, {}
    after = groups_after(folder, found, log, grouped_with)
    write_group_table(aside / FOUND, found)
    write_both_tables(aside, after.table)
    return after.table, state_of(after, aside / TABLE)
