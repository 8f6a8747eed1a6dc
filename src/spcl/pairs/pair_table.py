"""Tables of known pairs, written by people: ``path_a, path_b, relation``, where the relation is same or different.

``track_a, track_b`` and ``group_a, group_b`` may stand in the place of the paths, or beside them: each row uses the
columns in which it has values. A row that names a track or a group says that its images show one object, as far as that
is not known already. Groups are those of ``groups.csv`` beside the table of pairs, as ``spcl cluster`` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from spcl.data.image_files import what_is_there
from spcl.data.image_key import image_keys
from spcl.data.table_files import Table, read_table
from spcl.data.table_paths import paths_of
from spcl.data.text_tables import read_text_table
from spcl.errors import InputError
from spcl.pairs.known_pairs import KnownPairs, PairOrigin
from spcl.records import Record

PAIRS_FILE, GROUPS_FILE = "pairs.csv", "groups.csv"

_KINDS = ("path", "track", "group")
_RELATIONS = ("same", "different")
_COLUMNS = (
    "path_a, path_b, relation (or track_a, track_b or group_a, group_b in place of the paths); the relation is same or "
    "different"
)


@dataclass(frozen=True)
class Statement:
    """One row of a table of pairs.

    Attributes:
        kind: What its names name: ``path`` (keys of images), ``track`` or ``group``.
        names: The two names.
        is_same: Whether they are said to show one object; otherwise they show two.
        line: Line of the row in the table.
    """

    kind: str
    names: tuple[str, str]
    is_same: bool
    line: int


@dataclass(frozen=True)
class PairTable:
    """A table of known pairs, before its names are found among images.

    Attributes:
        file: Path of the table.
        statements: Its rows that have a relation.
        num_open: Number of rows without a relation: questions that are not answered.
    """

    file: Path
    statements: tuple[Statement, ...]
    num_open: int

    @cached_property
    def _groups(self) -> dict[str, str]:
        """The group of each image of ``groups.csv`` beside the table, by the key of the image."""
        file = self.file.parent / GROUPS_FILE
        if not file.is_file():
            raise InputError(
                f"{self.file} names groups, and there is no {GROUPS_FILE} beside it: {what_is_there(file)}; put the "
                "table of pairs into the folder that spcl cluster wrote",
                code="no-such-file",
            )
        table = read_table(file)
        groups = table.columns.get("group", [None] * len(table))
        keys = image_keys(paths_of(table).paths)
        return {key: str(group) for key, group in zip(keys, groups, strict=True) if str(group or "-1") != "-1"}

    def known(self, records: Sequence[Record]) -> KnownPairs:
        """Give the pairs of rows of some images, with notes on the rows that were used.

        Raises:
            InputError: If the table names groups and there is no ``groups.csv`` beside it.
        """
        keys = image_keys([record.path for record in records])
        members: dict[str, Mapping[str, list[int]]] = {"path": _by_name(keys)}
        members["track"] = _by_track(records)
        if any(one.kind == "group" for one in self.statements):
            members["group"] = _by_name([self._groups.get(key) for key in keys])
        must: list[tuple[int, int, PairOrigin]] = []
        cannot: list[tuple[int, int, PairOrigin]] = []
        unknown: list[Statement] = []
        for one in self.statements:
            rows = [members[one.kind].get(name, []) for name in one.names]
            if not all(rows):
                unknown.append(one)
                continue
            origin = PairOrigin("by hand", f"line {one.line} of {self.file.name}")
            # A track or a group that is named is one object.
            must += [(first, other, origin) for part in rows for first, other in pairwise(part)]
            (must if one.is_same else cannot).append((rows[0][0], rows[1][0], origin))
        return KnownPairs.of(must, cannot, self._notes(unknown))

    def _notes(self, unknown: Sequence[Statement]) -> list[str]:
        used = len(self.statements) - len(unknown)
        notes = [f"{self.file}: {used} of {len(self.statements) + self.num_open} rows are used"]
        if self.num_open:
            notes.append(f"{self.file}: {self.num_open} row(s) have no relation (same or different)")
        if unknown:
            one = unknown[0]
            notes.append(
                f"{self.file}: {len(unknown)} row(s) name what is not among the images, first line {one.line}: "
                f"{one.kind} {one.names[0]}, {one.names[1]}"
            )
        return notes


def read_pairs(file: Path) -> PairTable:
    """Read a table of known pairs.

    Args:
        file: A CSV file with the columns ``path_a``, ``path_b`` (or ``track_a``, ``track_b``, ``group_a``,
            ``group_b``) and ``relation``. Paths are relative to its folder, or to the current folder.

    Raises:
        InputError: If there is no such file, it cannot be read or has other columns, a row has no two names, or a
            relation is neither ``same`` nor ``different``.
    """
    if not file.is_file():
        raise InputError(f"there is no table of pairs {file}: {what_is_there(file)}", code="no-such-file")
    names, columns, lines, _ = read_text_table(file, {"path": "relation"})
    cells = dict(zip((name.strip().lower() for name in names), columns, strict=True))
    kinds = [kind for kind in _KINDS if {f"{kind}_a", f"{kind}_b"} <= set(cells)]
    if "relation" not in cells or not kinds:
        raise InputError(
            f"{file} is not a table of pairs: it has the columns {', '.join(cells)}; expected {_COLUMNS}",
            code="no-such-column",
        )
    statements = []
    num_open = 0
    for row, line in enumerate(lines):
        relation = str(cells["relation"][row] or "").strip().lower()
        if not relation:
            num_open += 1
            continue
        if relation not in _RELATIONS:
            raise InputError(
                f"{file}: the relation is {relation!r} in line {line}; expected same or different, or an empty cell",
                code="no-such-relation",
            )
        pairs = {kind: (cells[f"{kind}_a"][row], cells[f"{kind}_b"][row]) for kind in kinds}
        kind = next((kind for kind, pair in pairs.items() if all(pair)), None)
        if kind is None:
            raise InputError(
                f"{file}: line {line} does not name two images; expected {_COLUMNS}", code="malformed-table"
            )
        first, second = (str(name).strip() for name in pairs[kind])
        statements.append(Statement(kind, (first, second), relation == "same", line))
    return PairTable(file, tuple(_with_keys(file, statements)), num_open)


def _with_keys(file: Path, statements: Sequence[Statement]) -> list[Statement]:
    """The statements, with the keys of images in place of paths."""
    of_paths = [one for one in statements if one.kind == "path"]
    written = [name for one in of_paths for name in one.names]
    keys = image_keys(paths_of(Table(file, {"path": list(written)}, range(1, len(written) + 1))).paths)
    pairs = iter(zip(keys[::2], keys[1::2], strict=True))
    return [
        Statement(one.kind, next(pairs), one.is_same, one.line) if one.kind == "path" else one for one in statements
    ]


def _by_name(names: Sequence[str | None]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    return rows


def _by_track(records: Sequence[Record]) -> dict[str, list[int]]:
    """The rows of each track, by ``camera/track`` and, where only one camera has such a track, by ``track``."""
    rows = _by_name([record.track for record in records])
    short: dict[str, list[str]] = {}
    for name in rows:
        short.setdefault(name.partition("/")[2] or name, []).append(name)
    return rows | {name: rows[full[0]] for name, full in short.items() if len(full) == 1 and name not in rows}
