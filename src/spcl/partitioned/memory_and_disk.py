"""How much memory and disk space the label stage in parts needs, and how many rows a part has.

    memory = FIXED_BYTES + ROW_BYTES N + P part_row_bytes(D, k1),        P rows in a part

``ROW_BYTES N`` are the arrays with one number for each row: the order, the labels at three scales, the reliability.
Everything longer is on disk.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from spcl.errors import InputError

FIXED_BYTES = 700_000_000
"""Torch and compiled code, a block of similarities, the visits of rows to regions."""

ROW_BYTES = 120
"""Numbers of 1 to 8 bytes for each row, at the step that has most of them, the reliability."""

GATHERED_ROWS = 4
"""Rows that may be read for each row of a part: its neighbours and theirs; more, and the part is halved."""

_ENTRIES = 4
"""Entries of an encoding, divided by k1: an upper value of measurements."""

_PAIRS = 1.5
"""Near pairs of a row, each counted once, divided by k1: an upper value of measurements."""

MOST_ROWS_EACH, FEWEST_ROWS_EACH = 2**18, 1024


@dataclass(frozen=True)
class Room:
    """The rows of a part, and what the stage needs.

    Attributes:
        rows_each: Rows of a part.
        memory: Largest memory in bytes.
        disk: Largest space of the files, in bytes.
    """

    rows_each: int
    memory: int
    disk: int


def part_row_bytes(dim: int, k1: int) -> int:
    """Compute the bytes of memory for each row of a part, at the step that needs most."""
    # Rows that are read for the encoding, with their neighbours and the marks of mutual ones.
    gathered = GATHERED_ROWS * (2 * 4 * dim + k1 * (4 + 4 + 1 + 1) + 64)
    # Columns and rows of the part, 16 bytes for an entry; as many entries of later parts by column, by row and
    # renumbered, 20; all rows together, 16. Then the pairs, twice while they are joined.
    compared = 52 * _ENTRIES * k1 + int(2 * 12 * _PAIRS * k1)
    return max(gathered, compared)


def disk_bytes(num_rows: int, dim: int, k1: int) -> int:
    """Compute the largest space of all files that lie on disk at the same time."""
    features, neighbours = 2 * 4 * dim, 2 * 4 * k1
    encodings = 2 * 8 * _ENTRIES * k1
    return int(num_rows * (features + neighbours + encodings + 12 * _PAIRS * k1))


def room_for(num_rows: int, dim: int, k1: int, memory: int | None = None) -> Room:
    """Choose the rows of a part.

    Args:
        num_rows: N.
        dim: D, the length of a feature.
        k1: Neighbours in the encoding.
        memory: Bytes that may be used; None: three quarters of the free memory.

    Raises:
        InputError: If the memory is too small for any part.
    """
    allowed = int(0.75 * psutil.virtual_memory().available) if memory is None else memory
    each = part_row_bytes(dim, k1)
    least = FIXED_BYTES + ROW_BYTES * num_rows + FEWEST_ROWS_EACH * each
    if allowed < least:
        raise InputError(
            f"labelling {num_rows} rows of length {dim} in parts needs at least {least / 1e9:.1f} GB of memory, and "
            f"{allowed / 1e9:.1f} GB may be used; allow more, or give fewer rows",
            code="memory-too-small",
        )
    rows_each = min(MOST_ROWS_EACH, (allowed - least) // each + FEWEST_ROWS_EACH)
    memory_needed = FIXED_BYTES + ROW_BYTES * num_rows + min(rows_each, num_rows) * each
    return Room(rows_each, memory_needed, disk_bytes(num_rows, dim, k1))
